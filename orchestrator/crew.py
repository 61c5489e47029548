"""Independent pieces of work on all cores, their answers as they come.

Worlds share nothing, so each runs in a process of its own crew. Whoever stops
asking, by Ctrl-C or by closing the iteration, ends the workers at once: what
they were doing is of no use to anybody. A piece of work that raises, or a
worker that dies, ends the whole crew; so does the death of whoever asks, however
he dies.

Workers are started afresh, not forked: what they run must be importable, and
what goes there and back must be picklable.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def answers(
    work: Callable[[Item], Answer], items: Sequence[Item], *, workers: int
) -> Generator[tuple[Item, Answer], None, None]:
    """Each item with its answer, whichever is ready first. One worker is this process itself."""
    if min(workers, len(items)) <= 1:
        yield from ((item, work(item)) for item in items)
        return
    crew = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=get_context("spawn"), initializer=_leave_with_the_crew
    )
    try:
        futures = {crew.submit(work, item): item for item in items}
        for done in as_completed(futures):
            yield futures[done], done.result()
    except BaseException:
        for child in active_children():
            child.terminate()
        raise
    finally:
        crew.shutdown(cancel_futures=True)


def in_order(
    work: Callable[[Item], Answer], items: Iterable[Item], *, workers: int
) -> Generator[Answer, None, None]:
    """The answers in the order of the items, each as soon as all before it are there."""
    ready: dict[int, Answer] = {}
    numbered = list(enumerate(items))
    following = 0
    with closing(answers(partial(_numbered, work), numbered, workers=workers)) as coming:
        for (number, _), answer in coming:
            ready[number] = answer
            while following in ready:
                yield ready.pop(following)
                following += 1


def _numbered(work: Callable[[Item], Answer], item: tuple[int, Item]) -> Answer:
    return work(item[1])


def _leave_with_the_crew() -> None:
    """Ctrl-C reaches every process of a terminal: a worker then has nothing to say.

    A signal that only its parent was sent it learns from the parent's end.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = parent_process()
    assert parent is not None, "a worker was started by somebody"
    parent.join()
    os._exit(1)
