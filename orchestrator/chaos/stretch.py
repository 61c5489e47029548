"""The same scenario in more or less time."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.chaos.faults import (
    Break,
    Delay,
    FailOver,
    Fault,
    Flush,
    Kill,
    Loss,
    Part,
    Pause,
    Restart,
    Scale,
    Skew,
    Slow,
    TimedFault,
)
from orchestrator.chaos.scenario import Load, Scenario, Spike, Storm


def lasting(scenario: Scenario, seconds: float) -> Scenario:
    """Requests arrive for so long; faults, drawn ones too, and spikes come and last accordingly."""
    scale = seconds / scenario.seconds
    return replace(
        scenario,
        seconds=seconds,
        loads=tuple(_load(load, scale) for load in scenario.loads),
        storm=None if scenario.storm is None else _storm(scenario.storm, scale),
        faults=tuple(
            TimedFault(timed.at_s * scale, _fault(timed.fault, scale)) for timed in scenario.faults
        ),
    )


def _load(load: Load, scale: float) -> Load:
    spikes = (
        Spike(spike.at_s * scale, spike.seconds * scale, spike.times) for spike in load.spikes
    )
    return replace(load, spikes=tuple(spikes), at_s=tuple(at_s * scale for at_s in load.at_s))


def _storm(storm: Storm, scale: float) -> Storm:
    return replace(storm, seconds=tuple(seconds * scale for seconds in storm.seconds))


def _fault(fault: Fault, scale: float) -> Fault:
    match fault:
        case Kill() | Pause() | Slow() | Delay() | Loss() | Part():
            return replace(fault, seconds=fault.seconds * scale)
        case Restart() | Flush() | FailOver() | Break() | Skew() | Scale():
            return fault  # a skew's seconds are how far a clock jumps
