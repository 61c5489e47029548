"""The beginning of every real trace at hand, on a small cluster, with all checkers.

Traces are not part of the repository: BLOCKYARD_TRACES names their folder.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.sim.checkers import Checkers
from orchestrator.sim.report import report
from orchestrator.sim.world import WorldConfig, simulate
from orchestrator.workload.trace_file import load_file
from orchestrator.workload.traffic import Traffic

FOLDER = os.environ.get("BLOCKYARD_TRACES")
FILES = sorted(Path(FOLDER).glob("*.jsonl.xz")) if FOLDER else []
REQUESTS = 40


def beginning(path: Path) -> Traffic:
    traffic = load_file(path)
    first = traffic.arrivals[:REQUESTS]
    short = tuple(replace(a, output_tokens=min(a.output_tokens, 50)) for a in first)
    return replace(traffic, arrivals=short)


@pytest.mark.skipif(not FILES, reason="BLOCKYARD_TRACES names no folder with traces")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_beginning_of_a_trace_is_served(path: Path) -> None:
    traffic = beginning(path)
    config = WorldConfig(
        replicas=4, blocks=4_000_000 // traffic.block_size, block_size=traffic.block_size
    )
    ours, ceiling = (
        report(
            simulate(replace(config, policy=policy), traffic, Checkers(every_steps=500)), wall_s=1
        )
        for policy in ("blockyard", "ceiling")
    )
    assert ours.completed == ceiling.completed == len(traffic.arrivals)
    assert ours.hit_blocks_ratio <= ceiling.hit_blocks_ratio
