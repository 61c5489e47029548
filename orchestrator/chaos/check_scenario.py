"""What a scenario must be beyond its types: sizes that make sense, members that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

from orchestrator.chaos.bad_scenario import BadScenario
from orchestrator.chaos.faults import (
    CLIENTS,
    Break,
    Delay,
    Fault,
    Loss,
    Part,
    Restart,
    Scale,
    Skew,
)
from orchestrator.chaos.scenario import Load, Scenario, Shape, Spike

CLASSES = ("interactive", "agent", "batch")
REDIS, LEADER = "redis", "leader"
# Beyond these nobody means what is written; and each would take hours or all memory to play.
MOST = {
    "seconds": 86_400,
    "at_s": 86_400,
    "patience_s": 86_400,
    "delay_s": 3_600,
    "rate": 10_000,
    "times": 1_000_000,
    "reads_per_s": 1_000_000,
    "prefix_tokens": 1_000_000,
    "prompt_tokens": 1_000_000,
    "output_tokens": 1_000_000,
    "variety": 100_000,
    "replicas": 64,
    "gateways": 64,
    "control_planes": 64,
    "blocks": 10_000_000,
}
REQUESTS_MAX = 100_000  # that may be due in all
MEMBER = re.compile(r"(replica|gateway|control|node)-(\d+)")


def check(scenario: Scenario, label: str) -> None:
    """Raises BadScenario with the first thing that is wrong."""
    for complaint in complaints(scenario):
        raise BadScenario(f"{label}: {complaint}")


def complaints(scenario: Scenario) -> Iterator[str]:
    """All that is wrong, key first."""
    shape = scenario.shape
    for field in fields(shape):
        if getattr(shape, field.name) < (field.name != "control_planes"):
            yield f"shape: {field.name}: too small"
    yield from (f"shape: {complaint}" for complaint in _too_much(shape))
    yield from _too_much(scenario)
    if scenario.seconds <= 0:
        yield "seconds: must be positive"
    if scenario.patience_s is not None and scenario.patience_s <= 0:
        yield "patience_s: must be positive"
    if not scenario.loads:
        yield "loads: at least one is needed"
    for number, load in enumerate(scenario.loads):
        for complaint in _of_load(load):
            yield f"loads[{number}]: {complaint}"
    if (
        requests := sum(_requests(load, scenario.seconds) for load in scenario.loads)
    ) > REQUESTS_MAX:
        yield f"loads: about {requests:,.0f} requests would be due, at most {REQUESTS_MAX:,}"
    for number, timed in enumerate(scenario.faults):
        if timed.at_s < 0:
            yield f"faults[{number}]: at_s: must not be negative"
        if timed.at_s >= scenario.seconds:
            yield f"faults[{number}]: at_s: nobody asks any more after {scenario.seconds:g} s"
        for complaint in _of_fault(timed.fault, _sizes(scenario)):
            yield f"faults[{number}]: {complaint}"
    for name in scenario.expect.refused_classes or ():
        if name not in CLASSES:
            yield f"expect: refused_classes: {name!r} is none of {', '.join(CLASSES)}"


def _too_much(part: Shape | Scenario | Load | Spike | Fault) -> Iterator[str]:
    """Of each number of it that is beyond all sense."""
    for field in fields(part):
        value, most = getattr(part, field.name), MOST.get(field.name)
        numbers = value if isinstance(value, tuple) else (value or 0,)
        if most is not None and max(numbers, default=0) > most:
            yield f"{field.name}: at most {most:,}"


def _requests(load: Load, seconds: float) -> float:
    """How many will be due, about."""
    spikes = sum(spike.times * spike.seconds for spike in load.spikes)
    return load.rate * (seconds + spikes) + len(load.at_s)


def _of_load(load: Load) -> Iterator[str]:
    yield from _too_much(load)
    if load.request_class not in CLASSES:
        yield f"request_class: {load.request_class!r} is none of {', '.join(CLASSES)}"
    if load.rate < 0 or min(load.at_s, default=0.0) < 0:
        yield "rate, at_s: must not be negative"
    if load.prefix_tokens < 0:
        yield "prefix_tokens: must not be negative"
    for name, (least, most) in (("prompt", load.prompt_tokens), ("output", load.output_tokens)):
        if not 1 <= least <= most:
            yield f"{name}_tokens: must be [from, to] with 1 <= from <= to"
    if not 0 <= load.leaves <= 1:
        yield "leaves: must be a share from 0 to 1"
    if load.reads_per_s is not None and load.reads_per_s <= 0:
        yield "reads_per_s: must be positive"
    if load.variety < 1:
        yield "variety: must be at least 1"
    for number, spike in enumerate(load.spikes):
        yield from (f"spikes[{number}]: {complaint}" for complaint in _too_much(spike))
        if spike.at_s < 0 or spike.seconds <= 0 or spike.times < 1:
            yield f"spikes[{number}]: at_s >= 0, seconds > 0 and times >= 1 are needed"


def _of_fault(fault: Fault, sizes: dict[str, int]) -> Iterator[str]:
    yield from _too_much(fault)
    for field in fields(fault):
        value = getattr(fault, field.name)
        match field.name:
            case "who" | "one" | "other":
                for name in (value,) if isinstance(value, str) else value:
                    if name != CLIENTS or field.name == "who":
                        yield from _of_member(name, field.name, sizes)
                    yield from _of_redis(name, fault)
            case "seconds" | "delay_s" if value < 0 and not isinstance(fault, Skew):
                yield f"{field.name}: must not be negative"
            case "times" | "replicas" if value < 1:
                yield f"{field.name}: must be at least 1"
            case "share" if not 0 <= value < 1:
                yield "share: must be from 0 to less than 1"
    yield from _of_pair(fault)


def _of_redis(name: str, fault: Fault) -> Iterator[str]:
    """What it has no way to suffer, in any world."""
    match fault:
        case Restart() if name == REDIS:
            yield "who: redis has no orderly restart; kill it, or let it fail over"
        case Skew() if name == REDIS:
            yield "who: the clock of redis cannot be moved"
        case _:
            pass


def _of_pair(fault: Fault) -> Iterator[str]:
    """Between a member and itself there is no way on which anything could be wrong."""
    match fault:
        case Delay(one, other) | Loss(one, other) | Part(one, other) | Break(one, other):
            if members(one) & members(other):
                yield f"other: {other!r} has no way to itself, and is {one!r} or a part of it"
            pair = {one, other}
            if CLIENTS in pair and not any(name.startswith("gateway-") for name in pair):
                yield f"one, other: {CLIENTS} have ways to gateways alone"
        case _:
            pass


def members(name: str) -> set[str]:
    """Who is meant: of a node its replica and its gateway."""
    kind, _, number = name.partition("-")
    return {f"replica-{number}", f"gateway-{number}"} if kind == "node" else {name}


def _of_member(name: str, key: str, sizes: dict[str, int]) -> Iterator[str]:
    if name == REDIS or (name == LEADER and sizes["control"]):
        return
    if name == LEADER:
        yield f"{key}: without control planes there is no leader"
        return
    matched = MEMBER.fullmatch(name)
    if matched is None:
        yield f"{key}: {name!r} is not redis, leader, or replica-, gateway-, control- or node-N"
    elif int(matched[2]) >= sizes[matched[1]]:
        yield f"{key}: there is no {name}; they are counted from 0"


def _sizes(scenario: Scenario) -> dict[str, int]:
    """How many of each kind there are, at most, at any time."""
    shape = scenario.shape
    scaled = [t.fault.replicas for t in scenario.faults if isinstance(t.fault, Scale)]
    replicas = max(shape.replicas, *scaled) if scaled else shape.replicas
    return {
        "replica": replicas,
        "gateway": shape.gateways,
        "control": shape.control_planes,
        "node": min(replicas, shape.gateways),
    }
