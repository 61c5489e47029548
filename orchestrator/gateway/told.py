"""What the client of a request has been told: all that it takes to go on elsewhere.

Tokens are a function of the seed, the position and the tokens before, so a
choice whose replica is gone continues on any other one of the same model from
its prompt and what was delivered of it. Since the gateway has delivered it,
the gateway has it, and no replica keeps anything for another. The same count
is what a gateway claims a moved choice with.
"""

from __future__ import annotations

from dataclasses import replace

from protos.messages import Delta, Request


class Told:
    """Follows one request's deltas and remembers the tokens of each choice that goes on."""

    def __init__(self, request: Request) -> None:
        assert not request.output, "what a client asks has no output yet"
        self.request = request  # as its client made it
        self._outputs: dict[int, list[int]] = {choice: [] for choice in choices_of(request)}

    def add(self, delta: Delta) -> None:
        """The client is about to be told this."""
        if delta.finish is not None:
            self._outputs.pop(delta.choice, None)
        elif delta.choice in self._outputs:
            self._outputs[delta.choice].extend([sampled.token for sampled in delta.tokens])

    def next_index(self, choice: int) -> int:
        """How many tokens were told of a choice that goes on."""
        return len(self._outputs[choice])

    def rest(self, choice: int) -> Request:
        """What is left to ask for of a choice that goes on: itself, from where it is."""
        return replace(
            self.request, choices=1, output=tuple(self._outputs[choice]), first_choice=choice
        )


def choices_of(request: Request) -> range:
    """The numbers of its choices."""
    return range(request.first_choice, request.first_choice + request.choices)
