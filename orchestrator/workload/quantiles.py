"""What many measurements amount to: percentiles by nearest rank, and a mean."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

Figures = dict[str, float | int]


def spread_of(ordered: Sequence[float], percents: Sequence[int], *, mean: bool) -> Figures:
    """Percentiles of a sorted sequence, and the mean where it is asked for. Empty for nothing."""
    if not ordered:
        return {}
    figures: Figures = {f"p{percent}": percentile(ordered, percent) for percent in percents}
    if mean:
        figures["mean"] = sum(ordered) / len(ordered)
    return figures


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that is not exceeded by at least so many percent."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]
