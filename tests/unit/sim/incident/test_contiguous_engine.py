"""The baseline's engine keeps the promises that a fair comparison needs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sim.executor import choose
from orchestrator.sim.incident.contiguous_engine import ContiguousConfig, ContiguousEngine
from orchestrator.sim.incident.workload import AGENT
from protos.messages import Delta, Request, RequestId, SamplingParams
from replicas.engine.plan import BlockCopy, BlockId, StepOutcome, StepPlan

PREFIX = (7, 8, 9)
PATIENCE_NS = 3


def engine(
    *,
    prefix: tuple[int, ...] = (),
    blocks_total: int = 40,
    block_size: int = 1,
    step_tokens_max: int = 8,
) -> ContiguousEngine:
    return ContiguousEngine(
        ContiguousConfig(
            blocks_total=blocks_total,
            block_size=block_size,
            step_tokens_max=step_tokens_max,
            sequences_max=4,
            patience_ns=PATIENCE_NS,
            prefix=prefix,
        )
    )


def request(name: str, *, prompt: tuple[int, ...], output: int) -> Request:
    sampling = SamplingParams(tokens_max=output, temperature=0.0)
    return Request(RequestId(name), prompt, sampling, tenant=AGENT)


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
    served = engine(prefix=prefix, blocks_total=80)
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


def test_a_run_is_blocks_in_a_row_and_holds_whole_ones() -> None:
    served = engine(block_size=4, blocks_total=10)
    served.submit(request("r", prompt=tuple(range(6)), output=3))
    plan = served.schedule(0)
    assert plan is not None
    assert plan.rows[0].block_table == (0, 1, 2)
    assert served.memory_state().slots_free == 28


def test_the_prefix_is_computed_in_steps_and_copied_block_by_block() -> None:
    prefix = tuple(range(50, 56))
    served = engine(prefix=prefix, block_size=4, blocks_total=10, step_tokens_max=4)
    first, second = (step.rows[0] for step in served.prepare())
    assert (first.tokens, first.start, first.samples) == (prefix[:4], 0, ())
    assert (second.tokens, second.start) == (prefix[4:], 4)
    assert first.block_table == second.block_table == (4, 5)  # in the middle of the memory
    served.submit(request("r", prompt=(*prefix, 1), output=2))
    plan = served.schedule(0)
    assert plan is not None
    assert plan.copies == (
        BlockCopy(BlockId(4), BlockId(0), 4),
        BlockCopy(BlockId(5), BlockId(1), 2),
    )
    assert (plan.rows[0].start, plan.rows[0].tokens) == (6, (1,))


def test_who_does_not_begin_with_the_prefix_gets_no_copy() -> None:
    served = engine(prefix=PREFIX)
    served.submit(request("r", prompt=(1, *PREFIX), output=1))
    plan = served.schedule(0)
    assert plan is not None and plan.copies == ()


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
