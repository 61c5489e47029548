"""A scenario: a cluster, what is asked of it, and what goes wrong meanwhile.

Plain data, the same for the simulator, for processes on one machine and for a
cluster of Kubernetes. Times are seconds from the first request on. Members are
called `replica-N`, `gateway-N`, `control-N`, counted from 0, and `redis`;
`leader` is whichever control plane leads when the fault strikes, `node-N` is
replica N and gateway N. `clients` are no member and cannot be harmed, but the
ways between them and gateways can.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.chaos.faults import TimedFault


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the cluster is."""

    replicas: int = 2
    gateways: int = 2
    control_planes: int = 2
    blocks: int = 1200  # of 16 tokens, of each replica


@dataclass(frozen=True, slots=True)
class Spike:
    """So many times the rate, for a while."""

    at_s: float
    seconds: float
    times: float


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of work; arrivals are a Poisson process."""

    tag: str
    request_class: str  # interactive, agent or batch
    rate: float  # requests a second
    prefix_tokens: int  # that all of its requests begin with
    prompt_tokens: tuple[int, int]  # of its own after that: from, to
    output_tokens: tuple[int, int]
    spikes: tuple[Spike, ...] = ()
    leaves: float = 0.0  # share of clients that go away in the middle
    reads_per_s: float | None = None  # tokens that a client takes; None: all at once
    is_poison: bool = False  # replicas die of it
    variety: int = 8  # different requests that it is made of, the same for every seed
    at_s: tuple[float, ...] = ()  # one comes exactly then, besides those of the process


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a request must keep to count as goodput."""

    ttft_s: float = 2.0
    tpot_s: float = 0.1
    deadline_s: float = 60.0  # an answer or a reason by then


@dataclass(frozen=True, slots=True)
class Expectations:
    """What this scenario is for, beyond the rules that hold in each. None: nothing is expected."""

    recovery_s: float | None = None  # after each fault
    silence_s: float | None = None  # of any stream that was open while a fault was on
    refused_max: int | None = None  # requests, poison aside
    refused_classes: tuple[str, ...] | None = None  # of which requests may be refused
    ttft_p99_s: float | None = None  # of interactive requests that came while it was on
    tpot_times: float | None = None  # their median TPOT then, as a multiple of that before
    crowding_min: int | None = None  # preemptions and refusals: without any there was room for all


@dataclass(frozen=True, slots=True)
class Storm:
    """Faults of any kind, drawn by the seed (storm.py)."""

    faults: tuple[int, int]  # how many: from, to; between clients and gateways, one more at most
    seconds: tuple[float, ...]  # one of these is how long each lasts


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything but the seed."""

    name: str
    about: str  # one sentence: what happens, and what must not
    seconds: float  # in which requests arrive
    shape: Shape
    loads: tuple[Load, ...]
    faults: tuple[TimedFault, ...] = ()
    objectives: Objectives = Objectives()
    expect: Expectations = Expectations()
    storm: Storm | None = None  # what the seed draws, besides the faults above
    # Of silence, until a client goes on at the next gateway; in its second round it waits twice
    # as long, and so on. None: so long that only a broken connection sends it there.
    patience_s: float | None = None
