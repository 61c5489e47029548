"""What to send when: the incident's two kinds of traffic at any rate, or a trace.

*chat*: one system prompt that all share, a short question, a short answer.
*agent*: 50 to 4,000 tokens of their own, 800 to 1,500 generated. *mix*: five
chats to one agent; in its spikes the chat surges and the agents go on as they
were, which is how the incident began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from orchestrator.load.spikes import Spike, surged
from orchestrator.workload import synthetic
from orchestrator.workload.trace_file import load_file
from orchestrator.workload.traffic import NS_PER_S, Arrival, Traffic, merged
from protos.messages import RequestClass

CHAT, AGENT, MIX = "chat", "agent", "mix"
SYNTHETIC = (CHAT, AGENT, MIX)
CHAT_SHARE = 5 / 6  # of a mix
SECONDS = 60.0
AFTERMATH_S = 30.0  # that a load goes on after its last spike, unless it is told for how long


def synthesize(
    name: str, *, rate: float, seconds: float, spikes: Sequence[Spike], seed: int
) -> Traffic:
    """So many requests a second on average, outside of spikes."""
    makes = {CHAT: _chat, AGENT: _agents}
    shares = {CHAT: CHAT_SHARE, AGENT: 1 - CHAT_SHARE} if name == MIX else {name: 1.0}
    laid_s = seconds + sum(max(0.0, spike.extra_s) for spike in spikes)
    streams = []
    for kind, share in shares.items():
        random = Random(f"{seed}/{kind}")
        laid = makes[kind](random, laid_s, rate * share)
        surges = spikes if (name, kind) != (MIX, AGENT) else ()
        streams.append(_until(surged(laid, surges), seconds))
    return Traffic(merged(streams), synthetic.BLOCK_SIZE)


def replayed(
    path: Path, *, speed: float, seconds: float | None, spikes: Sequence[Spike], seed: int
) -> Traffic:
    """A trace, so many times as fast; its beginning where `seconds` are given. Raises BadTrace."""
    traffic = load_file(path).spread(seed).faster(speed)
    arrivals = surged(traffic.arrivals, spikes)
    kept = arrivals if seconds is None else _until(arrivals, seconds)
    return replace(traffic, arrivals=tuple(kept))


def _chat(random: Random, seconds: float, rate: float) -> Iterator[Arrival]:
    for arrival in synthetic.chat(random, start_s=0, seconds=seconds, rate=rate):
        yield replace(arrival, tag=CHAT)


def _agents(random: Random, seconds: float, rate: float) -> Iterator[Arrival]:
    for arrival in synthetic.agents(random, start_s=0, seconds=seconds, rate=rate):
        yield replace(arrival, tag=AGENT, request_class=RequestClass.AGENT)


def _until(arrivals: Iterator[Arrival], seconds: float) -> Iterator[Arrival]:
    """Those before then; arrivals are in order."""
    for arrival in arrivals:
        if arrival.arrival_ns >= seconds * NS_PER_S:
            return
        yield arrival
