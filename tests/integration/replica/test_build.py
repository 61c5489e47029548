"""What a built replica is, and what building it does to the process."""

from __future__ import annotations

import subprocess
import sys

import torch

from protos.messages import ReplicaId, Request, RequestClass, RequestId, SamplingParams
from replicas.config import ReplicaConfig
from replicas.model.kv_cache import block_bytes
from replicas.model.tiny import CONFIG
from replicas.serving.build import build_replica
from tests.differential.kernels import native_library
from tests.unit.engine.driver import step

BUILD = """
import torch
from protos.messages import ReplicaId
from replicas.config import ReplicaConfig
from replicas.serving.build import build_replica

torch.set_num_threads(4)
build_replica(ReplicaConfig(ReplicaId("r")), model="tiny", device="cpu", blocks_total=8)
print(torch.get_num_threads())
"""


def test_a_replica_on_a_cpu_computes_in_one_thread() -> None:
    """In a process of its own, which begins with more: the setting is the process's."""
    command = [sys.executable, "-c", BUILD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "1\n"


def test_a_deterministic_replica_shares_with_its_own_kind_alone() -> None:
    """Its card names another revision, so no KV of other arithmetic comes to it."""
    native_library()
    cards = [
        build_replica(
            ReplicaConfig(ReplicaId("r")),
            model="tiny",
            device="cpu",
            blocks_total=8,
            deterministic=deterministic,
        )._card
        for deterministic in (True, True, False)
    ]
    assert cards[0] == cards[1]
    assert cards[0].scope() != cards[2].scope()


def test_a_built_replica_guesses_where_it_is_told_so() -> None:
    """By default it does not. A text that repeats itself is fed in more than single tokens."""
    for guesses_max, fed in ((0, 1), (5, 5)):
        replica = build_replica(
            ReplicaConfig(ReplicaId("r")),
            model="tiny",
            device="cpu",
            blocks_total=8,
            guesses_max=guesses_max,
        )
        asked = Request(RequestId("a"), (7,) * 8, SamplingParams(tokens_max=30))
        assert replica._engine.submit(asked) is None
        step(replica._engine)
        plan = replica._engine.schedule()
        assert plan is not None
        assert len(plan.rows[0].tokens) == fed


def test_a_built_replica_leaves_headroom_to_chats_while_one_is_here() -> None:
    """Of 40 blocks of 16 tokens, 2 are the headroom. Power: with none, all three run at once."""
    replica = build_replica(
        ReplicaConfig(ReplicaId("r")), model="tiny", device="cpu", blocks_total=40
    )
    engine = replica._engine

    def submit(name: str, first: int, tokens: int, request_class: RequestClass) -> None:
        prompt = tuple((first + index) % 250 for index in range(tokens))
        sampling = SamplingParams(tokens_max=4)
        asked = Request(RequestId(name), prompt, sampling, request_class=request_class)
        assert engine.submit(asked) is None

    submit("chat", 0, 16, RequestClass.INTERACTIVE)
    submit("agent", 20, 16, RequestClass.AGENT)
    step(engine)
    submit("large", 40, 530, RequestClass.AGENT)
    step(engine)
    waits = {report.request_id: report.is_waiting for report in engine.sequences()}
    assert waits == {"chat": False, "agent": False, "large": True}


def test_a_built_replica_pauses_in_as_much_host_memory_as_it_was_given() -> None:
    """A mebibyte, in blocks of the tiny model; what one takes was measured before it serves."""
    replica = build_replica(
        ReplicaConfig(ReplicaId("r")), model="tiny", device="cpu", blocks_total=8, host_gib=1 / 1024
    )
    bounds = replica._engine.config
    of_block = block_bytes(CONFIG, block_size=16, dtype=torch.float32)
    assert bounds.host_blocks == (1 << 20) // of_block > 0
    assert bounds.host_block_ns > 0
