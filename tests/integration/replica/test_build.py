"""What building a replica does to the process it is built in."""

from __future__ import annotations

import subprocess
import sys

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
