"""One row of a workload file as an arrival, or a sentence about its field that is wrong.

Values come from strangers' files, so each is checked for its kind and its
bounds before it is used: a number that is not whole, not finite or absurd must
not become a simulation that never ends. It does not know which file it is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.workload.traffic import NS_PER_MS, PRIVATE_IDS, Arrival

TOKENS_MAX = 10_000_000
ARRIVAL_MS_MAX = 366 * 24 * 3600 * 1000


class BadRow(ValueError):
    """The row is no request; the message says which field is wrong, and how."""


def arrival_of(number: int, row: Mapping[str, Any], block_size: int) -> Arrival:
    """The request in this row. Raises BadRow."""
    input_tokens = _tokens(row, "input_tokens")
    return Arrival(
        number=number,
        arrival_ns=_arrival_ns(row),
        input_tokens=input_tokens,
        output_tokens=_tokens(row, "output_tokens"),
        block_ids=_block_ids(row, -(-input_tokens // block_size)),
        tag=_tag(row),
    )


def number_in(text: str | None) -> int | float | str | None:
    """What a field of a CSV file says: a number if it is one."""
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return text


def _present(row: Mapping[str, Any], field: str) -> Any:
    if row.get(field) is None:
        raise BadRow(f"{field} is missing")
    return row[field]


def _arrival_ns(row: Mapping[str, Any]) -> int:
    value = _present(row, "arrival_ms")
    if type(value) not in (int, float) or not 0 <= value <= ARRIVAL_MS_MAX:
        raise BadRow("arrival_ms must be a number from 0 to those of a year")
    return round(float(value) * NS_PER_MS)


def _tokens(row: Mapping[str, Any], field: str) -> int:
    value = _present(row, field)
    if type(value) is not int or not 1 <= value <= TOKENS_MAX:
        raise BadRow(f"{field} must be a whole number from 1 to {TOKENS_MAX:,}")
    return value


def _block_ids(row: Mapping[str, Any], count_max: int) -> tuple[int, ...]:
    ids = row.get("hash_ids")
    if ids is None:
        return ()
    if (
        not isinstance(ids, list)
        or not set(map(type, ids)) <= {int}
        or not 0 <= min(ids, default=0) <= max(ids, default=0) < PRIVATE_IDS
    ):
        raise BadRow(f"hash_ids must be a list of whole numbers from 0 to {PRIVATE_IDS - 1:,}")
    if len(ids) > count_max:
        raise BadRow(f"hash_ids names {len(ids)} blocks, and input_tokens fill {count_max}")
    return tuple(ids)


def _tag(row: Mapping[str, Any]) -> str:
    tag = row.get("tag")
    if tag is not None and not isinstance(tag, str):
        raise BadRow("tag must be a text")
    return tag or ""
