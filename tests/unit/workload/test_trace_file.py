"""Workload files are read as they are meant, or refused with the place of the fault."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from orchestrator.workload.trace_file import BadTrace, load_file

ROW: dict[str, Any] = {
    "arrival_ms": 1500,
    "input_tokens": 40,
    "output_tokens": 7,
    "block_size": 16,
    "hash_ids": [4, 5, 6],
    "session_id": None,
    "turn": None,
    "tag": "A",
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    with lzma.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def test_a_compressed_trace_is_read_with_its_tick(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl.xz", ROW, ROW | {"arrival_ms": 0, "hash_ids": None})
    (tmp_path / "t.meta.json").write_text('{"tick_ms": 3000}')
    traffic = load_file(path)
    assert (traffic.block_size, traffic.tick_ms) == (16, 3000)
    early, late = traffic.arrivals
    assert (early.number, early.arrival_ns, early.block_ids) == (1, 0, ())
    assert (late.number, late.arrival_ns, late.block_ids) == (0, 1_500_000_000, (4, 5, 6))
    assert (late.input_tokens, late.output_tokens, late.tag) == (40, 7, "A")


def test_a_plain_trace_needs_no_meta_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    assert load_file(path).tick_ms == 0


def test_a_trace_without_prefixes_needs_no_block_size(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl.xz", ROW | {"block_size": None, "hash_ids": None})
    assert load_file(path).arrivals[0].block_ids == ()


def test_a_csv_has_lengths_and_no_prefixes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_ms,input_tokens,output_tokens\n0,10,1\n2.5,20,3\n")
    first, second = load_file(path).arrivals
    assert (first.input_tokens, first.output_tokens, first.block_ids) == (10, 1, ())
    assert second.arrival_ns == 2_500_000


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no requests"),
        ([ROW, ROW | {"block_size": 32}], "block_size must be one number"),
        ([ROW | {"block_size": 1}], "block_size must be one number"),
        ([ROW | {"block_size": None}], "block_size must be one number"),
        ([{k: v for k, v in ROW.items() if k != "output_tokens"}], "request 0: .*output_tokens"),
        ([ROW, ROW | {"input_tokens": 0}], "request 1: input_tokens must be a whole number"),
        ([ROW | {"input_tokens": 3.7}], "input_tokens must be a whole number"),
        ([ROW | {"output_tokens": "7"}], "output_tokens must be a whole number"),
        ([ROW | {"output_tokens": 10_000_001}], "output_tokens must be .* to 10,000,000"),
        ([ROW | {"arrival_ms": None}], "request 0: arrival_ms is missing"),
        ([ROW | {"arrival_ms": float("inf")}], "arrival_ms must be a number from 0"),
        ([ROW | {"arrival_ms": float("nan")}], "arrival_ms must be a number from 0"),
        ([ROW | {"arrival_ms": -1}], "arrival_ms must be a number from 0"),
        ([ROW | {"hash_ids": ["a"]}], "hash_ids must be a list of whole numbers"),
        ([ROW | {"hash_ids": [1 << 40]}], "hash_ids must be a list of whole numbers"),
        ([ROW | {"hash_ids": [1, 2, 3, 4]}], "hash_ids names 4 blocks, and input_tokens fill 3"),
        ([ROW | {"block_size": [16]}], "block_size must be one number"),
        ([ROW | {"tag": 1}], "tag must be a text"),
    ],
)
def test_a_bad_trace_is_refused(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    path = write(tmp_path / "bad.jsonl.xz", *rows)
    with pytest.raises(BadTrace, match=message):
        load_file(path)


def test_a_csv_may_begin_as_spreadsheets_begin_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arrival_ms,input_tokens,output_tokens\n0,5,6\n", encoding="utf-8-sig")
    assert len(load_file(path).arrivals) == 1


@pytest.mark.parametrize("name", ["no-such-file.jsonl.xz", "no-such-file.csv"])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadTrace, match="no-such-file"):
        load_file(tmp_path / name)


def test_a_file_that_is_not_compressed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.xz"
    path.write_text(json.dumps(ROW))
    with pytest.raises(BadTrace, match=r"t\.jsonl\.xz"):
        load_file(path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROW) + "\n{\n")
    with pytest.raises(BadTrace, match=r"t\.jsonl:2"):
        load_file(path)


def test_a_trace_that_was_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.jsonl.xz", ROW)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadTrace, match=r"cut\.jsonl\.xz"):
        load_file(path)


def test_an_arrival_that_no_float_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(ROW).replace("1500", "1e400") + "\n")
    with pytest.raises(BadTrace, match="request 0: arrival_ms must be a number"):
        load_file(path)


@pytest.mark.parametrize("meta", ["[]", '{"tick_ms": 1e400}', '{"tick_ms": -1}'])
def test_a_tick_that_is_none_is_refused(tmp_path: Path, meta: str) -> None:
    (tmp_path / "t.meta.json").write_text(meta)
    with pytest.raises(BadTrace, match=r"t\.meta\.json"):
        load_file(write(tmp_path / "t.jsonl.xz", ROW))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not name the columns arrival_ms, input_tokens, output_tokens"),
        ("arrival,input_tokens,output_tokens\n0,1,1\n", "does not name the columns arrival_ms"),
        ("arrival_ms,input_tokens,output_tokens\n", "no requests"),
        ("arrival_ms,input_tokens,output_tokens\n0,1\n", "request 0: output_tokens is missing"),
        ("arrival_ms,input_tokens,output_tokens\n0,3.7,1\n", "input_tokens must be a whole"),
        ("arrival_ms,input_tokens,output_tokens\n0,ten,1\n", "input_tokens must be a whole"),
        ("arrival_ms,input_tokens,output_tokens\nnan,1,1\n", "arrival_ms must be a number"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BadTrace, match=rf"bad\.csv: .*{message}"):
        load_file(path)
