"""What a test does where the program it asks is not installed.

On somebody's machine the test is skipped, and says what would bring the
program. Where BLOCKYARD_JUDGES names it (words, as .ci/judges writes them) it
was promised: there its absence is a failure, or nobody would notice that a
judge has gone.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

PROMISED = "BLOCKYARD_JUDGES"


def absent(name: str, hint: str) -> NoReturn:
    """Ends the calling test: skipped, or failed where the judge was promised."""
    sentence = f"{name} is not installed: {hint}"
    if name in os.environ.get(PROMISED, "").split():
        pytest.fail(f"{sentence} ({PROMISED} promises it)")
    pytest.skip(sentence)
