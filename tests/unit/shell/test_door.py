"""When new work comes in: standing, warmth, and leaving for good."""

from __future__ import annotations

import asyncio

import pytest

from protos.messages import Standing
from replicas.shell.door import Door
from tests.unit.shell.counting import engine


class Told:
    """A door, and what everybody was told of it."""

    def __init__(self, *, is_warm: bool = True) -> None:
        self.engine = engine()
        self.work = asyncio.Event()
        self.tellings: list[tuple[Standing, bool]] = []
        self.door = Door(self.engine, self.work, self._tell, is_warm=is_warm)

    async def _tell(self) -> None:
        assert self.engine.draining is not self.door.is_open
        self.tellings.append((self.door.standing, self.door.is_open))


async def test_each_change_is_told_once() -> None:
    told = Told()
    orders = (Standing.OPEN, Standing.CORDONED, Standing.CORDONED, Standing.LEAVING, Standing.OPEN)
    for standing in orders:
        await told.door.stand(standing)
    assert told.tellings == [
        (Standing.CORDONED, False),
        (Standing.LEAVING, False),
        (Standing.OPEN, True),
    ]
    assert told.work.is_set()


async def test_a_cold_replica_is_open_by_its_standing_and_takes_nothing_yet() -> None:
    told = Told(is_warm=False)
    assert (told.door.standing, told.engine.draining) == (Standing.OPEN, True)
    await told.door.warmed()
    await told.door.warmed()
    assert told.tellings == [(Standing.OPEN, True)]


async def test_warmth_does_not_open_what_was_cordoned_meanwhile() -> None:
    told = Told(is_warm=False)
    await told.door.stand(Standing.CORDONED)
    await told.door.warmed()
    assert told.engine.draining
    await told.door.stand(Standing.OPEN)
    assert not told.engine.draining


@pytest.mark.parametrize("standing", Standing)
async def test_who_leaves_for_good_is_not_called_back(standing: Standing) -> None:
    told = Told()
    await told.door.stand(standing)
    await told.door.leave_for_good()
    for order in Standing:
        await told.door.stand(order)
        assert told.tellings[-1] == (Standing.LEAVING, False)
        assert told.engine.draining
