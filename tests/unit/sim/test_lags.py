"""By how much packets are late that are lost and sent again."""

from __future__ import annotations

import asyncio
from random import Random

from orchestrator.sim.chaos.lags import RESENT_S, RESENT_S_MAX, Lags
from orchestrator.sim.loop import VirtualTimeLoop
from orchestrator.sim.network import Network

SECONDS = 5.0
ENDS_S = 10.0  # the loss begins at half of it
FLOAT = 1e-6


def lags(*, share: float, sent_s: float, packets: int) -> list[float]:
    """Of packets that are sent at this moment of a loss from the 5th to the 10th second."""

    async def measure() -> list[float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(ENDS_S - SECONDS)
        lag_s = Lags(Network(0.0), Random(0)).resent(share, SECONDS)
        await asyncio.sleep(sent_s - loop.time())
        return [lag_s() for _ in range(packets)]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(measure())


def test_the_wait_doubles_with_each_loss() -> None:
    seen = lags(share=0.4, sent_s=5.0, packets=1000)
    never, once, twice = sorted({round(lag / RESENT_S) for lag in seen})[:3]
    assert (never, once, twice) == (0, 1, 3)
    assert 350 < sum(lag > 0 for lag in seen) < 450


def test_what_is_sent_again_after_the_loss_gets_through() -> None:
    """However many were lost before: a way that is whole again delivers."""
    for sent_s in (5.0, 7.5, 9.9):
        late = max(lags(share=0.99, sent_s=sent_s, packets=1000))
        assert ENDS_S - sent_s <= late <= ENDS_S - sent_s + RESENT_S_MAX + FLOAT


def test_what_is_sent_after_the_loss_is_on_time() -> None:
    assert lags(share=1.0, sent_s=ENDS_S, packets=10) == [0.0] * 10
