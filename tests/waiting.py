"""Wait for a condition instead of for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_for(
    condition: Callable[[], Value | None], *, within_s: float, what: str, every_s: float = 0.05
) -> Value:
    """The first truthy value of `condition`; AssertionError naming `what` when it never comes."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(every_s)
