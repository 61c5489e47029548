"""Visit every state of a world once, breadth first, and say how a bad one is reached."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound="World")


class Violation(AssertionError):
    """A promise was broken; the message is the promise, then the way there."""


class World(Protocol):
    """A state, and what can happen next."""

    def key(self) -> Hashable:
        """Equal for states from which the same can happen."""
        ...

    def events(self: State) -> Iterator[tuple[str, Callable[[State], None]]]:
        """Every single thing that can happen, by name. It is done to a copy of this state."""
        ...

    def copy(self: State) -> State:
        """A state of its own, equal to this one."""
        ...

    def check(self) -> None:
        """Assert what must hold always."""
        ...

    def check_end(self) -> None:
        """Assert what must hold where nothing can happen any more."""
        ...


@dataclass(frozen=True, slots=True)
class Explored:
    """How much there was to see."""

    states: int
    transitions: int
    ends: int


@contextmanager
def uncollected() -> Iterator[None]:
    """No state has a cycle: to look for one among all of them takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@uncollected()
def explore(start: Callable[[], State]) -> Explored:
    """All states from `start` on. Raises Violation with the shortest way to a bad one."""
    first = start()
    came_from: dict[Hashable, tuple[Hashable, str] | None] = {first.key(): None}
    queue: deque[State] = deque([first])
    transitions = ends = 0
    while queue:
        state = queue.popleft()
        key, name = state.key(), "the end"
        before = transitions
        try:
            for name, happen in state.events():
                transitions += 1
                after = state.copy()
                happen(after)
                after.check()
                reached = after.key()
                if reached not in came_from:
                    came_from[reached] = (key, name)
                    queue.append(after)
            if transitions == before:
                ends += 1
                state.check_end()
        except AssertionError as broken:
            way = " > ".join([*_way(came_from, key), name])
            raise Violation(f"{broken}\nafter: {way}") from broken
    return Explored(len(came_from), transitions, ends)


def _way(came_from: dict[Hashable, tuple[Hashable, str] | None], key: Hashable) -> list[str]:
    names = []
    step = came_from[key]
    while step is not None:
        key, name = step
        names.append(name)
        step = came_from[key]
    return names[::-1]
