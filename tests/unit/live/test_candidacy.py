"""Who leads and for how long, to the millisecond: two candidates on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from orchestrator.live.candidacy import Candidacy
from orchestrator.registry.config import RegistryConfig
from orchestrator.registry.memory import MemoryRegistry
from orchestrator.sim.loop import VirtualTimeLoop
from protos.registry import Leader, RegistryUnavailable

LEASE_S = 3.0
RENEW_S = 1.0


class Directory:
    """One candidate's way to the registry, which may be broken or slow."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self._registry = registry
        self.is_down = False
        self.answer_s = 0.0

    async def lead(self, candidate: str, address: str) -> int | None:
        self._need()
        term = await self._registry.lead(candidate, address)
        await asyncio.sleep(self.answer_s)
        return term

    async def resign(self, candidate: str) -> None:
        self._need()
        await self._registry.resign(candidate)

    async def leader(self) -> Leader | None:
        self._need()
        return await self._registry.leader()

    async def keep_policy(self, term: int, knobs: Mapping[str, str]) -> bool:
        self._need()
        return await self._registry.keep_policy(term, knobs)

    async def policy(self) -> Mapping[str, str]:
        self._need()
        return await self._registry.policy()

    def _need(self) -> None:
        if self.is_down:
            raise RegistryUnavailable("it is down")


@dataclass
class Contender:
    """A candidacy, and what it was told and when."""

    directory: Directory
    candidacy: Candidacy
    told: list[tuple[float, int | str | None]]
    task: asyncio.Task[None]  # to be cancelled: it dies without a word to the registry


def contender(registry: MemoryRegistry, address: str, *, answer_s: float = 0.0) -> Contender:
    """Starts to contend now."""
    loop = asyncio.get_running_loop()
    directory = Directory(registry)
    directory.answer_s = answer_s
    told: list[tuple[float, int | str | None]] = []
    candidacy = Candidacy(
        directory,
        address,
        lease_s=LEASE_S,
        renew_s=RENEW_S,
        on_lead=lambda term, _knobs: told.append((loop.time(), term)),
        on_follow=lambda leader: told.append((loop.time(), leader)),
    )
    return Contender(directory, candidacy, told, asyncio.create_task(candidacy.run()))


