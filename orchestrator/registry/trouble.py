"""Something that fails again and again, told to the log when that begins, changes or ends."""

from __future__ import annotations

import logging

from protos.registry import RegistryUnavailable


class Trouble:
    """Of one task that goes on whatever fails."""

    def __init__(self, log: logging.Logger, sentence: str) -> None:
        self._log = log
        self._sentence = sentence
        self._told: str | None = None

    def meet(self, error: Exception) -> None:
        """It has failed, for this reason. What nobody foresaw is told with its traceback."""
        reason = f"{type(error).__name__}: {error}"
        if reason != self._told:
            self._told = reason
            trace = None if isinstance(error, RegistryUnavailable) else error
            self._log.warning("%s for a while: %s", self._sentence, error, exc_info=trace)

    def end(self) -> None:
        """It works."""
        if self._told is not None:
            self._told = None
            self._log.info("%s for a while: that is over", self._sentence)
