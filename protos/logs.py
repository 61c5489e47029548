"""Log lines of every process in one form: for people, or as JSON, one object a line.

A line has its time, level, logger and message, and the fields that its caller
adds with `extra=fields(...)`: what concerns a request carries its `request_id`
there, and its `trace_id` where it is traced, so that lines of all processes and
spans can be joined. What is None is left out. Prompts and completions are never
fields.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_FIELDS = "fields"  # the attribute of a LogRecord


def fields(**values: object) -> dict[str, Any]:
    """For the `extra` of a log call."""
    return {_FIELDS: {name: value for name, value in values.items() if value is not None}}


def log_to_stderr(level: str, log_format: LogFormat) -> None:
    """From now on, from every logger of this process, at this level and above.

    As with logging.basicConfig, a process that has handlers already keeps them.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class TextLines(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE name=value ...`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return " ".join([line, *(f"{name}={_word(value)}" for name, value in _of(record).items())])


class JsonLines(logging.Formatter):
    """One object a line; a traceback is the value of `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _of(record: logging.LogRecord) -> Mapping[str, object]:
    found = getattr(record, _FIELDS, None)
    return found if isinstance(found, Mapping) else {}


def _word(value: object) -> str:
    """A value that can be told from the next one, and that cannot begin a line of its own."""
    word = str(value)
    is_plain = word.isprintable() and not set(word) & set(' "=')
    return word if is_plain and word else json.dumps(word)
