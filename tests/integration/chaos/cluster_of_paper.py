"""A cluster that is only told of: a kubectl on the PATH that answers from paper and keeps a diary.

It is written in Python, since the point is what is asked of it, and changes
its mind where a test says so: `no` to a permission, a failing word, blocks
that are in use after a kill.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.live.chaos.pods import SERVE_CONFIG, STANDING

PROGRAM = """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
paper = json.loads((here / "paper.json").read_text())
words = sys.argv[3:]  # after --namespace NS
with (here / "diary").open("a") as diary:
    diary.write(json.dumps(words) + "\\n")
text = " ".join(words)
if paper["fails_at"] and paper["fails_at"] in text:
    sys.exit("Error from server (InternalError): the paper is wet")
if words[:2] == ["auth", "can-i"]:
    is_refused = bool(paper["refused"]) and paper["refused"] in text
    print("no" if is_refused else "yes")
    sys.exit(is_refused)
if words[:2] == ["patch", "rayservice"]:
    change = json.loads(words[-1])["spec"]["serveConfigV2"]
    paper["rayservices"]["items"][0]["spec"]["serveConfigV2"] = change
    (here / "paper.json").write_text(json.dumps(paper))
elif words[0] == "get":
    print(paper["names"] if words[1] == "networkpolicies" else json.dumps(paper[words[1]]))
elif "wget" in text:
    was_killed = "pkill -KILL" in (here / "diary").read_text()
    used = paper["leaks"] if was_killed else 0
    print(paper["metrics"].replace("USED", str(used)), end="")
elif words[-1].startswith("import"):
    print("10.0.0.31:8802")
"""
METRICS = """\
# TYPE blockyard_kv_cache_usage_perc gauge
blockyard_kv_cache_usage_perc{replica="a"} 0.0
# TYPE blockyard_kv_blocks gauge
blockyard_kv_blocks{replica="a",state="private"} USED.0
# TYPE blockyard_streams_resumed_total counter
blockyard_streams_resumed_total 3.0
"""


@dataclass(frozen=True, slots=True)
class Paper:
    """What the cluster says, and what it was asked."""

    folder: Path

    def asked(self) -> list[list[str]]:
        """Every call of kubectl, in order."""
        diary = self.folder / "diary"
        return [json.loads(line) for line in diary.read_text().splitlines()]

    def changes(self) -> list[list[str]]:
        """Those that are more than looking."""
        looking = {"get", "auth"}
        return [
            words
            for words in self.asked()
            if words[0] not in looking and not ("wget" in words[-1] or "print(" in words[-1])
        ]

    def say(self, **what: object) -> None:
        path = self.folder / "paper.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **what}))


def paper_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Paper:
    """The cluster of `STANDING`, first on the PATH."""
    (folder / "program.py").write_text(PROGRAM)
    script = folder / "kubectl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{folder}/program.py" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    pods = [
        {
            "metadata": {"name": pod.name, "labels": {"blockyard/role": pod.role}},
            "status": {"podIP": pod.ip, "conditions": [{"type": "Ready", "status": "True"}]},
        }
        for pod in STANDING.pods
    ]
    group = {"groupName": "replica", "maxReplicas": 8}
    service = {
        "metadata": {"name": "blockyard"},
        "spec": {
            "serveConfigV2": SERVE_CONFIG,
            "rayClusterConfig": {"workerGroupSpecs": [group]},
        },
    }
    paper = {
        "pods": {"items": pods},
        "rayservices": {"items": [service]},
        "names": "",
        "metrics": METRICS,
        "leaks": 0,
        "refused": "",
        "fails_at": "",
    }
    (folder / "paper.json").write_text(json.dumps(paper))
    return Paper(folder)
