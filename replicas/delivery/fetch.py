"""Bring a model here once, for everybody on this machine who wants it.

First what the store has now is looked at; its names, sizes and checksums name
a version. A version that is on the shelf costs nothing more. Else one process
fetches it, file by file and several at once, while others wait for the same
lock and then find it. Whoever dies frees the lock and leaves what came; the
next one goes on from there. A store that is away does not keep a replica from
starting again with what came before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from replicas.delivery.config import Delivery
from replicas.delivery.contents import Contents, Part, survey
from replicas.delivery.errors import Interrupted, RemoteUnavailable
from replicas.delivery.location import Location
from replicas.delivery.lock import locked
from replicas.delivery.progress import LineWatch, Progress, Watch, sized
from replicas.delivery.shelf import Shelf
from replicas.delivery.store import Store
from replicas.delivery.transfer import bytes_here, transfer

LOG = logging.getLogger(__name__)
LOCK_PERIOD_S = 0.2


@dataclass(frozen=True, slots=True)
class _Order:
    """One delivery, and who is told of it."""

    store: Store
    shelf: Shelf
    contents: Contents
    progress: Progress
    watch: Watch
    stop: Event


def fetch(
    location: Location, delivery: Delivery, part: Part = Part.WHOLE, watch: Watch | None = None
) -> Path:
    """The model's folder, or its .gguf file. Whole, checked, and not to be written to.

    Blocks, for as long as it takes. Raises ModelNotFound or a DeliveryError.
    """
    progress = Progress(location.name)
    watch = LineWatch() if watch is None else watch
    watch.tell(progress)
    folder = _folder(location, delivery, part, progress, watch)
    progress.waits, progress.is_here = False, True
    watch.tell(progress)
    return folder / location.saved_as if location.is_file else folder


def _folder(
    location: Location, delivery: Delivery, part: Part, progress: Progress, watch: Watch
) -> Path:
    stop = Event()
    store, shelf = Store(location, delivery, stop), Shelf(delivery.folder, location)
    try:
        contents = survey(store, part)
    except RemoteUnavailable as error:
        came_before = shelf.latest(part, needs_sums=delivery.needs_sums)
        if came_before is None:
            raise
        LOG.warning("%s Going on with what came before: %s", error, came_before)
        return came_before
    folder = shelf.published(contents)
    if folder is not None:
        return folder
    return _fetched(_Order(store, shelf, contents, progress, watch, stop))


def _fetched(order: _Order) -> Path:
    told_s = time.monotonic()

    def wait_for_lock() -> None:
        nonlocal told_s
        order.progress.waits = True
        if time.monotonic() - told_s >= order.watch.period_s:
            told_s = time.monotonic()
            order.watch.tell(order.progress)
        order.stop.wait(LOCK_PERIOD_S)

    with locked(order.shelf.lock(order.contents), wait_for_lock):
        order.progress.waits = False
        folder = order.shelf.published(order.contents)
        if folder is not None:
            return folder  # whoever had the lock has brought it
        _bring(order, order.shelf.draft(order.contents))
        return order.shelf.publish(order.contents)


def _bring(order: _Order, draft: Path) -> None:
    """Every piece into the draft; the first failure ends all."""
    contents, progress, began_ns = order.contents, order.progress, time.monotonic_ns()
    progress.bytes_total = contents.bytes_wanted
    progress.resume(sum(bytes_here(piece, draft / piece.saved_as) for piece in contents.pieces))
    order.shelf.require_room(contents.bytes_wanted - progress.here)
    with ThreadPoolExecutor(order.store.delivery.files_at_once, "delivery") as pool:
        try:
            _follow(
                order,
                [
                    pool.submit(
                        partial(transfer, order.store, piece, draft / piece.saved_as, progress.add)
                    )
                    for piece in contents.pieces
                ],
            )
        finally:
            order.stop.set()  # nothing is left to do, or nothing of it is wanted any more
            pool.shutdown(cancel_futures=True)
    seconds = (time.monotonic_ns() - began_ns) / 1e9
    LOG.info("fetched %s from %s in %.1f s", sized(progress.fetched), order.store.location, seconds)


def _follow(order: _Order, transfers: Iterable[Future[None]]) -> None:
    """Until all are done; raises what the first one did that failed."""
    pending = set(transfers)
    while pending:
        done, pending = wait(pending, order.watch.period_s, FIRST_EXCEPTION)
        order.watch.tell(order.progress)
        failures = [error for each in done if (error := each.exception()) is not None]
        for error in sorted(failures, key=lambda error: isinstance(error, Interrupted)):
            raise error
