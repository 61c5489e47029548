"""The incident's traffic: chat behind one system prompt, agents of any length, a spike.

*Chat* (tag A): the same 600 tokens, a question, an answer. *Agents* (tag B):
50 to 4,000 prompt tokens of their own, 800 to 1,500 generated. A client cannot
know where its answer will stop; it asks for the longest of its kind, and the
answer ends before, with a stop token. So memory sized for what a sequence may
become is larger than what the sequence becomes.

Steady load first, then the spike, in which chat comes several times as fast;
then steady load again while the line drains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from orchestrator.workload.synthetic import poisson
from orchestrator.workload.tokens import VOCAB_SIZE
from orchestrator.workload.traffic import Arrival, merged
from protos.messages import Request, SamplingParams

CHAT, AGENT = "A", "B"
STOP_TOKEN = VOCAB_SIZE  # the one token that no made-up text contains
PREFIX_TOKENS = 600
ID_TOKENS = 8  # of each block id that the prefix is made from: 75 of them
PREFIX_IDS = tuple(range(PREFIX_TOKENS // ID_TOKENS))
CHAT_OUTPUT_MAX = 300
AGENT_OUTPUT_MAX = 1500
# A chat's and an agent's letter on a memory map.
CHAT_KIND, AGENT_KIND = "c", "A"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per second of each kind, and when."""

    chat_rate: float = 5.0
    chat_spike: float = 4.0  # times the steady rate
    agent_rate: float = 0.35
    steady_s: float = 60.0
    spike_s: float = 90.0
    after_s: float = 10.0

    @property
    def spike_end_s(self) -> float:
        """When the spike is over."""
        return self.steady_s + self.spike_s


def workload(load: Load, seed: int) -> tuple[Arrival, ...]:
    """All requests, numbered in order of arrival."""
    random = Random(seed)
    end_s = load.spike_end_s + load.after_s
    surge = load.chat_rate * (load.chat_spike - 1)
    streams = [
        list(chat(random, start_s=0, seconds=end_s, rate=load.chat_rate)),
        list(agents(random, start_s=0, seconds=end_s, rate=load.agent_rate)),
    ]
    if surge > 0:
        streams.append(list(chat(random, start_s=load.steady_s, seconds=load.spike_s, rate=surge)))
    return merged(streams)


def chat(random: Random, *, start_s: float, seconds: float, rate: float) -> Iterator[Arrival]:
    """Short questions behind the one long prompt."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=PREFIX_TOKENS + random.randint(20, 400),
            output_tokens=random.randint(40, CHAT_OUTPUT_MAX),
            block_ids=PREFIX_IDS,
            tag=CHAT,
        )


def agents(random: Random, *, start_s: float, seconds: float, rate: float) -> Iterator[Arrival]:
    """Prompts of any length, and long answers."""
    for arrival_ns in poisson(random, start_s=start_s, seconds=seconds, rate=rate):
        yield Arrival(
            number=0,
            arrival_ns=arrival_ns,
            input_tokens=random.randint(50, 4000),
            output_tokens=random.randint(800, AGENT_OUTPUT_MAX),
            tag=AGENT,
        )


def request_of(arrival: Arrival, *, salt: bytes) -> Request:
    """The request: as long an answer as its kind may get, ended by a stop token before."""
    request = arrival.request(ID_TOKENS)
    sampling = SamplingParams(
        tokens_max=CHAT_OUTPUT_MAX if arrival.tag == CHAT else AGENT_OUTPUT_MAX,
        temperature=0.0,
        seed=arrival.number,
        stop_token_ids=(STOP_TOKEN,),
    )
    return replace(request, sampling=sampling, salt=salt)


def kind_of(request: Request) -> str:
    """Whose request it is, as a letter of the memory map."""
    return CHAT_KIND if request.sampling.tokens_max == CHAT_OUTPUT_MAX else AGENT_KIND
