"""The one error of scenario files."""

from __future__ import annotations


class BadScenario(ValueError):
    """The file is not a scenario; the message names the file, the key and what is wrong."""
