"""Typed, bounded look-ups in a mapping that nobody has checked before.

A model's configuration is a file from outside: any key may be absent, of the
wrong type or absurd. Each look-up here either returns a value of the promised
type and range or raises `CorruptConfig` with the key, the value and the file
in one sentence. Ranges are there to turn a damaged file into that sentence
before it turns into an allocation; they are far above any model that exists.
"""

from __future__ import annotations

from collections.abc import Mapping

from replicas.model.errors import CorruptConfig


class Settings:
    """One JSON object, or one GGUF header, with the name of its origin for messages."""

    def __init__(self, values: Mapping[str, object], origin: str) -> None:
        self._values = values
        self.origin = origin

    def has(self, key: str) -> bool:
        """Whether the key is present; a null counts as absent everywhere."""
        return self._values.get(key) is not None

    def integer(self, key: str, *, most: int, default: int | None = None) -> int:
        """A whole number from 1 to `most`; a default is held to that, too."""
        value = self._values.get(key)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise self._bad(key, f"a whole number from 1 to {most}")
        return value

    def number(self, key: str, *, most: float, default: float | None = None) -> float:
        """A finite number above 0 and up to `most`."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._bad(key, "a number")
        if not 0 < value <= most:  # so not NaN either, nor a whole number too large for a float
            raise self._bad(key, f"a number above 0 and up to {most:g}")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._bad(key, "true or false")
        return value

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._bad(key, "a string")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; absent is empty."""
        value = self._values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._bad(key, "a list of strings")
        return tuple(value)

    def section(self, key: str) -> Settings:
        """A nested object; absent is empty."""
        value = self._values.get(key)
        if value is None:
            return Settings({}, f"{key} in {self.origin}")
        if not isinstance(value, dict):
            raise self._bad(key, "an object")
        return Settings(value, f"{key} in {self.origin}")

    def _bad(self, key: str, wanted: str) -> CorruptConfig:
        if not self.has(key):
            return CorruptConfig(f"{key!r} is missing from {self.origin}.")
        shown = repr(self._values[key])
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return CorruptConfig(f"{key!r} in {self.origin} is {shown}; it must be {wanted}.")
