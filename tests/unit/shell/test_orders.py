"""Whose orders count: those for this epoch, of the latest leader heard of."""

from __future__ import annotations

import asyncio

from protos.messages import ReplicaId, SequenceId, Standing
from protos.moves import MoveId, MoveOrder, MoveReport, Peer
from replicas.shell.door import Door
from replicas.shell.orders import Orders, WarmOrder
from replicas.shell.warmup import Warmup
from tests.unit.shell.counting import engine
from tests.unit.shell.eventually import WITHIN_S, eventually

MOVE = MoveOrder(MoveId("m"), SequenceId("1:a/0"), None, deadline_ms=1000)
EPOCH = 3
LONG_MS = 600_000


def peer(name: str) -> Peer:
    return Peer(ReplicaId(name), f"{name}:1", 1)


class Ordered:
    """A replica that only notes what it is ordered."""

    def __init__(self, *, warm_ms: int = LONG_MS) -> None:
        self.moves: list[MoveOrder] = []
        self.asked: list[ReplicaId] = []
        self.standings: list[Standing] = []
        self.answering = {ReplicaId("warm")}
        self.door = Door(engine(), asyncio.Event(), self._tell, is_warm=False)
        self.warmup = Warmup(self.door, self._pull, warm_ms=warm_ms)
        self.orders = Orders(self.door, self, self.warmup, epoch=lambda: EPOCH)

    def order(self, order: MoveOrder) -> None:
        self.moves.append(order)

    @property
    def ended_count(self) -> int:
        return 0

    def reports(self, since: int) -> tuple[MoveReport, ...]:
        return ()

    async def _tell(self) -> None:
        self.standings.append(self.door.standing)

    async def _pull(self, peer: Peer) -> bool:
        self.asked.append(peer.replica_id)
        if peer.replica_id == "silent":
            await asyncio.Event().wait()
        return peer.replica_id in self.answering

    async def warmed(self) -> bool:
        await asyncio.wait_for(self.warmup.run(), WITHIN_S)
        return self.door.is_open


async def test_an_earlier_leader_is_not_obeyed_once_a_later_one_was_heard() -> None:
    ordered = Ordered()
    await ordered.orders.obey(MOVE, epoch=EPOCH, term=2)
    await ordered.orders.obey(MOVE, epoch=EPOCH, term=1)
    await ordered.orders.obey(Standing.LEAVING, epoch=EPOCH, term=1)
    await ordered.orders.obey(Standing.CORDONED, epoch=EPOCH, term=2)
    assert ordered.moves == [MOVE]
    assert ordered.standings == [Standing.CORDONED]


async def test_an_order_for_another_epoch_neither_counts_nor_makes_its_leader_heard() -> None:
    ordered = Ordered()
    await ordered.orders.obey(MOVE, epoch=EPOCH + 1, term=9)
    assert not ordered.moves
    await ordered.orders.obey(MOVE, epoch=EPOCH, term=1)
    assert ordered.moves == [MOVE]


async def test_a_replica_is_warmed_by_the_first_peer_that_answers() -> None:
    ordered = Ordered()
    order = WarmOrder((peer("cold"), peer("warm"), peer("other")))
    warming = asyncio.create_task(ordered.warmup.run())
    await asyncio.sleep(0)
    assert not ordered.door.is_open
    await ordered.orders.obey(order, epoch=EPOCH, term=1)
    ordered.orders.nobody_leads()  # any more, but it was told whom to ask
    await asyncio.wait_for(warming, WITHIN_S)
    assert ordered.asked == ["cold", "warm"]
    assert ordered.door.is_open


async def test_with_nobody_to_ask_it_opens_cold() -> None:
    ordered = Ordered()
    await ordered.orders.obey(WarmOrder(()), epoch=EPOCH, term=1)
    assert await ordered.warmed()


async def test_where_nobody_leads_it_does_not_wait() -> None:
    ordered = Ordered()
    ordered.orders.nobody_leads()
    assert await ordered.warmed()
    assert not ordered.asked


async def test_a_peer_that_hangs_does_not_keep_it_closed_for_ever() -> None:
    ordered = Ordered(warm_ms=20)
    await ordered.orders.obey(WarmOrder((peer("silent"), peer("warm"))), epoch=EPOCH, term=1)
    warming = asyncio.create_task(ordered.warmup.run())
    await eventually(lambda: ordered.door.is_open, "it opens")
    assert ordered.asked == ["silent"]
    await warming
