"""Whether there is something to draw with: matplotlib, which is optional."""

from __future__ import annotations

from importlib import import_module


class CannotPlot(Exception):
    """There is nothing to draw with; the message says what to install."""


def require_matplotlib() -> None:
    """Fail before the run, not after it. Raises CannotPlot."""
    try:
        import_module("matplotlib")
    except ImportError:
        raise CannotPlot("--plot needs matplotlib: pip install matplotlib") from None
