"""What a check has found, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How much it matters, worst last."""

    OK = "ok"
    NOTE = "note"  # as it should be for some, and worth knowing
    WARNING = "warning"  # depends on what is around: a proxy, a network policy
    UNSAFE = "unsafe"  # lets somebody in who should not be there, or will not start


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's. Never holds a secret."""

    check: str  # "keys", "doors", ...
    level: Level
    message: str  # how it is
    remedy: str = ""  # what to do, where something should be done


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def note(check: str, message: str, remedy: str = "") -> Finding:
    return Finding(check, Level.NOTE, message, remedy)


def warning(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Level.WARNING, message, remedy)


def unsafe(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Level.UNSAFE, message, remedy)
