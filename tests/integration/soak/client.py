"""Who asked for something, and holds the members to it: every token once, and the right ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from protos.messages import Delta, FinishReason, Request, RequestId
from tests.integration.soak.member import Member

Answer = tuple[tuple[int, ...], ...]  # the output of each choice


@dataclass(frozen=True, slots=True)
class Place:
    """Where a choice is, and under which name."""

    member: Member
    request_id: RequestId


@dataclass(slots=True)
class Client:
    """A request that was taken, the places of its choices that are not over, and what they said."""

    request: Request
    expected: Answer | None  # what it says when it is alone; None: nobody has asked before
    places: dict[int, Place]
    said: dict[int, list[int]] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        return not self.places

    def hear(self, place: Place, delta: Delta) -> None:
        """Take what a member says of one choice."""
        label, params = f"{self.request.request_id}/{delta.choice}", self.request.sampling
        assert self.places.get(delta.choice) == place, f"{label} is spoken for by another"
        said = self.said.setdefault(delta.choice, [])
        assert delta.first_index == len(said), f"{label}: a token was lost or repeated"
        said.extend(token.token for token in delta.tokens)
        assert len(said) <= params.tokens_max, f"{label} goes on for too long"
        if delta.finish is None:
            return
        del self.places[delta.choice]
        if delta.finish is FinishReason.STOP:
            assert said[-1] in params.stop_token_ids, f"{label} stopped for no reason"
        else:
            assert len(said) == params.tokens_max, f"{label} ended after {len(said)} tokens"
        if self.expected is not None:
            assert tuple(said) == self.expected[delta.choice], f"{label} said something else"
