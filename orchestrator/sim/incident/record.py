"""The incident as one JSON object, which says itself what its fields mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from orchestrator.sim.incident.incident import Incident, agreement
from orchestrator.sim.incident.replay import Replay
from orchestrator.sim.loop import NS_PER_S

MEANING = {
    "where": "what computed the steps, and by which clock",
    "load": "requests a second of each kind, seconds of each phase, bounds of lengths in tokens",
    "pool": "the replica: blocks, the token budget of a step, and for how long an allocation"
    " in contiguous memory is tried again before it fails",
    "objectives": "what counts as good: seconds to the first token, mean seconds between tokens",
    "phase": "by arrival: warm-up, before (the spike), spike, after",
    "requests": "arrived in the phase",
    "admitted": "of these, ran to their end: nobody who began is ever dropped",
    "agents": "of these, agents; the others are chats",
    "agent_failures": "agents whose allocation failed, so that they never began",
    "chat_failures": "chats whose allocation failed",
    "ttft_s": "seconds from arrival to the first token, of the admitted: percentiles by nearest"
    " rank; who failed has none, so read it beside the failures",
    "ttft_s_chat": "of chats only",
    "ttft_s_agents": "of agents only",
    "tpot_s": "mean seconds between the tokens of an answer",
    "goodput": "requests a second that met both objectives",
    "free": "mean share of the memory that nobody holds; at a failure: slots",
    "internal_fragmentation": "mean share of the memory that is held and empty",
    "external_fragmentation": "mean share of what is free that lies outside the largest hole",
    "sequences": "mean number of sequences that hold memory",
    "failures": "every allocation that failed, in order of time",
    "at_s": "seconds from the beginning of the load",
    "asked": "slots that the allocation asked for, in one run",
    "free_share": "share of the memory that was free when it failed",
    "largest_hole": "slots of the longest run that could have been had",
    "enough_was_free": "whether as much was free as was asked, in pieces",
    "free_share_at_agent_failures": "percentiles of free_share over all failures of agents",
    "preemptions": "sequences that lost their blocks and were computed again",
    "steps": "forward passes",
    "ended_s": "when the last request ended",
    "findings": "the symptoms and the cure, each with the figures by which it was judged",
    "agreement": "answers compared between the last memory model and the others, token for token",
    "memory": "looks at the memory: slots free, slots written, and a map by address in cells"
    " (. free, c chat, A agent, # shared)",
}


def record(result: Incident) -> dict[str, object]:
    """All of it."""
    return {
        "meaning": MEANING,
        "seed": result.seed,
        "where": result.where,
        "load": asdict(result.case.load),
        "pool": asdict(result.case.pool),
        "objectives": asdict(result.case.objectives),
        "findings": [asdict(finding) for finding in result.findings],
        "agreement": asdict(agreement(result.replays)),
        "models": {model: asdict(figures) for model, figures in result.figures.items()},
        "memory": {replay.model: list(memory_rows(replay)) for replay in result.replays},
    }


def memory_rows(replay: Replay) -> Iterator[dict[str, object]]:
    """The looks at one model's memory, in order."""
    for look in replay.looks:
        yield {
            "at_s": look.now_ns / NS_PER_S,
            "free": look.memory.slots_free,
            "written": look.memory.slots_written,
            "largest_hole": look.memory.largest_hole,
            "cells": look.memory.cells,
        }
