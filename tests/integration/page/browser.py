"""A headless Chromium where there is one."""

from __future__ import annotations

import os
import shutil

from tests.judges import absent

NAMES = ("chromium", "chromium-browser", "google-chrome")
VARIABLE = "BLOCKYARD_CHROMIUM"
# A container has no sandbox to give, and little shared memory.
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage")


def chromium() -> str:
    """Where it is; the test that asks ends where it is not."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        absent("chromium", f"one of {', '.join(NAMES)}, or one that {VARIABLE} names")
    return found
