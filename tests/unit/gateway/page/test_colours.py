"""The page can be read by everybody: contrasts as WCAG has them, and hues that few confuse.

Colours are read from the style sheet, for light and for dark. What tells two
workloads apart besides is shape and dash; what tells blocks apart is that
each kind is lighter or darker than the next, and hollow or filled.
"""

from __future__ import annotations

import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.gateway.page.files import FOLDER

Colours = dict[str, str]
Vector = NDArray[np.float64]

VARIABLE = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")
WORKLOADS = ("interactive", "agent", "batch")
# How the three kinds of colour blindness see, at their full: Machado, Oliveira, Fernandes 2009.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "tritanopia": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]
    ),
}


def schemes() -> dict[str, Colours]:
    light, dark = (FOLDER / "page.css").read_text().split("@media (prefers-color-scheme: dark)")
    first = dict(VARIABLE.findall(light))
    return {"light": first, "dark": first | dict(VARIABLE.findall(dark.split("\n}\n")[0]))}


SCHEMES = schemes()
scheme = pytest.mark.parametrize("colours", SCHEMES.values(), ids=SCHEMES)


def linear(colour: str) -> Vector:
    """Light, not voltage."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(light: Vector) -> Vector:
    """Where distances are about as large as they look (OKLab)."""
    to_lms = np.array(
        [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    )
    to_lab = np.array(
        [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    )
    seen: Vector = to_lab @ np.cbrt(to_lms @ np.clip(light, 0, 1))
    return seen


@scheme
@pytest.mark.parametrize("text", ["ink", "soft", "accent", "good", "warn", "bad"])
@pytest.mark.parametrize("ground", ["card", "paper"])
def test_text_stands_out_from_its_ground(colours: Colours, text: str, ground: str) -> None:
    assert contrast(colours[text], colours[ground]) >= 4.5


@scheme
@pytest.mark.parametrize("workload", WORKLOADS)
def test_lines_stand_out_from_their_card(colours: Colours, workload: str) -> None:
    assert contrast(colours[workload], colours["card"]) >= 3


@scheme
@pytest.mark.parametrize("sight", SIGHTS)
def test_workloads_look_different_to_every_eye(colours: Colours, sight: str) -> None:
    seen = {name: lab(SIGHTS[sight] @ linear(colours[name])) for name in WORKLOADS}
    near = [
        pair
        for pair in combinations(WORKLOADS, 2)
        if np.linalg.norm(seen[pair[0]] - seen[pair[1]]) < 0.09
    ]
    assert near == []


@scheme
def test_blocks_in_use_stand_out_the_more_the_more_use_them(colours: Colours) -> None:
    kinds = ("cached", "private", "shared")
    contrasts = [contrast(colours[f"block-{kind}"], colours["card"]) for kind in kinds]
    steps = [later / earlier for earlier, later in pairwise(contrasts)]
    assert min(steps) >= 1.5
