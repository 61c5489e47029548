"""The C++ kernels as functions of addresses and numbers: their signatures, nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import CDLL, c_float, c_int, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path

import torch

STORED = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
Function = Callable[..., None]

_PRODUCT = (*[c_void_p] * 4, *[c_int64] * 3)
_NORM = (c_void_p, c_void_p, c_float, c_void_p, c_int64, c_int64)
_GATE = (c_void_p, c_void_p, c_int64, c_int64)
_TURN = (c_void_p, c_int64, *[c_void_p] * 4, c_float, *[c_int64] * 4)
_ATTEND = (*[c_void_p] * 3, c_int64, *[c_void_p] * 8, *[c_int64] * 7, c_float)


@dataclass(frozen=True, slots=True)
class Library:
    """The functions of one build; those that read weights or KV, by the type of these."""

    name: str  # of the build
    lanes: int
    tile: int  # slots that attention takes at once
    product: Mapping[torch.dtype, Function]
    norm: Function
    gate: Function
    turn: Function
    attend: Mapping[torch.dtype, Function]


def open_library(path: Path) -> Library:
    """Load a build. An OSError means that it is none."""
    library = CDLL(str(path))

    def function(name: str, *arguments: type) -> Function:
        found = library[f"blockyard_{name}"]
        found.argtypes, found.restype = arguments, None
        return found

    def constant(name: str) -> int:
        found = library[f"blockyard_{name}"]
        found.restype = c_int
        return int(found())

    return Library(
        name=path.stem,
        lanes=constant("lanes"),
        tile=constant("tile"),
        product={t: function(f"product_{name}", *_PRODUCT) for t, name in STORED.items()},
        norm=function("norm", *_NORM),
        gate=function("gate", *_GATE),
        turn=function("turn", *_TURN),
        attend={t: function(f"attend_{name}", *_ATTEND) for t, name in STORED.items()},
    )
