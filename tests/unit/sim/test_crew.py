"""Work on several processes: every answer once, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import active_children

import psutil
import pytest

from orchestrator.crew import answers, in_order

WAIT_S_MAX = 60.0


def square(number: int) -> int:
    return number * number


def whose(_: int) -> int:
    return os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def linger(number: int) -> int:
    time.sleep(number * WAIT_S_MAX * 10)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_has_its_answer_once(workers: int) -> None:
    assert sorted(answers(square, range(6), workers=workers)) == [(n, n * n) for n in range(6)]


def slow_when_small(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0.0)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_come_in_the_order_of_their_items(workers: int) -> None:
    assert list(in_order(slow_when_small, range(8), workers=workers)) == list(range(8))


def test_one_worker_is_this_process() -> None:
    assert {pid for _, pid in answers(whose, range(3), workers=1)} == {os.getpid()}
    assert os.getpid() not in {pid for _, pid in answers(whose, range(3), workers=2)}


def test_work_that_raises_ends_the_crew() -> None:
    with pytest.raises(ValueError, match="three"):
        list(answers(refuse_three, range(6), workers=2))
    assert not active_children()


def test_who_asks_no_more_waits_for_nobody() -> None:
    with closing(answers(linger, [0, 1, 1], workers=2)) as ready:
        assert next(ready) == (0, 0)
    assert not active_children()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=["interrupted", "terminated", "killed"],
)
def test_the_end_of_a_swarm_is_the_end_of_its_workers(how: signal.Signals, code: int) -> None:
    swarm = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "swarm", "--seeds", "100000", "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        workers = eventually_two_workers(psutil.Process(swarm.pid))
        swarm.send_signal(how)
        assert swarm.wait(timeout=WAIT_S_MAX) == code
    finally:
        swarm.kill()
        swarm.wait()
    _, alive = psutil.wait_procs(workers, timeout=WAIT_S_MAX)
    assert not alive


def eventually_two_workers(parent: psutil.Process) -> list[psutil.Process]:
    """Those that work, not whoever tracks what they share."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        children = [child for child in parent.children() if "spawn_main" in str(child.cmdline())]
        if len(children) == 2 and all(child.cpu_times().user > 0.5 for child in children):
            return children
        time.sleep(0.05)
    raise AssertionError("no workers")
