"""Structured output by a real model through the real engine: valid, and the same after a cut."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from llguidance import LLMatcher

from orchestrator.live.vocabulary import read_vocabulary
from protos.messages import ModelCard, Request, RequestId, SamplingParams
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.model.grammar import Grammars
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import resolve_model

BLOCK_SIZE = 4
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "mild": {"type": "boolean"},
        "degrees": {"type": "integer", "minimum": -50, "maximum": 60},
    },
    "required": ["city", "mild", "degrees"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(resolve_model("tiny"), device="cpu", dtype="float32")


def run(model: LoadedModel, *requests: Request) -> dict[tuple[str, int], list[int]]:
    """Tokens of every choice, computed together by a fresh engine in small steps."""
    card: ModelCard = model.card(BLOCK_SIZE)
    engine = Engine(EngineConfig(card, blocks_total=110, step_tokens_max=16, takes_grammars=True))
    grammars = Grammars(lambda: read_vocabulary(resolve_model("tiny").path))
    runner = TorchRunner(model, blocks_total=110, block_size=BLOCK_SIZE, grammars=grammars)
    for request in requests:
        assert engine.submit(request) is None
    said: dict[tuple[str, int], list[int]] = {}
    while (plan := engine.schedule()) is not None:
        for delta in engine.apply(runner.run(plan)):
            tokens = said.setdefault((delta.request_id, delta.choice), [])
            tokens.extend(sampled.token for sampled in delta.tokens)
    engine.check()
    return said


def asked(name: str, *, seed: int, choices: int = 1) -> Request:
    params = SamplingParams(
        tokens_max=120,
        seed=seed,
        stop_token_ids=read_vocabulary(resolve_model("tiny").path).ends,
        grammar=LLMatcher.grammar_from_json_schema(json.dumps(SCHEMA)),
    )
    return Request(RequestId(name), tuple(b"How is the weather?"), params, choices=choices)


def text(tokens: list[int]) -> str:
    return bytes(tokens[:-1]).decode()  # without the end token


def test_every_choice_is_an_instance_of_the_schema(model: LoadedModel) -> None:
    said = run(model, asked("a", seed=1, choices=3), asked("b", seed=2))
    assert len(said) == 4
    for tokens in said.values():
        weather = json.loads(text(tokens))
        assert set(weather) == {"city", "mild", "degrees"}
        assert isinstance(weather["mild"], bool) and -50 <= weather["degrees"] <= 60
    assert len({text(tokens) for tokens in said.values()}) > 1, "seeds matter within the grammar"


def test_a_choice_resumed_anywhere_in_its_grammar_says_the_same(model: LoadedModel) -> None:
    whole = asked("whole", seed=5)
    tokens = run(model, whole)["whole", 0]
    for said in range(3, len(tokens) - 1, 19):
        rest = replace(whole, request_id=RequestId("rest"), output=tuple(tokens[:said]))
        assert tokens[:said] + run(model, rest)["rest", 0] == tokens
