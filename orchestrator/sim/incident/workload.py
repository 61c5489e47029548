"""The incident's traffic: chat behind one system prompt, agents of any length, a spike.

*Chat* (tag A): the same 600 tokens, a question, an answer. *Agents* (tag B):
50 to 4,000 prompt tokens of their own, 800 to 1,500 generated. A client cannot
know where its answer will stop; it asks for the longest of its kind, and the
answer ends before, with a stop token. So memory sized for what a sequence may
become is larger than what the sequence becomes.

Steady load first, then the spike, in which chat comes several times as fast;
then steady load again while the line drains. Which tokens the requests are
made of is for a *wording* to say: made-up ones here, those of a real model's
vocabulary where one computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from orchestrator.workload.synthetic import poisson
from orchestrator.workload.tokens import BLOCK_SIZE_MIN, VOCAB_SIZE, block_tokens
from orchestrator.workload.traffic import PRIVATE_IDS, Arrival, merged
from protos.messages import Request, RequestId, SamplingParams

CHAT, AGENT = "A", "B"
# A chat's and an agent's letter on a memory map.
KINDS = {CHAT: "c", AGENT: "A"}
CHAT_KIND, AGENT_KIND = KINDS[CHAT], KINDS[AGENT]

Bounds = tuple[int, int]  # the least and the most


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tokens of prompts and answers. An answer's bound is also what its client asks for."""

    prefix: int = 600
    question: Bounds = (20, 400)
    chat_answer: Bounds = (40, 300)
    agent_prompt: Bounds = (50, 4000)
    agent_answer: Bounds = (800, 1500)

    @property
    def sequence_max(self) -> int:
        """The longest that any sequence can become."""
        chat = self.prefix + self.question[1] + self.chat_answer[1]
        return max(chat, self.agent_prompt[1] + self.agent_answer[1])


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second of each kind, and when; and how long they are."""

    chat_rate: float = 5.0
    chat_spike: float = 4.0  # times the steady rate
    agent_rate: float = 0.35
    steady_s: float = 60.0
    spike_s: float = 90.0
    after_s: float = 10.0
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def spike_end_s(self) -> float:
        """When the spike is over."""
        return self.steady_s + self.spike_s

    @property
    def end_s(self) -> float:
        """When nobody comes any more."""
        return self.spike_end_s + self.after_s


class Wording(Protocol):
    """Which tokens requests are made of, all below `vocab_size`."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def prefix(self) -> tuple[int, ...]:
        """What every chat begins with."""
        ...

    def own(self, arrival: Arrival, tokens: int) -> tuple[int, ...]:
        """So many tokens that no other request has."""
        ...


class MadeUp:
    """The wording of the simulator, whose tokens nobody computes."""

    vocab_size = VOCAB_SIZE
    ID_TOKENS = 8  # of each block id that the prefix is made from

    def __init__(self, sizes: Sizes) -> None:
        ids = range(-(-sizes.prefix // self.ID_TOKENS))
        tokens = tuple(token for block in ids for token in block_tokens(block, self.ID_TOKENS))
        self.prefix = tokens[: sizes.prefix]

    def own(self, arrival: Arrival, tokens: int) -> tuple[int, ...]:
        made = max(tokens, BLOCK_SIZE_MIN)
        return block_tokens(PRIVATE_IDS + arrival.number, made)[:tokens]


def workload(load: Load, seed: int) -> tuple[Arrival, ...]:
    """All requests, numbered in order of arrival."""
    random = Random(seed)
    sizes, end_s = load.sizes, load.end_s
    surge = load.chat_rate * (load.chat_spike - 1)
    streams = [
        list(chat(random, sizes, start_s=0, seconds=end_s, rate=load.chat_rate)),
        list(agents(random, sizes, start_s=0, seconds=end_s, rate=load.agent_rate)),
    ]
    if surge > 0:
        spike = chat(random, sizes, start_s=load.steady_s, seconds=load.spike_s, rate=surge)
        streams.append(list(spike))
    return merged(streams)


def chat(
    random: Random, sizes: Sizes, *, start_s: float, seconds: float, rate: float
) -> Iterator[Arrival]:
    """Short questions behind the one long prompt."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=sizes.prefix + random.randint(*sizes.question),
            output_tokens=random.randint(*sizes.chat_answer),
            tag=CHAT,
        )


def agents(
    random: Random, sizes: Sizes, *, start_s: float, seconds: float, rate: float
) -> Iterator[Arrival]:
    """Prompts of any length, and long answers."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=random.randint(*sizes.agent_prompt),
            output_tokens=random.randint(*sizes.agent_answer),
            tag=AGENT,
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """How arrivals become requests: as long an answer as its kind may get, greedily chosen,
    ended by a stop token before."""

    sizes: Sizes
    wording: Wording

    @property
    def stop_token(self) -> int:
        """The one token that is in no text."""
        return self.wording.vocab_size

    def request(self, arrival: Arrival, *, salt: bytes = b"") -> Request:
        """The request, whose tenant is its kind."""
        prefix = self.wording.prefix if arrival.tag == CHAT else ()
        answer = self.sizes.chat_answer if arrival.tag == CHAT else self.sizes.agent_answer
        return Request(
            request_id_of(arrival),
            prefix + self.wording.own(arrival, arrival.input_tokens - len(prefix)),
            SamplingParams(
                tokens_max=answer[1],
                temperature=0.0,
                seed=arrival.number,
                stop_token_ids=(self.stop_token,),
            ),
            tenant=arrival.tag,
            salt=salt,
        )


def request_id_of(arrival: Arrival) -> RequestId:
    """What its request is called."""
    return RequestId(f"{arrival.tag}{arrival.number}")


def kind_of(request: Request) -> str:
    """Whose request it is, as a letter of the memory map."""
    return KINDS[request.tenant]
