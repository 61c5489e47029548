"""Placements on record: one line of JSON for each, with all that decided it.

A recording is made by whoever chooses replicas, in any world: `watch` gives the
same choice, seen. It holds the frozen view, the subject, the hits and the
configuration that `route` was called with, and what came of it; no prompt and
no token. A first line names the format.

Each line is on its way to the file before the choice is acted upon, so a
process that dies loses no decision that it made. The file has a bound; what
comes after is not recorded, and the log says so once. A disk that is full ends
the recording, too, and no request.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.policy.route import Placement, Route, RouteConfig
from orchestrator.policy.view import ClusterView, Subject
from orchestrator.replay.plain import Damaged, decode, encode
from protos.messages import ReplicaId

log = logging.getLogger(__name__)

FORMAT = {"blockyard_placements": 1}
# About 100,000 placements among eight replicas.
BYTES_MAX = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Decision:
    """One call of `route`, and its result."""

    view: ClusterView
    subject: Subject
    hits: Mapping[ReplicaId, int]
    config: RouteConfig
    placement: Placement | None


class RecordingRefused(Exception):
    """The file cannot be written. The message says why."""


class Recording:
    """A file that is being written. An older one of its name is replaced."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        """Raises RecordingRefused."""
        self._path = path
        opening = _line_of(FORMAT)
        self._room = bytes_max - len(opening)
        self._is_open = True
        try:
            self._file = path.open("w", encoding="ascii", buffering=1)
        except OSError as error:
            raise RecordingRefused(f"cannot record in {path}: {error.strerror}") from error
        try:
            self._file.write(opening)
        except OSError as error:
            self.close()
            raise RecordingRefused(f"cannot record in {path}: {error.strerror}") from error

    def watch(self, choose: Route) -> Route:
        """The same choice of replica, on record."""

        def watched(
            view: ClusterView, subject: Subject, hits: Mapping[ReplicaId, int], config: RouteConfig
        ) -> Placement | None:
            placement = choose(view, subject, hits, config)
            if self._is_open:
                self._write(encode(Decision(view, subject, hits, config, placement)))
            return placement

        return watched

    def close(self) -> None:
        """Nothing more is recorded."""
        self._is_open = False
        with suppress(OSError):  # what could not be written still cannot
            self._file.close()

    def _write(self, plain: Any) -> None:
        """One line, or the end of the recording: there are no gaps inside."""
        line = _line_of(plain)
        self._room -= len(line)
        if self._room < 0:
            self._end("it is as long as it may be")
            return
        try:
            self._file.write(line)
        except OSError as error:
            self._end(str(error.strerror))

    def _end(self, why: str) -> None:
        self.close()
        log.warning("no more placements are recorded in %s: %s", self._path, why)


def _line_of(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":")) + "\n"


def read_recording(path: Path) -> Iterator[Decision]:
    """The decisions of a file, in order. Raises Damaged, naming the line, and OSError."""
    with path.open("rb") as file:
        if _parsed(file.readline(), 1) != FORMAT:
            raise Damaged("line 1: this is no recording of placements in a format known here")
        for number, line in enumerate(file, start=2):
            decision = decode(Decision, _parsed(line, number), f"line {number}: decision")
            assert isinstance(decision, Decision), "what was asked for"
            yield decision


def _parsed(line: bytes, number: int) -> Any:
    if not line.endswith(b"\n"):
        raise Damaged(f"line {number} is cut off" if line else f"line {number} is missing")
    try:
        return json.loads(line.decode("ascii"))
    except ValueError as error:
        raise Damaged(f"line {number} is not JSON: {error}") from error
