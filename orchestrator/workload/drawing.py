"""What all drawings need: matplotlib, which is optional, and axes that can be read."""

from __future__ import annotations

from importlib import import_module
from math import isinf
from typing import Any


class CannotPlot(Exception):
    """There is nothing to draw with; the message says what to install."""


def require_matplotlib() -> None:
    """Fail before the run, not after it. Raises CannotPlot."""
    try:
        import_module("matplotlib")
    except ImportError:
        raise CannotPlot("--plot needs matplotlib: pip install matplotlib") from None


def make_logarithmic(axis: Any) -> None:
    """Of a plot: plain numbers at 1, 2 and 5 times the powers of ten, however short it is.

    Where nothing was drawn that is above zero, it stays as it is.
    """
    if isinf(axis.get_minpos()):
        return
    ticker = import_module("matplotlib.ticker")
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
