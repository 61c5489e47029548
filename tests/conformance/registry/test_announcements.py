"""What one gateway announces the others hear: whole, in order, and never a second time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from protos.messages import ReplicaId
from protos.registry import Announcement, Announcer
from tests.conformance.registry.world import World, chain
from tests.integration.control.until import until

PLACED = Announcement(
    ReplicaId("réplica a"),
    epoch=1_700_000_000_123,
    prefill_tokens=640,
    blocks=44,
    sequences=2,
    is_interactive=True,
    settle_ms=1200,
    hashes=chain("prompt", 40),
)


@dataclass
class Gateway:
    """One gateway's ear."""

    announcer: Announcer
    heard: list[Announcement] = field(default_factory=list)

    def told(self) -> list[Announcement]:
        """All but what was said to find out who listens."""
        return [each for each in self.heard if each.prefill_tokens]


async def introduce(*gateways: Gateway) -> None:
    """Until each of them hears each other one. What goes before that may be lost."""
    for speaker, gateway in enumerate(gateways):
        hello = replace(PLACED, prefill_tokens=0, sequences=speaker)

        def is_heard(gateway: Gateway = gateway, hello: Announcement = hello) -> bool:
            gateway.announcer.announce(hello)
            return all(hello in each.heard for each in gateways if each is not gateway)

        await until(is_heard, "the others hear")


@pytest.fixture
async def gateways(world: World) -> list[Gateway]:
    """Three that hear each other."""
    made = [listening(world) for _ in range(3)]
    await introduce(*made)
    return made


def listening(world: World) -> Gateway:
    gateway = Gateway(world.announcer())
    gateway.announcer.listen(gateway.heard.append)
    return gateway


async def test_every_other_gateway_hears_a_placement_and_its_own_does_not(
    gateways: list[Gateway],
) -> None:
    """Power: hearing one's own fails here; it would be charged twice."""
    one, two, three = gateways
    one.announcer.announce(PLACED)
    await until(lambda: two.told() and three.told(), "both hear")
    assert two.told() == three.told() == [PLACED]
    assert one.told() == []


async def test_a_burst_is_heard_in_order_and_once(gateways: list[Gateway]) -> None:
    one, two, _ = gateways
    burst = [replace(PLACED, prefill_tokens=number) for number in range(1, 101)]
    for announcement in burst:
        one.announcer.announce(announcement)
    await until(lambda: len(two.told()) >= 100, "all are heard")
    two.announcer.announce(PLACED)
    await until(lambda: one.told(), "an answer after them")
    assert two.told() == burst


async def test_of_a_prompt_of_any_length_the_beginning_is_told(gateways: list[Gateway]) -> None:
    one, two, _ = gateways
    for length in (0, 1, 5000):
        one.announcer.announce(replace(PLACED, hashes=chain("long", length)))
    await until(lambda: len(two.told()) == 3, "all three are heard")
    nothing, one_block, long = (each.hashes for each in two.told())
    assert (nothing, one_block) == ((), chain("long", 1))
    assert len(long) >= 40 and long == chain("long", 5000)[: len(long)]


async def test_a_gateway_that_starts_late_hears_from_then_on(
    world: World, gateways: list[Gateway]
) -> None:
    one, two, three = gateways
    one.announcer.announce(PLACED)
    await until(lambda: two.told(), "the early ones hear")
    late = listening(world)
    await introduce(one, two, three, late)
    assert late.told() == []
    one.announcer.announce(PLACED)
    await until(lambda: late.told() == [PLACED], "the late one hears, too")


async def test_who_has_closed_hears_nothing_and_harms_nobody(gateways: list[Gateway]) -> None:
    one, two, three = gateways
    await two.announcer.close()
    one.announcer.announce(PLACED)
    await until(lambda: three.told() == [PLACED], "the other one hears")
    assert two.told() == []


async def test_announcing_to_nobody_is_nothing(world: World) -> None:
    alone = listening(world)
    for _ in range(1000):
        alone.announcer.announce(PLACED)
    await asyncio.sleep(0)
    assert alone.told() == []
