"""How long a stream pauses when it moves: two steps and a round trip at most, at any length.

Steps take what they take on the modelled GPU, messages what the network takes,
and each block its time on the wire: a context of 64 k tokens is copied for
seconds, while the stream goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import pytest

from orchestrator.control.events import MoveRequested
from orchestrator.control.seams import Clock
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.client import Answered, Outcome
from orchestrator.sim.hosts import GatewayHost, ReplicaHost
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.world import World, WorldConfig, simulate
from orchestrator.workload.traffic import Arrival, Traffic
from protos.messages import ReplicaId, Request
from protos.moves import MoveId

CONFIG = WorldConfig(
    replicas=2,
    blocks=6000,
    control_planes=1,
    token_by_token=True,
    block_ns=1_700_000,  # 16 tokens of an 8B model, 2 MiB, at 10 Gbit/s
)
OUTPUT_TOKENS = 3000
MOVED_AFTER_S = 2.0  # of answering


@dataclass
class Timing:
    """A client that notes when each token came."""

    came_ns: list[int] = field(default_factory=list)

    async def ask(
        self, gateways: Sequence[GatewayHost], clock: Clock, arrival: Arrival, request: Request
    ) -> Outcome:
        life = gateways[0].life
        assert life is not None
        arrival_ns = clock.now_ns()
        tokens: list[int] = []
        async with await life.dispatch.start(request) as stream:
            async for delta in stream:
                self.came_ns.extend([clock.now_ns()] * len(delta.tokens))
                tokens.extend(sampled.token for sampled in delta.tokens)
                finish = delta.finish
        assert finish is not None
        return Answered(
            number=arrival.number,
            tag=arrival.tag,
            replica_id=stream.replica_id,
            attempts=stream.attempts,
            arrival_ns=arrival_ns,
            first_ns=self.came_ns[0],
            last_ns=clock.now_ns(),
            prompt_tokens=len(request.prompt),
            hit_tokens=stream.hit_tokens,
            tokens=tuple(tokens),
            finish=finish,
        )


@dataclass
class OneMove:
    """Ordered while the answer comes."""

    timing: Timing
    ordered_ns: int = 0

    async def strike(self, world: World) -> None:
        while not self.timing.came_ns:
            await world.clock.sleep(0.1)
        await world.clock.sleep(MOVED_AFTER_S)
        (source,) = (host for host in world.replicas if used(host))
        (target,) = (host for host in world.replicas if host is not source)
        (plane,) = world.control_planes
        assert source.life is not None and plane.life is not None
        (report,) = source.life.replica.reported.links.sequences(2)
        self.ordered_ns = world.clock.now_ns()
        where = ReplicaId(source.name), report.sequence_id, ReplicaId(target.name)
        plane.life.apply(MoveRequested(MoveId("m"), *where))


def used(host: ReplicaHost) -> int:
    assert host.life is not None
    return host.life.replica.snapshot().blocks_used


@pytest.mark.parametrize("context_tokens", [256, 1024, 4096, 65_536])
def test_a_move_costs_its_client_two_steps_and_a_round_trip_at_any_length(
    context_tokens: int,
) -> None:
    timing = Timing()
    move = OneMove(timing)
    arrival = Arrival(0, 0, context_tokens, OUTPUT_TOKENS, tag="long")
    history = simulate(
        CONFIG, Traffic((arrival,), 16), Checkers(every_steps=500), clients=timing, faults=move
    )
    assert history.moves == 1
    assert len(timing.came_ns) == OUTPUT_TOKENS
    gaps = [(after - before, before) for before, after in pairwise(timing.came_ns)]
    step_ns = median(gap for gap, at in gaps if at < move.ordered_ns)
    pause_ns = max(gap for gap, at in gaps if at >= move.ordered_ns) - step_ns
    round_trip_ns = round(2 * CONFIG.link_delay_s * NS_PER_S)
    print(f"{context_tokens}: a pause of {pause_ns / step_ns:.2f} steps of {step_ns / 1e6:.1f} ms")
    assert pause_ns <= 2 * step_ns + round_trip_ns
