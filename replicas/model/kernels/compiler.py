"""Build the C++ kernels on first use, for this very CPU, and keep them.

What is built is named by everything that could change it: source, compiler,
flags, the CPU's features. So a cache that is shared between machines, or
survives an upgrade, holds several builds and never the wrong one. A build
appears under its name by one rename, complete or not at all; processes that
come at once build the same thing and the last one wins.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from hashlib import blake2b
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC")
BUILD_TIMEOUT_S = 120


class NotBuilt(Exception):
    """There are no native kernels here; the message says why."""


def built_library(cache: Path | None = None) -> Path:
    """The shared library, built if it is not there. `cache` is the user's by default."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise NotBuilt("no C++ compiler was found (c++, or what CXX names)")
    path = (cache or _user_cache()) / f"cpu-{_name(compiler)}.so"
    if not path.is_file():
        try:
            _build(compiler, path)
        except OSError as error:
            raise NotBuilt(f"the build could not be kept: {error}") from error
    return path


def _user_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "blockyard" / "kernels"


def _name(compiler: str) -> str:
    digest = blake2b(SOURCE.read_bytes(), digest_size=12)
    for part in (*FLAGS, compiler, _run([compiler, "--version"]), _cpu_features()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _cpu_features() -> str:
    """What -march=native may depend on."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return f"{platform.machine()} {platform.processor()}"
    telling = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU part")
    first = info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if line.startswith(telling))


def _build(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        _run([compiler, *FLAGS, "-o", str(draft), str(SOURCE)])
        draft.replace(path)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{command[0]} took longer than {BUILD_TIMEOUT_S} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[0]
        raise NotBuilt(f"{command[0]} failed with status {done.returncode} and said: {said}")
    return done.stdout
