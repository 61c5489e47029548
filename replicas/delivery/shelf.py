"""Where the versions of one model stand in the cache: published, in the making, locked.

    CACHE/llama-1b0c5f9e2d77/whole-9a01.../          published: whole, checked, never written again
                             whole-9a01....partial/  what has come of it so far
                             whole-9a01....lock      held by the one process that fetches it

A folder is published by one rename, after everything in it is on the disk, so
a reader sees a whole model or none. Versions that were published stay until
somebody removes them: others may be reading.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from replicas.delivery.contents import Contents, Part
from replicas.delivery.errors import CacheUnusable
from replicas.delivery.location import Location
from replicas.delivery.lock import try_lock
from replicas.delivery.progress import sized
from replicas.delivery.sums import SUMS, read_sums

PARTIAL = ".partial"
LOCK = ".lock"


class Shelf:
    """Of one location."""

    def __init__(self, cache: Path, location: Location) -> None:
        self._folder = cache.expanduser() / location.key

    def published(self, contents: Contents) -> Path | None:
        """The folder of this version, if it is there and every file has its size."""
        folder = self._folder / contents.version
        try:
            whole = all(
                (folder / piece.saved_as).stat().st_size == piece.found.size
                for piece in contents.pieces
            )
        except OSError:
            return None
        return folder if whole else None

    def latest(self, part: Part, *, needs_sums: bool) -> Path | None:
        """What was published last, for when nobody can say what the version is now."""
        folders = [
            folder
            for folder in self._folder.glob(f"{part.value}-*")
            if folder.is_dir() and not folder.name.endswith(PARTIAL)
            if not needs_sums or _is_proven(folder)
        ]
        return max(folders, key=lambda folder: (folder.stat().st_mtime_ns, folder), default=None)

    def lock(self, contents: Contents) -> Path:
        """The file that whoever fetches this version holds. Raises CacheUnusable."""
        self._make(self._folder)
        return self._folder / f"{contents.version}{LOCK}"

    def draft(self, contents: Contents) -> Path:
        """The folder to fetch into, with what came before. Under the lock."""
        self._sweep(contents)
        draft = self._folder / f"{contents.version}{PARTIAL}"
        self._make(draft)
        return draft

    def require_room(self, bytes_more: int) -> None:
        """Raises CacheUnusable where the disk has less than that."""
        free = shutil.disk_usage(self._folder).free
        if bytes_more > free:
            raise CacheUnusable(
                f"{sized(bytes_more)} are to come and {self._folder} has room for {sized(free)}; "
                "make room, or name another cache folder."
            )

    def publish(self, contents: Contents) -> Path:
        """The draft, whole and checked, becomes the folder that readers find. Under the lock."""
        draft = self._folder / f"{contents.version}{PARTIAL}"
        folder = self._folder / contents.version
        try:
            if folder.exists():  # damaged since it was published, or it would have been found
                shutil.rmtree(folder)
            _sync(draft)
            draft.rename(folder)
            _sync(self._folder)
        except OSError as error:
            raise CacheUnusable(f"{folder} cannot be published: {error.strerror}.") from None
        return folder

    def _sweep(self, contents: Contents) -> None:
        """Remove what had come of other versions, unless somebody is at it."""
        for draft in self._folder.glob(f"{contents.part.value}-*{PARTIAL}"):
            version = draft.name.removesuffix(PARTIAL)
            if version == contents.version:
                continue
            lock = try_lock(self._folder / f"{version}{LOCK}")
            if lock is not None:
                with lock:
                    shutil.rmtree(draft, ignore_errors=True)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheUnusable(
                f"The cache folder {folder} cannot be made: {error.strerror}; name another one."
            ) from None


def _is_proven(folder: Path) -> bool:
    """Whether every file in it was checked when it came: whoever is named was."""
    names = {path.name for path in folder.iterdir()} - {SUMS}
    try:
        return names <= read_sums((folder / SUMS).read_bytes()).keys()
    except OSError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
