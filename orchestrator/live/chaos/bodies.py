"""What a real cluster is asked in a scenario: a request that is due becomes a request body.

A scenario's demand comes from a small catalogue, and how an answer is made
follows from the catalogue's item alone. So the same bodies come again under
every seed, and what each says undisturbed has to be heard only once
(references.py). Half of them are greedy, half are sampled with a seed, and
every option that shapes an answer is met by some.

A body that is sent carries a salt, so that no run finds another one's prompts
in a cache; the salt changes no answer, and `plain` takes it out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.chaos.demand import Due, demand, words
from orchestrator.chaos.scenario import Scenario
from orchestrator.live.chaos import poison
from orchestrator.load.ask import Ask
from orchestrator.load.stream import Patience

Body = dict[str, Any]

BYTE_LEVEL = "tiny"  # the one model whose tokens are characters
LETTERS_PER_TOKEN = 2  # of any other, in made-up words: about
TEMPERATURE = 0.8
# How answers are made: the even ones greedily, the odd ones by chance and seed.
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"frequency_penalty": 0.2},
    {"logprobs": 2},
    {"n": 2},
    {"stop": ["\n\n", "zq"]},
    {"presence_penalty": 0.3, "logprobs": 0},
    {"repetition_penalty": 1.1},
    {"top_p": 0.9, "stop": ["##"], "n": 2},
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The bodies that one model is asked."""

    model: str

    @property
    def characters_per_token(self) -> int:
        return 1 if self.model == BYTE_LEVEL else LETTERS_PER_TOKEN

    def body(self, due: Due) -> Body:
        """The same for every request of the same item of the catalogue."""
        item = due.arrival.block_ids[-1]
        place = item % len(OPTIONS)
        return {
            "model": self.model,
            "prompt": self._prompt(due),
            "max_tokens": due.arrival.output_tokens,
            "temperature": TEMPERATURE if place % 2 else 0.0,
            "seed": item,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "request_class": due.arrival.request_class.value,
            **OPTIONS[place],
        }

    def _prompt(self, due: Due) -> str:
        times = self.characters_per_token
        text = "".join(words(block_id) * times for block_id in due.arrival.block_ids)
        mark = poison.TEXT if due.is_poison else ""
        return mark + text[: due.arrival.input_tokens * times]


def plain(body: Body) -> Body:
    """The body without what changes no answer: those that are equal so say the same."""
    return {name: value for name, value in body.items() if name != "cache_salt"}


def is_poison(body: Body) -> bool:
    """Whether replicas are to die of it."""
    return str(body["prompt"]).startswith(poison.TEXT)


def patience_of(scenario: Scenario) -> Patience:
    """How long its clients bear silence."""
    silence_s = scenario.patience_s
    return Patience() if silence_s is None else Patience(first_s=silence_s, silence_s=silence_s)


def asks_of(scenario: Scenario, seed: int, catalogue: Catalogue) -> tuple[Ask, ...]:
    """What clients are to send, in the order of time."""
    salt = f"{scenario.name}/{seed}"
    return tuple(
        Ask(
            number=due.number,
            tag=due.arrival.tag,
            request_class=due.arrival.request_class.value,
            due_s=due.due_s,
            body={**catalogue.body(due), "cache_salt": salt},
            deadline_s=scenario.objectives.deadline_s,
            leaves_after_s=due.leaves_after_s,
            reads_per_s=due.reads_per_s,
        )
        for due in demand(scenario, seed)
    )
