"""A headless Chromium where there is one."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
VARIABLE = "BLOCKYARD_CHROMIUM"
# A container has no sandbox to give, and little shared memory.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")


def chromium() -> str:
    """Where it is; the test that asks is skipped where it is not."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no chromium: none of {', '.join(NAMES)} is installed, {VARIABLE} is not set")
    return found
