"""How many replicas: single decisions in a table, and what a run of them never does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.scale import (
    Calm,
    ReplicaLoad,
    Scale,
    ScaleConfig,
    ScaleReason,
    ScaleView,
    replicas_wanted,
)

NS_PER_S = 1_000_000_000
BLOCKS = 100
CONFIG = ScaleConfig(replicas_min=1, replicas_max=8, quiet_ns=60 * NS_PER_S)
IDLE = ReplicaLoad(BLOCKS, 0, 0, 0, 0, None)


def used(blocks: int) -> ReplicaLoad:
    return replace(IDLE, blocks_used=blocks)


def sequences(count: int) -> ReplicaLoad:
    """Each in a block of its own."""
    return replace(used(count), sequences=count)


def view(*ready: ReplicaLoad, target: int | None = None) -> ScaleView:
    return ScaleView(0, len(ready) if target is None else target, ready)


@pytest.mark.parametrize(
    ("given", "count", "reason"),
    [
        pytest.param(view(used(75)), 1, ScaleReason.STEADY, id="just full enough"),
        pytest.param(view(used(76)), 2, ScaleReason.BLOCKS, id="too full"),
        pytest.param(
            view(replace(IDLE, blocks_waiting=140)), 2, ScaleReason.BLOCKS, id="waiting at one"
        ),
        pytest.param(
            replace(view(replace(used(30), sequences=3), IDLE), line_requests=20),
            4,
            ScaleReason.BLOCKS,
            id="in the line, like those that run",
        ),
        pytest.param(
            replace(view(IDLE), line_requests=1), 1, ScaleReason.STEADY, id="one in the line"
        ),
        pytest.param(
            view(replace(IDLE, prefill_tokens_waiting=3001, prefill_tokens_per_s=1000.0)),
            2,
            ScaleReason.PREFILL,
            id="prompts take too long",
        ),
        pytest.param(
            view(replace(IDLE, prefill_tokens_waiting=10**9)),
            1,
            ScaleReason.STEADY,
            id="nobody knows how long prompts take",
        ),
        pytest.param(view(used(1000)), 2, ScaleReason.BLOCKS, id="growth is bounded"),
        pytest.param(
            view(*[used(1000)] * 6), 8, ScaleReason.BLOCKS, id="and never goes beyond the most"
        ),
        pytest.param(view(*[used(100)] * 8), 8, ScaleReason.BOUND, id="the most is not enough"),
        pytest.param(view(used(90), target=3), 3, ScaleReason.STEADY, id="help is on its way"),
        pytest.param(
            view(used(100), used(100), target=3), 3, ScaleReason.STEADY, id="enough help is"
        ),
        pytest.param(view(target=2), 2, ScaleReason.STEADY, id="nobody has reported"),
        pytest.param(view(target=9), 8, ScaleReason.BOUND, id="more than may be"),
        pytest.param(
            view(used(40), replace(used(40), is_open=False)),
            3,
            ScaleReason.BLOCKS,
            id="a drained replica is no help",
        ),
    ],
)
def test_the_number_follows_what_is_queued_for(
    given: ScaleView, count: int, reason: ScaleReason
) -> None:
    scale = replicas_wanted(given, CONFIG)
    assert (scale.count, scale.reason) == (count, reason)


def test_fewer_are_asked_for_only_after_a_quiet_time() -> None:
    calm = None
    for second in range(60):
        scale = replicas_wanted(
            replace(view(IDLE, used(10)), now_ns=second * NS_PER_S, calm=calm), CONFIG
        )
        assert scale.count == 2
        calm = scale.calm
    scale = replicas_wanted(replace(view(IDLE, used(10)), now_ns=60 * NS_PER_S, calm=calm), CONFIG)
    assert scale == Scale(1, ScaleReason.CALM)


def test_a_busy_moment_starts_the_quiet_time_anew() -> None:
    calm = Calm(since_ns=0, needed=1)
    busy = replace(view(used(60), used(41)), now_ns=59 * NS_PER_S, calm=calm)
    assert replicas_wanted(busy, CONFIG).calm is None


def test_as_many_stay_as_the_worst_moment_of_the_quiet_time_needed() -> None:
    calm = Calm(since_ns=0, needed=3)
    idle = replace(view(*[IDLE] * 4), now_ns=60 * NS_PER_S, calm=calm)
    assert replicas_wanted(idle, CONFIG).count == 3


def test_no_more_than_half_go_at_once() -> None:
    idle = replace(view(*[IDLE] * 7), now_ns=60 * NS_PER_S, calm=Calm(0, 1))
    assert replicas_wanted(idle, CONFIG).count == 4


def test_nobody_goes_while_somebody_has_yet_to_report() -> None:
    starting = replace(view(IDLE, IDLE, target=3), now_ns=60 * NS_PER_S, calm=Calm(0, 1))
    assert replicas_wanted(starting, CONFIG) == Scale(3, ScaleReason.STEADY)


loads = st.builds(
    ReplicaLoad,
    blocks_total=st.just(BLOCKS),
    blocks_used=st.integers(0, BLOCKS),
    blocks_waiting=st.integers(0, 10 * BLOCKS),
    prefill_tokens_waiting=st.integers(0, 100_000),
    sequences=st.integers(0, BLOCKS),
    prefill_tokens_per_s=st.none() | st.floats(1.0, 1e5),
    is_open=st.booleans(),
)
views = st.builds(
    ScaleView,
    now_ns=st.integers(0, 10**12),
    target=st.integers(0, 12),
    ready=st.lists(loads, max_size=12).map(tuple),
    line_requests=st.integers(0, 10_000),
    calm=st.none() | st.builds(Calm, st.integers(0, 10**12), st.integers(1, 12)),
)


@given(views, st.randoms(use_true_random=False))
def test_any_view_gives_a_number_within_the_bounds_and_regardless_of_order(
    given: ScaleView, random: object
) -> None:
    scale = replicas_wanted(given, CONFIG)
    assert CONFIG.replicas_min <= scale.count <= CONFIG.replicas_max
    shuffled = list(given.ready)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert replicas_wanted(replace(given, ready=tuple(shuffled)), CONFIG) == scale
    if scale.count < given.target <= CONFIG.replicas_max:
        assert scale.reason is ScaleReason.CALM
        remaining = scale.count * BLOCKS
        assert sum(load.blocks_used for load in given.ready) <= remaining, "what runs has room"


@dataclass
class Fleet:
    """Replicas under a demand of blocks, spread evenly; they take a while to start."""

    config: ScaleConfig
    ready: int = 1
    starts_s: int = 20
    starting: list[int] = field(default_factory=list)  # when each is ready
    calm: Calm | None = None
    counts: list[int] = field(default_factory=list)

    def second(self, now_s: int, demand: int) -> None:
        self.ready += sum(ready_s <= now_s for ready_s in self.starting)
        self.starting = [ready_s for ready_s in self.starting if ready_s > now_s]
        held = min(demand, self.ready * BLOCKS)
        each, rest = divmod(held, self.ready)
        fleet = (sequences(each + 1),) * rest + (sequences(each),) * (self.ready - rest)
        target = self.ready + len(self.starting)
        # Nobody has more than all its blocks in use; who cannot be held stands in the line.
        seen = ScaleView(now_s * NS_PER_S, target, fleet, demand - held, self.calm)
        scale = replicas_wanted(seen, self.config)
        self.calm = scale.calm
        self.counts.append(scale.count)
        self.starting += [now_s + self.starts_s] * (scale.count - target)
        self.ready -= max(0, target - scale.count)

    def run(self, demand: list[int]) -> list[int]:
        for now_s, blocks in enumerate(demand):
            self.second(now_s, blocks)
        return self.counts


def changes(counts: list[int]) -> int:
    return sum(before != after for before, after in pairwise(counts))


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 40 * BLOCKS), then=st.integers(0, 40 * BLOCKS))
def test_a_steady_load_finds_its_number_and_keeps_it(first: int, then: int) -> None:
    config = ScaleConfig(replicas_min=1, replicas_max=2000)
    fleet = Fleet(config)
    rise = fleet.run([first] * 300)
    assert rise == sorted(rise), "on the way up it never turns"
    assert rise[-1] == max(1, -(-first // 75)) and changes(rise[-100:]) == 0
    counts = Fleet(config, ready=rise[-1]).run([then] * 600)
    assert changes(counts[-100:]) == 0
    assert counts in (sorted(counts), sorted(counts, reverse=True))
    assert max(1, -(-then // 75)) <= counts[-1] <= max(rise[-1], 1, -(-then // 50))


@settings(max_examples=30, deadline=None)
@given(base=st.integers(100, 4000), noise=st.lists(st.floats(0.9, 1.1), min_size=50, max_size=50))
def test_noise_of_a_tenth_moves_the_number_only_up(base: int, noise: list[float]) -> None:
    """The gap between the two measures holds it there. Power: with one measure it swings."""
    config = ScaleConfig(replicas_min=1, replicas_max=2000)
    fleet = Fleet(config)
    fleet.run([base] * 200)
    settled = len(fleet.counts)
    counts = fleet.run([int(base * factor) for factor in noise * 8])[settled:]
    assert counts == sorted(counts)
    assert counts[-1] <= -(-base * 11 // 750) + 1


def test_a_thousand_replicas_are_reached_in_a_few_starts() -> None:
    fleet = Fleet(ScaleConfig(replicas_min=1, replicas_max=1000))
    counts = fleet.run([75 * 1000] * 220)
    assert counts.index(1000) <= 9 * 20
    assert sorted(set(counts)) == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]


def test_a_spike_is_answered_at_once_and_left_slowly() -> None:
    fleet = Fleet(ScaleConfig(replicas_min=2, replicas_max=50), ready=2)
    counts = fleet.run([100] * 10 + [700] * 200 + [100] * 400)
    assert counts[10] == 4
    assert max(counts) == 10
    ended = 10 + 200
    assert counts[ended : ended + 60] == [10] * 60
    assert counts[-1] == 2
