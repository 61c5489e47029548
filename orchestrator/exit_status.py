"""What a command says to its shell besides 0, 1 for a failure and 2 for a wrong call."""

from __future__ import annotations

INTERRUPTED = 130  # as a shell says of what SIGINT ended