def in_virtual_time(scene: Callable[[MemoryRegistry], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        config = RegistryConfig(lease_ms=round(LEASE_S * 1000))
        runner.run(scene(MemoryRegistry(lambda: loop.now_ns, config)))


def test_the_first_leads_and_the_second_follows_it() -> None:
    async def scene(registry: MemoryRegistry) -> None:
        one, two = contender(registry, "one"), contender(registry, "two")
        await asyncio.sleep(60)
        assert one.told == [(0, 1)]
        assert two.told == [(0, "one")]

    in_virtual_time(scene)


def test_a_standby_takes_over_within_a_lease_and_a_renewal() -> None:
    async def scene(registry: MemoryRegistry) -> None:
        one, two = contender(registry, "one"), contender(registry, "two")
        await asyncio.sleep(10.5)
        one.task.cancel()
        await asyncio.sleep(60)
        (_, (taken_s, term)) = two.told
        assert term == 2
        assert 10.5 < taken_s <= 10.5 + LEASE_S + RENEW_S

    in_virtual_time(scene)


def test_a_leader_that_resigns_is_followed_at_the_next_question() -> None:
    async def scene(registry: MemoryRegistry) -> None:
        one, two = contender(registry, "one"), contender(registry, "two")
        await asyncio.sleep(10.5)
        one.task.cancel()
        await one.candidacy.resign()
        assert one.told == [(0, 1), (10.5, None)]
        await asyncio.sleep(RENEW_S)
        assert two.told == [(0, "one"), (11, 2)]

    in_virtual_time(scene)


def test_a_leader_without_a_registry_ends_its_lead_with_its_lease() -> None:
    """Power: without the fence it leads for ever beside the next one."""

    async def scene(registry: MemoryRegistry) -> None:
        one = contender(registry, "one")
        await asyncio.sleep(10.5)
        one.directory.is_down = True
        await asyncio.sleep(60)
        assert one.told == [(0, 1), (13, None)]
        one.directory.is_down = False
        await asyncio.sleep(RENEW_S)
        assert one.candidacy.leads
        assert one.told[2][1] == 2, "somebody else may have led in between"

    in_virtual_time(scene)


def test_a_short_absence_of_the_registry_changes_nothing() -> None:
    async def scene(registry: MemoryRegistry) -> None:
        one = contender(registry, "one")
        await asyncio.sleep(10.5)
        one.directory.is_down = True
        await asyncio.sleep(1)
        one.directory.is_down = False
        await asyncio.sleep(60)
        assert one.told == [(0, 1)]

    in_virtual_time(scene)


def test_the_lead_is_over_while_a_question_is_still_on_its_way() -> None:
    """Power: a fence that is looked at only between questions ends it later."""

    async def scene(registry: MemoryRegistry) -> None:
        one = contender(registry, "one")
        await asyncio.sleep(10.5)
        one.directory.answer_s = 30.0
        await asyncio.sleep(60)
        assert one.told[1] == (13, None)

    in_virtual_time(scene)


def test_an_answer_that_took_a_whole_lease_makes_no_leader() -> None:
    """Power: counting the lease from the answer would make one whose lease is long over."""

    async def scene(registry: MemoryRegistry) -> None:
        one = contender(registry, "one", answer_s=LEASE_S)
        await asyncio.sleep(LEASE_S + 0.5)
        assert not one.told
        assert await registry.leader() is None
        one.directory.answer_s = 0.5
        await asyncio.sleep(60)
        assert one.candidacy.leads
        assert await registry.leader() == Leader("one", term=2)

    in_virtual_time(scene)


def test_two_never_lead_at_the_same_time_whatever_the_registry_does() -> None:
    """Power: without the fence, or with a lease counted from the answer, two do."""

    async def scene(registry: MemoryRegistry) -> None:
        loop = asyncio.get_running_loop()
        contenders = [contender(registry, name) for name in ("one", "two", "three")]
        for step in range(400):
            for number, one in enumerate(contenders):
                one.directory.is_down = (step + 5 * number) % 17 in (3, 4, 5, 6, 7)
                one.directory.answer_s = (0.0, 0.2, 1.4, 3.5)[(step // 7 + number) % 4]
            await asyncio.sleep(0.9)
            assert sum(one.candidacy.leads for one in contenders) <= 1, f"at {loop.time()} s"
        terms = sorted(
            (at, what) for one in contenders for at, what in one.told if isinstance(what, int)
        )
        assert len(terms) > 3, "the lead went round"
        assert [term for _, term in terms] == sorted(term for _, term in terms)

    in_virtual_time(scene)


def test_resigning_without_a_registry_ends_the_lead_here() -> None:
    async def scene(registry: MemoryRegistry) -> None:
        one = contender(registry, "one")
        await asyncio.sleep(RENEW_S)
        one.directory.is_down = True
        one.task.cancel()
        await one.candidacy.resign()
        assert not one.candidacy.leads

    in_virtual_time(scene)


async def test_a_candidacy_ends_even_where_its_cancellation_is_taken_for_a_timeout() -> None:
    class Swallowing(Directory):
        async def lead(self, candidate: str, address: str) -> int | None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise RegistryUnavailable("no answer in time") from None
            return None

    registry = MemoryRegistry(lambda: 0, RegistryConfig())
    candidacy = Candidacy(
        Swallowing(registry), "a:1", lease_s=1, renew_s=0.01, on_lead=print, on_follow=print
    )
    task = asyncio.create_task(candidacy.run())
    await asyncio.sleep(0)
    task.cancel()
    _, unfinished = await asyncio.wait([task], timeout=10)
    assert not unfinished
