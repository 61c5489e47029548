"""What a test measured, for whoever reads its output (`pytest -s` or `-rP`)."""

from __future__ import annotations


def said(what: str, **figures: float) -> None:
    parts = (f"{name} {value:.1f}" for name, value in figures.items())
    print(f"\n{what}: {', '.join(parts)}")
