"""Where an operator knocks: a control plane's address, and how members speak to it."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from protos.transport import Transport


@dataclass(frozen=True, slots=True)
class ControlDoor:
    """Of any control plane: one that does not lead names the one that does."""

    address: str
    transport: Transport

    def at(self, address: str) -> ControlDoor:
        """Another one of the same cluster."""
        return ControlDoor(address, self.transport)

    def channel(self) -> grpc.Channel:
        """To be closed by who asked for it."""
        return self.transport.blocking_channel(self.address)
