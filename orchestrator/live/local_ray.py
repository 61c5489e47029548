"""A Ray of our own on this machine, with Serve in it, for as long as a block of code runs.

It lives in a folder of its own under a token of its own, so that it meets no
other Ray of the machine. Leaving is orderly first; what outlives that is ended
by PID, and only descendants of this process are ever looked at.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

OBJECT_STORE_BYTES = 100 * 1024 * 1024  # tokens never travel through Ray objects
STOP_S = 5.0
CLEAR_POLL_S = 0.1


class RayNotStarted(Exception):
    """Ray gave up, as it does on a machine that is much too busy; the sentence says why."""


@contextmanager
def local_ray(*, application: str, places: int, shows_logs: bool) -> Iterator[None]:
    """Ray and Serve, without a proxy. On leaving, `application` is deleted before Ray stops.

    Raises RayNotStarted. `places` is how many CPUs Ray may book, whatever the machine has.
    `protect_ray` must have been called before Ray was imported.
    """
    assert "RAY_AUTH_MODE" in os.environ, "call protect_ray() before Ray is imported"
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix="blockyard-"))
        undo.callback(clear, folder)
        others = frozenset(psutil.Process().children(recursive=True))
        undo.callback(stop_ray, application, others)
        start_ray(folder, places=places, shows_logs=shows_logs)
        yield


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Ray half started cannot be stopped: SIGINT and SIGTERM wait until this is over.

    Afterwards the handlers are those of before, also where Ray took SIGTERM for itself.
    """
    arrived: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: arrived.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def start_ray(folder: Path, *, places: int, shows_logs: bool) -> None:
    with signals_deferred():
        try:
            ray.init(
                address="local",
                num_cpus=places,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=shows_logs,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
                _node_ip_address="127.0.0.1",
            )
        except SystemExit as ended:  # how Ray's own handler of SIGTERM ends a driver
            raise KeyboardInterrupt from ended
        except Exception as error:  # a plain one, where its node is not there within half a minute
            raise RayNotStarted(f"Ray did not start: {error}") from error
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        serve.start(
            proxy_location=ProxyLocation.Disabled,
            http_options=HTTPOptions(host="127.0.0.1"),
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )


def stop_ray(application: str, others: frozenset[psutil.Process]) -> None:
    """Orderly first; then whatever Ray started and left. `others` are not Ray's."""
    family = [p for p in psutil.Process().children(recursive=True) if p not in others]
    if ray.is_initialized():
        with suppress(Exception):  # whatever state Serve is in, Ray goes next
            serve.delete(application)
        ray.shutdown()
    _, alive = psutil.wait_procs(family, timeout=1)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_S)


def clear(folder: Path) -> None:
    """Remove what Ray wrote; who was just being started may go on to write there for a moment."""
    ends = time.monotonic() + STOP_S
    while folder.exists() and time.monotonic() < ends:
        for process in psutil.process_iter(["cmdline"]):
            names_it = any(str(folder) in word for word in process.info["cmdline"] or ())
            if names_it and process.pid != os.getpid():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(CLEAR_POLL_S)
