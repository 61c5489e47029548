"""What a grammar allows, step by step, with and without what the cache remembers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from protos.messages import SamplingParams
from replicas.engine.plan import Sample
from replicas.model import grammar as grammar_module
from replicas.model.grammar import Grammars, Vocabulary
from replicas.model.sampler import choose

END = 256
BYTES = Vocabulary(
    tokens=(*(bytes([byte]) for byte in range(256)), b"<end>"),
    special=frozenset({END}),
    ends=(END,),
)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
AS_SCHEMA = LLMatcher.grammar_from_json_schema(json.dumps(SCHEMA))
YES_OR_NO = LLMatcher.grammar_from_regex("yes|no")


def sample(grammar: str, output: tuple[int, ...] = (), *, seed: int = 0) -> Sample:
    params = SamplingParams(tokens_max=200, grammar=grammar, stop_token_ids=(END,))
    return Sample(params, seed, (1, 2, 3), output)


def allowed(grammars: Grammars, grammar: str, output: str) -> set[int]:
    scores = torch.zeros(300)  # longer than the vocabulary, as padded models are
    grammars.constrain(scores, sample(grammar, tuple(output.encode())))
    return {token for token, score in enumerate(scores.tolist()) if score == 0}


def complete(grammars: Grammars, grammar: str, *, seed: int, output: tuple[int, ...] = ()) -> bytes:
    """Sample under the grammar to its end, from logits that know nothing of it."""
    written = list(output)
    while not written or written[-1] != END:
        assert len(written) < 500, "it never ends"
        generator = torch.Generator().manual_seed(seed * 1_000 + len(written))
        logits = torch.randn(1, 257, generator=generator)
        (token,) = choose(logits, [[sample(grammar, tuple(written), seed=seed)]], grammars)[0]
        written.append(token.token)
    return bytes(written[:-1])


def test_only_what_can_still_match_is_allowed() -> None:
    grammars = Grammars(lambda: BYTES)
    assert allowed(grammars, YES_OR_NO, "") == {ord("y"), ord("n")}
    assert allowed(grammars, YES_OR_NO, "y") == {ord("e")}
    assert allowed(grammars, YES_OR_NO, "no") == {END}


def test_a_special_token_is_no_text() -> None:
    anything = LLMatcher.grammar_from_regex(r"(?s).{5}")
    assert END not in allowed(Grammars(lambda: BYTES), anything, "abc")


@given(st.integers(0, 2**20))
@settings(max_examples=25, deadline=None)
def test_random_logits_under_a_schema_become_a_valid_object(seed: int) -> None:
    said = json.loads(complete(Grammars(lambda: BYTES), AS_SCHEMA, seed=seed))
    assert set(said) == {"name", "age"}
    assert isinstance(said["age"], int) and len(said["name"]) <= 5


def test_a_choice_goes_on_elsewhere_in_the_middle_of_its_grammar() -> None:
    whole = complete(Grammars(lambda: BYTES), AS_SCHEMA, seed=7)
    for said in range(len(whole)):
        elsewhere = Grammars(lambda: BYTES)  # it has never seen the beginning
        assert complete(elsewhere, AS_SCHEMA, seed=7, output=tuple(whole[:said])) == whole


def test_choices_of_one_grammar_do_not_disturb_each_other() -> None:
    together = Grammars(lambda: BYTES)
    for output in ("", "y", "", "n", "ye", "n"):
        assert allowed(together, YES_OR_NO, output) == allowed(
            Grammars(lambda: BYTES), YES_OR_NO, output
        )


def test_a_cache_of_one_is_slower_and_as_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar_module, "MATCHERS_MAX", 1)
    monkeypatch.setattr(grammar_module, "GRAMMARS_MAX", 1)
    grammars = Grammars(lambda: BYTES)
    assert allowed(grammars, YES_OR_NO, "y") == {ord("e")}
    assert allowed(grammars, AS_SCHEMA, "{") != {ord("e")}
    assert allowed(grammars, YES_OR_NO, "ye") == {ord("s")}


def test_a_grammar_that_fails_ends_its_choice() -> None:
    assert allowed(Grammars(lambda: BYTES), "start: /a(b/", "") == {END}


def test_an_output_that_left_its_grammar_ends() -> None:
    assert allowed(Grammars(lambda: BYTES), YES_OR_NO, "maybe") == {END}


def test_the_vocabulary_is_not_read_before_it_is_needed() -> None:
    read: list[Vocabulary] = []

    def vocabulary() -> Vocabulary:
        read.append(BYTES)
        return BYTES

    grammars = Grammars(vocabulary)
    assert not read
    allowed(grammars, YES_OR_NO, "")
    allowed(grammars, AS_SCHEMA, "")
    assert len(read) == 1


def test_log_probabilities_name_only_what_the_grammar_allows() -> None:
    asked = sample(YES_OR_NO)
    asked = replace(asked, params=replace(asked.params, logprobs=5))
    (token,) = choose(torch.zeros(1, 257), [[asked]], Grammars(lambda: BYTES))[0]
    assert {alternative for alternative, _ in token.top} == {ord("y"), ord("n")}
    assert all(logprob == pytest.approx(-0.6931, abs=1e-3) for _, logprob in token.top)
