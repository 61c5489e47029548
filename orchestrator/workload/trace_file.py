"""Reads workloads from files.

*Traces*: `NAME.jsonl.xz` or `NAME.jsonl`, one request a line with arrival_ms,
input_tokens, output_tokens, block_size, hash_ids (null: no prefix is known)
and tag. The ids are those of leading blocks: there may be fewer than the
prompt has blocks, but not more. `NAME.meta.json` beside it may name the tick to which arrivals were
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

from orchestrator.workload.tokens import BLOCK_SIZE_MIN, VOCAB_SIZE
from orchestrator.workload.trace_row import BadRow, arrival_of, number_in
from orchestrator.workload.traffic import Traffic, in_order

BLOCK_SIZE_WITHOUT_IDS = 16
CSV_COLUMNS = ("arrival_ms", "input_tokens", "output_tokens")
TICK_MS_MAX = 24 * 3600 * 1000


class BadTrace(ValueError):
    """The file is not a workload; the message says where and why."""


def load_file(path: Path) -> Traffic:
    """The workload in this file. Raises BadTrace."""
    try:
        return _load_csv(path) if path.suffix == ".csv" else _load_trace(path)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
        raise BadTrace(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _load_csv(path: Path) -> Traffic:
    with path.open(newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it
        reader = csv.DictReader(file)
        absent = [name for name in CSV_COLUMNS if name not in (reader.fieldnames or ())]
        if absent:
            raise BadTrace(f"{path}: its first line does not name the columns {', '.join(absent)}")
        rows = [{name: number_in(row[name]) for name in CSV_COLUMNS} for row in reader]
    return _traffic(path, rows, BLOCK_SIZE_WITHOUT_IDS)


def _load_trace(path: Path) -> Traffic:
    rows = list(_rows(path))
    return _traffic(path, rows, _block_size(path, rows), _tick_ms(path))


def _traffic(
    path: Path, rows: Sequence[Mapping[str, Any]], block_size: int, tick_ms: int = 0
) -> Traffic:
    if not rows:
        raise BadTrace(f"{path}: no requests")
    arrivals = []
    for number, row in enumerate(rows):
        try:
            arrivals.append(arrival_of(number, row, block_size))
        except BadRow as error:
            raise BadTrace(f"{path}: request {number}: {error}") from error
    return Traffic(in_order(arrivals), block_size, tick_ms)


def _block_size(path: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """The one size of all rows; without any hash id it means nothing, and may be absent."""
    sizes = [row.get("block_size") for row in rows]
    if not any(
        size is not None or row.get("hash_ids") for size, row in zip(sizes, rows, strict=True)
    ):
        return BLOCK_SIZE_WITHOUT_IDS
    size = sizes[0]
    for number, other in enumerate(sizes):
        if type(other) is not int or other != size or not BLOCK_SIZE_MIN <= other <= VOCAB_SIZE:
            raise BadTrace(
                f"{path}: request {number}: block_size must be one number for all requests,"
                f" from {BLOCK_SIZE_MIN} to {VOCAB_SIZE}"
            )
    assert isinstance(size, int)
    return size


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadTrace(f"{path}:{number}: {error}") from error
            if not isinstance(row, dict):
                raise BadTrace(f"{path}:{number}: not an object")
            yield row


def _tick_ms(path: Path) -> int:
    meta = path.with_name(path.name.removesuffix(".xz").removesuffix(".jsonl") + ".meta.json")
    if not meta.exists():
        return 0
    try:
        tick_ms = json.loads(meta.read_text()).get("tick_ms", 0)
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadTrace(f"{meta}: not a JSON object") from error
    if type(tick_ms) is not int or not 0 <= tick_ms <= TICK_MS_MAX:
        raise BadTrace(f"{meta}: tick_ms must be a whole number from 0 to {TICK_MS_MAX:,}")
    return tick_ms
