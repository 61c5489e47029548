"""Log lines in both forms: what they say, and that no value can forge another line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from protos.logs import JsonLines, TextLines, fields

ABOUT = fields(request_id="mine-1", trace_id=None, tokens=3)


def record(message: str = "ended", extra: dict[str, Any] | None = None) -> logging.LogRecord:
    logger = logging.Logger("orchestrator.gateway")
    return logger.makeRecord(logger.name, logging.INFO, "f", 1, message, (), None, extra=extra)


def test_a_json_line_is_one_object_with_its_fields() -> None:
    line = json.loads(JsonLines().format(record(extra=ABOUT)))
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "info",
        "logger": "orchestrator.gateway",
        "message": "ended",
        "request_id": "mine-1",
        "tokens": 3,
    }


def test_a_text_line_ends_with_its_fields() -> None:
    line = TextLines().format(record(extra=ABOUT))
    assert line.endswith(" INFO orchestrator.gateway: ended request_id=mine-1 tokens=3")


def test_a_line_without_fields_is_a_line() -> None:
    assert json.loads(JsonLines().format(record()))["message"] == "ended"
    assert TextLines().format(record()).endswith(": ended")


@pytest.mark.parametrize("value", ["two words", 'a"quote', "a=b", "line\nforged", "\x1b[2J", ""])
def test_no_value_is_taken_for_two_or_for_a_line_of_its_own(value: str) -> None:
    text = TextLines().format(record(extra=fields(request_id=value)))
    assert len(text.splitlines()) == 1
    assert json.loads(text.partition("request_id=")[2]) == value
    line = JsonLines().format(record(extra=fields(request_id=value)))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["request_id"] == value


def test_a_traceback_stays_inside_its_json_line() -> None:
    bug = record()
    try:
        raise ValueError("no")
    except ValueError:
        bug.exc_info = sys.exc_info()
    line = JsonLines().format(bug)
    assert len(line.splitlines()) == 1
    assert "ValueError: no" in json.loads(line)["exception"]
