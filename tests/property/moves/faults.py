"""What goes wrong: each is paid for from the budget of faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from protos.moves import DeclineReason
from replicas.shell.moves.effects import (
    Failed,
    MakeRoom,
)
from tests.property.moves.source import Source
from tests.property.moves.state import (
    ALIVE,
    FOLLOWING,
    Follows,
    Life,
    Place,
)
from tests.property.moves.target import Target

Event: TypeAlias = "tuple[str, Callable[[Faults], None]]"


class Faults(Source, Target):
    """A channel that loses, repeats, reorders and breaks; deaths, cut links, clients that leave."""

    def _faults(self) -> Iterator[Event]:
        for name, happens in self._possible_faults():
            yield name, partial(_pay, happens)

    def _possible_faults(self) -> Iterator[Event]:
        for index in range(len(self.to_target)):
            yield f"message {index} to the target is lost", partial(_lose_to_target, index)
            yield f"message {index} to the target comes twice", partial(_repeat_to_target, index)
            if index:
                yield f"message {index} to the target overtakes", partial(_hurry_to_target, index)
        for index in range(len(self.to_source)):
            yield f"message {index} to the source is lost", partial(_lose_to_source, index)
            yield f"message {index} to the source comes twice", partial(_repeat_to_source, index)
            if index:
                yield f"message {index} to the source overtakes", partial(_hurry_to_source, index)
        if not self.is_broken:
            yield "the channel breaks", Faults._break
        if self.follows in FOLLOWING:
            yield "the client leaves", Faults._client_leaves
        if self.source_up:
            yield "the source dies", Faults._source_dies
            if self.source_life in (Life.RUNNING, Life.FROZEN):
                yield "the source preempts it", Faults._source_preempts
            if self.is_source_linked:
                yield "the gateway's link to the source breaks", Faults._cut_source
        if self.target_up:
            yield "the target dies", Faults._target_dies
            if self.place is Place.RESERVED:
                yield "the target needs the room itself", Faults._target_needs_room
            if isinstance(self.target_asked, MakeRoom):
                yield "the target has no room", Faults._target_refuses
            if self.follows is Follows.TARGET:
                yield "the gateway's link to the target breaks", Faults._cut_target

    def _client_leaves(self) -> None:
        reachable = (Follows.CLAIMING, Follows.TARGET) if self.target_up else ()
        if self.follows in reachable or (self.follows is Follows.SOURCE and self.is_source_linked):
            self.cancel_at = self.follows
        self.follows = Follows.LEFT

    def _source_dies(self) -> None:
        self.source_up = False
        self.is_source_linked = False
        self._source_ends(Life.NONE)
        self.source_asked = None
        self.to_source = ()
        self.is_broken = True
        self.cancel_at = None if self.cancel_at is Follows.SOURCE else self.cancel_at

    def _source_preempts(self) -> None:
        self._source_ends(Life.PREEMPTED)

    def _cut_source(self) -> None:
        self.is_source_linked = False
        self.is_source_parked = self.source_life in ALIVE
        self.cancel_at = None if self.cancel_at is Follows.SOURCE else self.cancel_at

    def _target_dies(self) -> None:
        self.target_up = False
        self.target_life = Life.NONE
        self.target_asked = None
        self.is_target_parked = False
        self.to_target = ()
        self.is_broken = True
        if self.cancel_at is not Follows.SOURCE:
            self.cancel_at = None

    def _target_needs_room(self) -> None:
        self.place = Place.DROPPED

    def _target_refuses(self) -> None:
        self.target_asked = None
        self._target_takes(Failed(DeclineReason.REFUSED, "it is full"))

    def _cut_target(self) -> None:
        self.follows = Follows.NOBODY
        self.is_target_parked = self.target_life is Life.RUNNING


def _pay(happens: Callable[[Faults], None], world: Faults) -> None:
    world.faults -= 1
    happens(world)


def _lose_to_target(index: int, world: Faults) -> None:
    world.to_target = world.to_target[:index] + world.to_target[index + 1 :]


def _lose_to_source(index: int, world: Faults) -> None:
    world.to_source = world.to_source[:index] + world.to_source[index + 1 :]


def _repeat_to_target(index: int, world: Faults) -> None:
    world.to_target += (world.to_target[index],)


def _repeat_to_source(index: int, world: Faults) -> None:
    world.to_source += (world.to_source[index],)


def _hurry_to_target(index: int, world: Faults) -> None:
    message = world.to_target[index]
    _lose_to_target(index, world)
    world.to_target = (message, *world.to_target)


def _hurry_to_source(index: int, world: Faults) -> None:
    message = world.to_source[index]
    _lose_to_source(index, world)
    world.to_source = (message, *world.to_source)
