"""One seed's world: its size, its traffic, and all that goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from orchestrator.gateway.dispatch_config import DispatchConfig
from orchestrator.policy.rebalance_config import RebalanceConfig
from orchestrator.sim.checkers import Checkers
from orchestrator.sim.exact_executor import completion
from orchestrator.sim.loop import NS_PER_S
from orchestrator.sim.policies import LOAD_AND_COPY, OURS
from orchestrator.sim.registry_way import REDIS
from orchestrator.sim.swarm.clients import StubbornClients
from orchestrator.sim.swarm.faults import (
    ClockJumps,
    ControlPlaneDies,
    Fault,
    GatewayDies,
    OperatorMoves,
    OperatorStands,
    RegistryFails,
    RegistryForgets,
    RegistrySlows,
    ReplicaDies,
    ReplicaSlows,
    ReplicaStops,
    RollingUpdate,
    Schedule,
    SequencesMove,
    WayBreaks,
    WayLags,
    WayParts,
)
from orchestrator.sim.world import SHELL, History, WorldConfig, simulate
from orchestrator.workload.traffic import Arrival, Traffic, in_order
from protos.messages import Request, RequestClass, Standing

BLOCK_SIZE = 4
REPLICAS = 3
SECONDS = 2.0  # in which requests arrive and faults begin


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a seed decides."""

    config: WorldConfig
    traffic: Traffic
    leaves: dict[int, float]
    faults: tuple[tuple[int, Fault], ...]

    def run(self) -> History:
        """With every checker. A broken rule is an AssertionError in a group."""
        return simulate(
            self.config,
            self.traffic,
            Checkers(expected=first_choice),
            clients=StubbornClients(self.leaves),
            faults=Schedule(self.faults),
        )


def first_choice(request: Request, count: int) -> tuple[int, ...]:
    return completion(request, choice=0, count=count)


def scenario(seed: int, *, is_calm: bool = False) -> Scenario:
    """The same for a seed at any time."""
    random = Random(seed)
    config = WorldConfig(
        replicas=REPLICAS,
        gateways=2,
        blocks=random.randint(24, 90),
        block_size=BLOCK_SIZE,
        seed=seed,
        token_by_token=True,
        exact=True,
        control_planes=random.choice([0, 1, 2]),
        rebalance=random.random() < 0.7,
        rebalancing=EAGER,
        block_ns=random.choice([10_000, 1_000_000, 20_000_000]),
        link_delay_s=random.choice([0.0002, 0.005]),
        shell=replace(
            SHELL,
            park_grace_ms=random.choice([500, 3000]),
            warm_ms=random.choice([0, 0, 500]),
            link_messages_max=random.choice([64, 1024]),
        ),
        dispatch=IMPATIENT,
        skew_ns=random.choice([0, 0, NS_PER_S]),
        repeats=random.choice([0.0, 0.3]),
        sequences_max=random.choice([4, 32]),
        policy=random.choice([OURS, OURS, LOAD_AND_COPY]),
        patience_s=300.0,
        host_blocks=(0, 8, 200)[seed % 3],
    )
    traffic = small_traffic(random)
    leaves = {
        arrival.number: random.random() * 1.5
        for arrival in traffic.arrivals
        if random.random() < 0.1
    }
    return Scenario(config, traffic, leaves, () if is_calm else tuple(troubles(random, config)))


def troubles(random: Random, config: WorldConfig) -> Iterator[tuple[int, Fault]]:
    """Moves in every world, and a few faults of any kind."""
    kinds = [move] * random.randint(1, 4) + [draw] * random.randint(1, 6)
    for number, kind in enumerate(kinds):
        yield int(random.random() * SECONDS * NS_PER_S), kind(random, config, number)


# Nobody waits for longer than faults last, of whatever class.
IMPATIENT = DispatchConfig(queue_ns_max=30 * NS_PER_S, patience_ns={})

# In small worlds there is little to gain: so it moves what it can.
EAGER = RebalanceConfig(
    interval_ms=250,
    used_share_min=0.2,
    gap_begin=2.0,
    gap_stop=1.0,
    growth_tokens=4,
    tokens_left_min=2,
    cooldown_ms=500,
    retry_ms=250,
    deadline_ms=3000,
)


def small_traffic(random: Random) -> Traffic:
    """Requests whose prompts are walks through a small tree of blocks."""
    arrivals = [
        Arrival(
            number=number,
            arrival_ns=int(random.random() * SECONDS * NS_PER_S),
            input_tokens=random.randint(1, 50),
            output_tokens=random.choice([random.randint(1, 8), random.randint(8, 60)]),
            block_ids=tuple(walk(random)),
            choices=random.choice([1, 1, 1, 1, 2, 3]),
            salt=random.choice([b"", b"", b"", b"a"]),
            request_class=random.choice(list(RequestClass)),
        )
        for number in range(random.randint(15, 35))
    ]
    return Traffic(in_order(arrivals), BLOCK_SIZE)


def walk(random: Random) -> Iterator[int]:
    """Ids of blocks from a root on; one of two ways at each fork."""
    block_id = random.randrange(2)
    yield block_id
    for _ in range(random.randrange(8)):
        block_id = 2 * block_id + 2 + random.randrange(2)
        yield block_id


def move(random: Random, config: WorldConfig, number: int) -> Fault:
    """Some of one replica's sequences go to another one, or back to their gateways."""
    source, target = random.sample(range(config.replicas), 2)
    is_move = random.random() < 0.8
    return SequencesMove(number, source, target if is_move else None, random.randint(1, 6))


def draw(random: Random, config: WorldConfig, number: int) -> Fault:
    """One fault."""
    replica = random.randrange(config.replicas)
    other = (replica + random.randrange(1, config.replicas)) % config.replicas
    gateway = random.randrange(config.gateways)
    seconds = random.choice([0.1, 0.5, 2.0, 7.0])
    replica_name, other_name = f"replica-{replica:03}", f"replica-{other:03}"
    node = random.choice([other_name, f"gateway-{gateway}"])
    kinds: list[Callable[[], Fault]] = [
        lambda: ReplicaDies(replica, seconds),
        lambda: ReplicaStops(replica, random.choice([0.0, 0.2, 2.0])),
        lambda: RollingUpdate(random.choice([0.0, 0.5])),
        lambda: ReplicaSlows(replica, random.choice([3, 30, 1000]), seconds),
        lambda: WayBreaks(replica_name, node),
        lambda: WayParts(replica_name, node, seconds),
        lambda: WayLags(
            random.choice([replica_name, node]),
            random.choice([REDIS, f"gateway-{gateway}"]),
            most_s=random.choice([0.01, 0.1, 0.4]),
            lost=random.choice([0.0, 0.1]),
            seconds=seconds,
            seed=number,
        ),
        lambda: ClockJumps(f"gateway-{gateway}", random.choice([0.05, 1.0, 20.0])),
        lambda: RegistryFails(seconds),
        lambda: RegistrySlows(seconds, random.choice([0.02, 0.3, 1.2])),
        lambda: RegistryForgets(),
        lambda: GatewayDies(gateway, seconds),
    ]
    if config.control_planes:
        standing = random.choice([Standing.CORDONED, Standing.LEAVING])
        kinds += [
            lambda: ControlPlaneDies(random.randrange(config.control_planes), seconds),
            lambda: OperatorStands(replica, standing, seconds),
            lambda: OperatorMoves(number, replica, other),
        ]
    return random.choice(kinds)()
