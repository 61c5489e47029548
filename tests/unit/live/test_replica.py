"""What a person chooses for a local cluster reaches whoever builds its replicas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import orchestrator.live.replica as live_replica
from orchestrator.live.local import Device, LocalCluster, LocalOptions
from orchestrator.live.replica import built, config_of
from protos.messages import ReplicaId

REGISTRY: Any = object()  # that nobody asks anything


async def told_by(options: LocalOptions, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """All that a replica of this cluster is built by, but for what watches it come."""
    told: dict[str, Any] = {}

    def build(_config: object, **arguments: Any) -> None:
        told.update(arguments)

    monkeypatch.setattr(live_replica, "build_replica", build)
    device: Device = "cuda" if options.device == "cuda" else "cpu"
    deployment = LocalCluster(options, print)._deployment(device)
    await built(config_of(ReplicaId("r"), deployment), deployment, REGISTRY)
    del told["watch"]
    return told


@pytest.mark.parametrize(
    ("option", "argument", "value"),
    [
        ("model", "model", "tiny"),
        ("blocks", "blocks_total", 7),
        ("block_size", "block_size", 8),
        ("host_gib", "host_gib", 0.5),
        ("device", "device", "cuda"),
        ("dtype", "dtype", "bfloat16"),
        ("guesses_max", "guesses_max", 3),
        ("deterministic", "deterministic", True),
    ],
)
async def test_a_replica_is_built_as_it_is_asked_for(
    option: str, argument: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = LocalOptions(redis_url="redis://127.0.0.1:1")
    by_default = await told_by(options, monkeypatch)
    asked = await told_by(replace(options, **{option: value}), monkeypatch)
    assert asked == by_default | {argument: value}
    assert asked != by_default, "it is so without being asked for"
