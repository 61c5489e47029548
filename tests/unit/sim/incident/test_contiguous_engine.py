"""The baseline's engine keeps the promises that a fair comparison needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sim.executor import choose
from orchestrator.sim.incident.contiguous_engine import ContiguousConfig, ContiguousEngine
from protos.messages import Delta, Request, RequestId, SamplingParams
from replicas.engine.plan import StepOutcome, StepPlan

PREFIX = (7, 8, 9)
PATIENCE_NS = 3


def engine(*, prefix: tuple[int, ...] = (), slots_total: int = 40) -> ContiguousEngine:
    return ContiguousEngine(
        ContiguousConfig(
            slots_total=slots_total,
            step_tokens_max=8,
            sequences_max=4,
            patience_ns=PATIENCE_NS,
            prefix=prefix,
        )
    )


def request(name: str, *, prompt: tuple[int, ...], output: int) -> Request:
    return Request(RequestId(name), prompt, SamplingParams(tokens_max=output, temperature=0.0))


def outcome(plan: StepPlan) -> StepOutcome:
    return StepOutcome(tuple(tuple(map(choose, row.samples)) for row in plan.rows))


def drain(served: ContiguousEngine) -> list[Delta]:
    """Step once a nanosecond until nothing is left, checked after each step."""
    deltas: list[Delta] = []
    now_ns = 0
    while (plan := served.schedule(now_ns)) is not None:
        assert sum(len(row.tokens) for row in plan.rows) <= 8
        deltas.extend(served.apply(outcome(plan)))
        served.check()
        now_ns += 1
    return deltas


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 12)), max_size=12),
    st.sampled_from([(), PREFIX]),
)
def test_what_is_admitted_finishes_and_all_its_memory_comes_back(
    sizes: list[tuple[int, int]], prefix: tuple[int, ...]
) -> None:
    # 80 slots and a pin in their middle: each request fits an empty memory.
    served = engine(prefix=prefix, slots_total=80)
    for number, (prompt, output) in enumerate(sizes):
        tokens = (*PREFIX, *range(100, 100 + prompt))
        served.submit(request(f"r{number}", prompt=tokens, output=output))
    deltas = drain(served)
    failed = {failure.request_id for failure in served.take_failures()}
    counts = {f"r{n}": output for n, (_, output) in enumerate(sizes) if f"r{n}" not in failed}
    assert {d.request_id: d.first_index + 1 for d in deltas if d.finish} == counts
    assert len(deltas) == sum(counts.values())
    state = served.memory_state()
    assert state.slots_total - state.slots_free == len(prefix) == state.slots_written


def test_a_prefix_is_copied_which_saves_its_computation_and_no_memory() -> None:
    served, bare = engine(prefix=PREFIX), engine()
    for one in (served, bare):
        one.submit(request("r", prompt=(*PREFIX, 1, 2), output=4))
    plan, whole = served.schedule(0), bare.schedule(0)
    assert plan is not None and whole is not None
    assert (plan.rows[0].start, plan.rows[0].tokens) == (3, (1, 2))
    assert (whole.rows[0].start, whole.rows[0].tokens) == (0, (*PREFIX, 1, 2))
    assert served.memory_state().slots_free == bare.memory_state().slots_free - len(PREFIX)


def test_a_prompt_that_is_the_prefix_still_computes_its_last_token() -> None:
    served = engine(prefix=PREFIX)
    served.submit(request("r", prompt=PREFIX, output=1))
    assert [d.hit_tokens for d in drain(served)] == [2]


def test_the_head_is_tried_again_until_its_patience_ends_and_then_the_next_one_runs() -> None:
    served = engine()
    served.submit(request("long", prompt=(1,), output=25))
    served.submit(request("longer", prompt=(1,), output=20))
    served.submit(request("short", prompt=(1,), output=2))
    began: dict[RequestId, int] = {}
    for now_ns in range(PATIENCE_NS + 1):
        plan = served.schedule(now_ns)
        assert plan is not None
        for delta in served.apply(outcome(plan)):
            began.setdefault(delta.request_id, now_ns)
    assert began == {"long": 0, "short": PATIENCE_NS}
    (failure,) = served.take_failures()
    assert failure.request_id == "longer"
    assert (failure.slots_asked, failure.slots_free, failure.largest_hole) == (21, 14, 14)
    assert served.take_failures() == ()
