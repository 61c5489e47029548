"""Announcements in one process: the reference, and the simulator's own.

One `Bulletin` is the channel; whoever listens on it hears at once what others
announce.
"""

from __future__ import annotations

from collections.abc import Callable

from protos.registry import Announcement


class Bulletin:
    """Who listens, by name, in the order in which they began."""

    def __init__(self) -> None:
        self._listening: dict[str, Callable[[Announcement], None]] = {}

    def add(self, name: str, hear: Callable[[Announcement], None]) -> None:
        """The last one of a name listens."""
        self._listening[name] = hear

    def remove(self, name: str) -> None:
        self._listening.pop(name, None)

    def tell(self, sender: str, announcement: Announcement) -> None:
        """Everybody else hears it."""
        for name, hear in tuple(self._listening.items()):
            if name != sender:
                hear(announcement)


class MemoryAnnouncer:
    """Announcer on a bulletin, under one gateway's name."""

    def __init__(self, bulletin: Bulletin, name: str) -> None:
        self._bulletin = bulletin
        self._name = name

    def announce(self, announcement: Announcement) -> None:
        self._bulletin.tell(self._name, announcement)

    def listen(self, hear: Callable[[Announcement], None]) -> None:
        self._bulletin.add(self._name, hear)

    async def close(self) -> None:
        self._bulletin.remove(self._name)
