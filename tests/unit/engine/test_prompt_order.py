"""Inside a class a long prompt lets pass who comes, and is done, while it would be computed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protos.messages import Request, RequestClass, RequestId
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from tests.unit.engine.driver import A, B, C, card, request, run, step

TOKEN_NS = 1_000_000  # due a millisecond later for each token


def subject(*, budget: int = 8, blocks: int = 64, sequences: int = 8) -> Engine:
    return Engine(
        EngineConfig(
            card=card(context=256),
            blocks_total=blocks,
            step_tokens_max=budget,
            sequences_max=sequences,
            waiting_max=64,
            watermark_blocks=0,
            prompt_token_ns=TOKEN_NS,
        )
    )


def asked(request_id: RequestId, prompt: int, first: int = 0) -> Request:
    """One token of output; prompts with another first token share nothing."""
    return request(request_id, (first, *range(1, prompt)), tokens_max=1)


def order(engine: Engine) -> list[RequestId]:
    return [delta.request_id for delta in run(engine) if delta.finish]


def test_a_short_prompt_passes_a_long_one_that_has_begun() -> None:
    engine = subject()
    engine.submit(asked(A, 64), now_ns=0)
    step(engine)
    engine.submit(asked(B, 8, first=500), now_ns=10 * TOKEN_NS)
    assert order(engine) == [B, A]


def test_it_passes_one_that_waits_as_well() -> None:
    engine = subject(sequences=1)
    engine.submit(asked(A, 64), now_ns=0)
    engine.submit(asked(B, 8, first=500), now_ns=10 * TOKEN_NS)
    assert order(engine) == [B, A]


def test_whoever_comes_when_a_prompt_would_be_done_does_not_pass_it() -> None:
    engine = subject()
    engine.submit(asked(A, 64), now_ns=0)
    step(engine)
    engine.submit(asked(B, 8, first=500), now_ns=(64 - 8) * TOKEN_NS)
    assert order(engine) == [A, B]


def test_what_is_cached_of_a_prompt_does_not_make_it_late() -> None:
    engine = subject()
    engine.submit(asked(C, 60))
    assert order(engine) == [C]
    engine.submit(asked(A, 16, first=500), now_ns=0)
    engine.submit(asked(B, 64), now_ns=2 * TOKEN_NS)
    assert order(engine) == [B, A], "4 tokens are left of it"


def test_a_long_prompt_takes_what_shorter_ones_leave_of_a_step() -> None:
    engine = subject(budget=10)
    engine.submit(asked(A, 64), now_ns=0)
    step(engine)
    engine.submit(asked(B, 6, first=500), now_ns=TOKEN_NS)
    plan = engine.schedule()
    assert plan is not None
    assert sorted(len(row.tokens) for row in plan.rows) == [4, 6]


def test_a_short_prompt_without_room_leaves_the_step_to_who_has_begun() -> None:
    engine = subject(blocks=20)
    engine.submit(asked(A, 64), now_ns=0)
    step(engine)
    engine.submit(asked(B, 32, first=500), now_ns=TOKEN_NS)
    assert order(engine) == [A, B]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 80), st.integers(0, 40)), min_size=1, max_size=12))
def test_no_prompt_waits_for_one_that_came_after_its_own_time(
    arrivals: list[tuple[int, int]],
) -> None:
    """Whoever is due later, by arrival and length, is never computed before, in one class."""
    engine = subject(budget=8, blocks=400, sequences=64)
    due: dict[RequestId, int] = {}
    for number, (prompt, at) in enumerate(arrivals):
        name = RequestId(f"r{number}")
        due[name] = (at + prompt) * TOKEN_NS
        assert engine.submit(asked(name, prompt, first=500 + number), now_ns=at * TOKEN_NS) is None
    ended = order(engine)
    assert [due[name] for name in ended] == sorted(due.values())


def test_a_short_prompt_of_a_worse_class_passes_nobody() -> None:
    engine = subject()
    engine.submit(asked(A, 64), now_ns=0)
    step(engine)
    short = request(B, (500, 1, 2), tokens_max=1, request_class=RequestClass.AGENT)
    engine.submit(short, now_ns=0)
    assert order(engine) == [A, B]
