"""Bodies follow from the catalogue alone, so few undisturbed runs judge many requests."""

from __future__ import annotations

from orchestrator.chaos.scenario import Load, Scenario, Shape
from orchestrator.gateway.openai import completion_call
from orchestrator.live.chaos import poison
from orchestrator.live.chaos.bodies import Catalogue, asks_of, is_poison, plain
from orchestrator.live.chaos.references import key_of

TINY = Catalogue("tiny")
CHAT = Load("chat", "interactive", 20.0, 100, (20, 60), (10, 40), variety=32)


def scenario(*loads: Load, name: str = "calm") -> Scenario:
    return Scenario(name, "Nothing happens.", 10.0, Shape(), loads)


def test_another_seed_asks_the_same_bodies_at_other_times() -> None:
    one, other = (asks_of(scenario(CHAT), seed, TINY) for seed in (1, 2))
    assert [ask.due_s for ask in one] != [ask.due_s for ask in other]
    assert {key_of(ask.body) for ask in one} == {key_of(ask.body) for ask in other}
    assert len({key_of(ask.body) for ask in one}) == CHAT.variety


def test_each_run_has_a_cache_to_itself_and_the_same_reference() -> None:
    (here, *_), (there, *_) = (asks_of(scenario(CHAT, name=name), 1, TINY) for name in ("a", "b"))
    assert here.body["cache_salt"] != there.body["cache_salt"]
    assert plain(here.body) == plain(there.body)


def test_every_body_is_one_that_a_gateway_takes() -> None:
    for ask in asks_of(scenario(CHAT), 1, TINY):
        call = completion_call(ask.body)
        assert call.stream
        assert call.include_usage


def test_half_are_greedy_and_every_option_is_met() -> None:
    bodies = {key_of(ask.body): ask.body for ask in asks_of(scenario(CHAT), 1, TINY)}.values()
    greedy = sum(body["temperature"] == 0 for body in bodies)
    assert len(bodies) / 4 < greedy < len(bodies) * 3 / 4
    for option in ("n", "stop", "logprobs", "frequency_penalty", "presence_penalty", "top_p"):
        assert any(option in body for body in bodies), option


def test_a_byte_level_prompt_has_the_length_that_was_meant_and_others_more_letters() -> None:
    for ask in asks_of(scenario(CHAT), 1, TINY):
        assert 120 <= len(ask.body["prompt"]) <= 160
    for ask in asks_of(scenario(CHAT), 1, Catalogue("large")):
        assert 240 <= len(ask.body["prompt"]) <= 320


def test_requests_of_a_load_begin_alike() -> None:
    prompts = {ask.body["prompt"] for ask in asks_of(scenario(CHAT), 1, TINY)}
    assert len({prompt[:96] for prompt in prompts}) == 1


def test_poison_is_marked_and_nothing_else_is() -> None:
    bad = Load("bad", "batch", 2.0, 0, (20, 60), (10, 40), is_poison=True)
    asks = asks_of(scenario(CHAT, bad), 1, TINY)
    assert {ask.tag for ask in asks if is_poison(ask.body)} == {"bad"}
    assert all(ask.body["prompt"].startswith(poison.TEXT) for ask in asks if ask.tag == "bad")
