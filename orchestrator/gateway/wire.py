"""What gateways say to replicas. The other way go StepEvents."""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import Request, RequestId
from protos.moves import Claim


@dataclass(frozen=True, slots=True)
class Submit:
    request: Request


@dataclass(frozen=True, slots=True)
class Adopt:
    claim: Claim


@dataclass(frozen=True, slots=True)
class Cancel:
    request_id: RequestId
    choice: int  # one of those that were submitted or adopted together


GatewayMessage = Submit | Adopt | Cancel
