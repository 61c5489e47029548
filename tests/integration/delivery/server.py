"""A server of a model's files that can fail in every way a download must survive.

Plain HTTP with ranges (or without), and as much of the S3 protocol as reading needs: the
same paths, a listing that is empty, a signature that must be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread

PIECE = 16 << 10
HELD_S = 60.0
NOTHING_LISTED = b'<?xml version="1.0"?><ListBucketResult></ListBucketResult>'


@dataclass
class Fault:
    """What happens to the next `times` GETs of a file, from the byte `at` of it on."""

    name: str
    times: int = 1
    status: int | None = None  # instead of an answer
    cut_at: int | None = None  # the connection breaks before this byte
    hold_at: int | None = None  # before this byte nothing comes until `release` is set
    release: Event = field(default_factory=Event)
    struck: Event = field(default_factory=Event)


@dataclass
class Asked:
    method: str
    name: str
    start: int
    end: int | None


class ModelServer(ThreadingHTTPServer):
    """Files by name below /models/llama; whatever comes before that is a bucket or a folder."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.knows_ranges = True
        self.needs_signature = False
        self.status_of_all: int | None = None
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self._lock = Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/models/llama"

    def note(self, asked: Asked) -> Fault | None:
        with self._lock:
            self.asked.append(asked)
            for fault in self.faults:
                if asked.method == "GET" and fault.name == asked.name and fault.times:
                    fault.times -= 1
                    return fault
        return None

    def gets(self, name: str) -> list[Asked]:
        return [each for each in self.asked if (each.method, each.name) == ("GET", name)]

    def write_sums(self) -> None:
        lines = [f"{sha256(data).hexdigest()}  {name}\n" for name, data in self.files.items()]
        self.files["SHA256SUMS"] = "".join(lines).encode()


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[ModelServer]:
    server = ModelServer(files)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        for fault in server.faults:
            fault.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at `asked`."""

    def _answer(self, method: str) -> None:
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        data = self.server.files.get(name) if path.startswith("/models/llama/") else None
        start, end = self._range()
        fault = self.server.note(Asked(method, name, start, end))
        if self.server.status_of_all is not None:
            self._say(self.server.status_of_all, b"")
        elif self.server.needs_signature and "Signature=" not in self._authorization():
            self._say(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "list-type=2" in query:
            self._say(200, NOTHING_LISTED)
        elif fault is not None and fault.status is not None:
            self._say(fault.status, b"", fault)
        elif data is None:
            self._say(404, b"")
        elif end is not None and self.server.knows_ranges:
            self._send(206, data, start, min(end, len(data)), fault)
        else:
            self._send(200, data, 0, len(data), fault)

    def _authorization(self) -> str:
        return self.headers.get("Authorization", "")

    def _range(self) -> tuple[int, int | None]:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else (0, None)

    def _say(self, status: int, body: bytes, fault: Fault | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if fault is not None:
            fault.struck.set()

    def _send(self, status: int, data: bytes, start: int, end: int, fault: Fault | None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{sha256(data).hexdigest()[:16]}"')
        self.send_header("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for at in range(start, end, PIECE):
                last = min(at + PIECE, end)
                if fault is not None and not self._survives(fault, at, last, data):
                    return
                self.wfile.write(data[at:last])
        except OSError:
            self.close_connection = True  # the client has enough, or is dead

    def _survives(self, fault: Fault, at: int, last: int, data: bytes) -> bool:
        if fault.hold_at is not None and last > fault.hold_at:
            self.wfile.flush()
            fault.struck.set()
            fault.release.wait(HELD_S)
        if fault.cut_at is not None and last > fault.cut_at:
            self.wfile.write(data[at : max(at, fault.cut_at)])
            self.wfile.flush()
            fault.struck.set()
            self.close_connection = True
            return False
        return True
