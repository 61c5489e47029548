"""Reads workloads from files.

*Traces*: `NAME.jsonl.xz` or `NAME.jsonl`, one request a line with arrival_ms,
input_tokens, output_tokens, block_size, hash_ids (null: no prefix is known)
and tag. `NAME.meta.json` beside it may name the tick to which arrivals were
rounded.

*Plain CSV* with the columns arrival_ms, input_tokens, output_tokens.
"""

from __future__ import annotations

import csv
import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.workload.tokens import BLOCK_SIZE_MIN
from orchestrator.workload.traffic import NS_PER_MS, Arrival, Traffic, in_order

BLOCK_SIZE_WITHOUT_IDS = 16


class BadTrace(ValueError):
    """The file is not a workload; the message says where and why."""


def load_file(path: Path) -> Traffic:
    """The workload in this file. Raises BadTrace."""
    try:
        return _load_csv(path) if path.suffix == ".csv" else _load_trace(path)
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadTrace(f"{path}: {error}") from error


def _load_csv(path: Path) -> Traffic:
    with path.open(newline="") as file:
        rows = enumerate(csv.DictReader(file))
        return Traffic(
            in_order(_arrival(path, number, row) for number, row in rows), BLOCK_SIZE_WITHOUT_IDS
        )


def _load_trace(path: Path) -> Traffic:
    rows = list(_rows(path))
    if not rows:
        raise BadTrace(f"{path}: no requests")
    arrivals = in_order(_arrival(path, number, row) for number, row in enumerate(rows))
    return Traffic(arrivals, _block_size(path, rows), _tick_ms(path))


def _block_size(path: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """The one size of all rows; without any hash id it means nothing, and may be absent."""
    sizes = {row.get("block_size") for row in rows}
    if sizes == {None} and not any(row.get("hash_ids") for row in rows):
        return BLOCK_SIZE_WITHOUT_IDS
    block_size = sizes.pop()
    if sizes or not isinstance(block_size, int) or block_size < BLOCK_SIZE_MIN:
        raise BadTrace(f"{path}: block_size must be one number of at least {BLOCK_SIZE_MIN}")
    return block_size


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BadTrace(f"{path}:{number}: {error}") from error
            if not isinstance(row, dict):
                raise BadTrace(f"{path}:{number}: not an object")
            yield row


def _arrival(path: Path, number: int, row: Mapping[str, Any]) -> Arrival:
    try:
        arrival = Arrival(
            number=number,
            arrival_ns=round(float(row["arrival_ms"]) * NS_PER_MS),
            input_tokens=int(row["input_tokens"]),
            output_tokens=int(row["output_tokens"]),
            block_ids=tuple(row.get("hash_ids") or ()),
            tag=row.get("tag") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadTrace(f"{path}: request {number}: {error!r}") from error
    if arrival.input_tokens < 1 or arrival.output_tokens < 1 or arrival.arrival_ns < 0:
        raise BadTrace(f"{path}: request {number}: a negative time or an empty side")
    return arrival


def _tick_ms(path: Path) -> int:
    meta = path.with_name(path.name.removesuffix(".xz").removesuffix(".jsonl") + ".meta.json")
    if not meta.exists():
        return 0
    try:
        return int(json.loads(meta.read_text()).get("tick_ms", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise BadTrace(f"{meta}: {error}") from error
