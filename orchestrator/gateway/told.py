"""What the client of a request has been told: all that it takes to go on elsewhere.

Tokens are a function of the seed, the position and the tokens before, so a
choice whose replica is gone continues on any other one of the same model from
its prompt and what was delivered of it. Since the gateway has delivered it,
the gateway has it, and no replica keeps anything for another.
"""

from __future__ import annotations

from dataclasses import replace

from protos.messages import Delta, Request, RequestId


class Told:
    """Follows one request's deltas and remembers the tokens of each choice that goes on."""

    def __init__(self, request: Request) -> None:
        choices = range(request.first_choice, request.first_choice + request.choices)
        self._request = request
        self._outputs = {choice: list(request.output) for choice in choices}

    def add(self, delta: Delta) -> None:
        """The client is about to be told this."""
        if delta.finish is not None:
            self._outputs.pop(delta.choice, None)
        elif delta.choice in self._outputs:
            self._outputs[delta.choice].extend(sampled.token for sampled in delta.tokens)

    def rests(self) -> tuple[Request, ...]:
        """What is left to ask for: each unfinished choice by itself, from where it is."""
        return tuple(
            replace(
                self._request,
                request_id=self._name(choice),
                choices=1,
                output=tuple(output),
                first_choice=choice,
            )
            for choice, output in self._outputs.items()
        )

    def _name(self, choice: int) -> RequestId:
        """The request's own where one choice is all of it: a link runs an id only once."""
        request_id = self._request.request_id
        return request_id if self._request.choices == 1 else RequestId(f"{request_id}+{choice}")
