"""The gateway of a move: whom it follows, and what it has been told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.property.moves.state import (
    Follows,
    Life,
    State,
)


class Gateway(State):
    """Follows exactly one."""

    def _gateway_events(self) -> Iterator[tuple[str, Callable[[Gateway], None]]]:
        match self.follows:
            case Follows.SOURCE:
                if self.delivered < self.told or self.is_handoff_told or self._is_end_told():
                    yield "gateway reads the source", Gateway._gateway_reads_source
                if not self.is_source_linked:
                    yield "gateway loses the source", Gateway._gateway_resumes_elsewhere
            case Follows.TARGET:
                if self.target_up and self.delivered < self.target_said:
                    yield "gateway reads the target", Gateway._gateway_reads_target
                elif self.target_up and self.target_life is Life.FINISHED:
                    yield "gateway reads the end", Gateway._gateway_has_all
                elif not self.target_up or self.target_life is Life.CANCELLED:
                    yield "gateway loses the target", Gateway._gateway_resumes_elsewhere
            case Follows.CLAIMING:
                if not self.target_up:
                    yield "gateway finds no target", Gateway._gateway_resumes_elsewhere
            case Follows.NOBODY:
                yield "another replica says the rest", Gateway._gateway_is_told_the_rest

    def _is_end_told(self) -> bool:
        return self.source_life is Life.FINISHED and self.told == self.said

    def _gateway_reads_source(self) -> None:
        if self.delivered < self.told:
            self.delivered = self.told
        elif self.is_handoff_told:
            self.follows = Follows.CLAIMING
        else:
            self._gateway_has_all()

    def _gateway_reads_target(self) -> None:
        self.delivered = self.target_said

    def _gateway_has_all(self) -> None:
        self.follows = Follows.WHOLE

    def _gateway_resumes_elsewhere(self) -> None:
        self.follows = Follows.NOBODY

    def _gateway_is_told_the_rest(self) -> None:
        self.delivered = self.tokens_max
        self.follows = Follows.WHOLE
