"""The real system on one machine: Valkey, Ray, Serve and the cluster's processes.

Everything that is started here is stopped here, whatever ends it: an
exception half-way through starting, Ctrl-C, SIGTERM. What cannot work is said
before Ray starts where it can be known, and in one sentence everywhere.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
import ray
from pydantic import ValidationError
from ray import serve
from ray.serve.schema import ApplicationStatus

from orchestrator.config import Deployment
from orchestrator.gateway.door_tls import DoorTls
from orchestrator.gateway.keys_file import BadKeysFile, read_keyring
from orchestrator.gateway.token_bytes import UnsupportedTokenizer
from orchestrator.gateway.tokenizer import load_tokenizer
from orchestrator.live.app import build
from orchestrator.live.control_door import ControlDoor
from orchestrator.live.fetching import watched
from orchestrator.live.local_ray import RayNotStarted, local_ray
from orchestrator.live.operator_client import replica_states
from orchestrator.live.registry_url import leader_at, members_at, resolved, without_password
from orchestrator.live.valkey import EmbeddedValkey
from orchestrator.replay.recording import Recording, RecordingRefused
from protos.certificates import BadCertificates
from protos.registry import RegistryUnavailable
from protos.transport import Transport
from replicas.delivery.config import Delivery
from replicas.delivery.location import shown
from replicas.model.errors import ModelError
from replicas.model.loading import open_model
from replicas.model.source import ModelSource, resolve_model

APPLICATION = "blockyard"
START_TIMEOUT_S = 300.0  # loading a large model from a slow disk; progress is shown meanwhile
POLL_S = 0.2
PLACES_BESIDE_ACTORS = 3  # in Ray's books: gateway, Serve's own
BUILT_IN = ("smollm2", "tiny")  # ours, and known to load
QUIET_LEVELS = ("warning", "error")

Device = Literal["auto", "cpu", "cuda"]


class StartFailed(Exception):
    """The cluster could not be started; the message is for a person."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What a person can choose about a cluster on this machine."""

    model: str = "smollm2"
    model_cache: Path | None = None  # of models from URLs
    model_checksums: str = "checked"
    replicas: int = 2
    min_replicas: int | None = None
    max_replicas: int | None = None
    scale_in_after_s: float = 60.0
    control_planes: int = 1
    http_port: int = 8000
    grpc_port: int = 8001
    control_port: int = 8002
    redis_url: str | None = None  # None: an embedded Valkey
    blocks: int | None = None
    block_size: int = 16
    host_gib: float = 0.0  # of host memory for each replica, to pause sequences in
    device: Device = "auto"  # cuda where there is a GPU for each replica, else cpu
    dtype: str = "auto"
    guesses_max: int = 0  # tokens that a sequence may guess in a step
    deterministic: bool = False
    log_level: str = "warning"  # what is below is not shown
    log_format: str = "text"
    keys_file: Path | None = None  # None: whoever reaches the doors may come in
    tls: Path | None = None
    internal_tls: Path | None = None
    ui: bool = False  # the live page
    copy_gbps: float = 25.0  # of the link between replicas; 0: they copy no blocks
    record_file: Path | None = None  # of the gateway's placements; None: not recorded

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


class LocalCluster:
    """A context manager around the running system.

    Entering raises StartFailed with a sentence that says what to change;
    leaving waits for an orderly stop and then makes sure of it.
    """

    def __init__(self, options: LocalOptions, progress: Callable[[str], None]) -> None:
        self._options = options
        self._progress = progress
        self._undo = ExitStack()
        self._redis_url: str | None = None

    @property
    def redis_url(self) -> str:
        """Of the registry that the cluster uses, given or embedded."""
        assert self._redis_url is not None, "the cluster is not running"
        return self._redis_url

    @property
    def url(self) -> str:
        return f"{self._options.scheme}://127.0.0.1:{self._options.http_port}"

    def leader(self) -> ControlDoor:
        """Where the control plane that leads now listens. ConnectionError if none does."""
        try:
            leader = asyncio.run(leader_at(self.redis_url))
        except RegistryUnavailable as error:
            raise ConnectionError(str(error)) from error
        if leader is None:
            raise ConnectionError("no control plane leads")
        return ControlDoor(leader.address, Transport(self._options.internal_tls))

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        drain_s = self._deployment("auto").drain_s
        self._progress(f"stopping; running requests have up to {drain_s:.0f} s")
        self._undo.close()

    def _start(self) -> None:
        ports = (self._options.http_port, self._options.grpc_port, self._options.control_port)
        if len(set(ports)) < len(ports):
            raise StartFailed(f"HTTP, gRPC and control plane need a port each, not {ports}")
        for port in ports:
            require_free(port)
        check_certificates(self._options)
        check_keys(self._options)
        check_recording(self._options)
        source = check_model(self._options, self._progress)
        self._redis_url = self._start_registry()
        most = self._replicas_most()
        self._start_ray(most)
        device = choose_device(self._options.device, most, gpus())
        self._progress(f"loading {source.name} on {self._options.replicas} replicas ({device})")
        serve.run_many(
            [serve.RunTarget(build(self._deployment(device)), name=APPLICATION, route_prefix="/")],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )
        self._wait_until_serving()

    def _deployment(self, device: Device) -> Deployment:
        return Deployment.model_validate(
            {
                "model": self._options.model,
                "model_cache": absolute(self._options.model_cache),
                "model_checksums": self._options.model_checksums,
                "replicas": self._options.replicas,
                "min_replicas": self._options.min_replicas,
                "max_replicas": self._options.max_replicas,
                "scale_in_after_s": self._options.scale_in_after_s,
                "control_planes": self._options.control_planes,
                # As it was given: what it names in the environment, actors find in theirs.
                "redis_url": self._options.redis_url or self.redis_url,
                "http_port": self._options.http_port,
                "grpc_port": self._options.grpc_port,
                "control_port": self._options.control_port,
                "blocks": self._options.blocks,
                "block_size": self._options.block_size,
                "host_gib": self._options.host_gib,
                "device": device,
                "dtype": self._options.dtype,
                "guesses_max": self._options.guesses_max,
                "deterministic": self._options.deterministic,
                "log_level": self._options.log_level,
                "log_format": self._options.log_format,
                "keys_file": absolute(self._options.keys_file),
                "tls": absolute(self._options.tls),
                "internal_tls": absolute(self._options.internal_tls),
                "ui": self._options.ui,
                "copy_gbps": self._options.copy_gbps,
                "record_file": absolute(self._options.record_file),
            }
        )

    def _start_registry(self) -> str:
        """An embedded Valkey, or proof that the given server answers. Returns its URL."""
        given = self._options.redis_url
        if given is None:
            self._progress("starting Valkey")
            try:
                return self._undo.enter_context(EmbeddedValkey()).url
            except RuntimeError as error:
                raise StartFailed(str(error)) from error
        try:
            url = resolved(given, os.environ)
        except ValueError as error:
            raise StartFailed(str(error)) from error
        try:
            strangers = asyncio.run(members_at(url))
        except (RegistryUnavailable, ValueError) as error:
            raise StartFailed(f"no registry at {without_password(url)}: {error}") from error
        if strangers:
            raise StartFailed(
                f"the registry at {without_password(url)} has replicas of another cluster "
                f"({', '.join(strangers)}); one registry serves one: name another database"
            )
        return url

    def _replicas_most(self) -> int:
        try:
            return self._deployment("auto").replicas_most
        except ValidationError as error:
            raise StartFailed("; ".join(wrong["msg"] for wrong in error.errors())) from error

    def _start_ray(self, replicas_most: int) -> None:
        self._progress("starting Ray")
        running = local_ray(
            application=APPLICATION,
            places=replicas_most + self._options.control_planes + PLACES_BESIDE_ACTORS,
            shows_logs=self._options.log_level not in QUIET_LEVELS,
        )
        try:
            self._undo.enter_context(running)
        except RayNotStarted as error:
            raise StartFailed(str(error)) from error

    def _wait_until_serving(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        attached = 0
        while time.monotonic() < deadline:
            raise_if_failed()
            count = self._attached_replicas()
            if count > attached:
                attached = count
                self._progress(f"replica {attached} of {self._options.replicas} is attached")
            if attached >= self._options.replicas and self._is_ready():
                return
            time.sleep(POLL_S)
        raise StartFailed(f"not ready after {START_TIMEOUT_S:.0f} s")

    def _is_ready(self) -> bool:
        """A door with TLS cannot always be asked by us: it may want to know who we are."""
        if self._options.tls is None:
            return answers_ready(self.url)
        application = serve.status().applications.get(APPLICATION)
        return application is not None and application.status is ApplicationStatus.RUNNING

    def _attached_replicas(self) -> int:
        try:
            return len(replica_states(self.leader(), timeout_s=1.0))
        except ConnectionError:
            return 0


def check_certificates(options: LocalOptions) -> None:
    """What the processes will show. StartFailed if they could not."""
    try:
        Transport(options.internal_tls)
        if options.tls is not None:
            DoorTls(options.tls)
    except BadCertificates as error:
        raise StartFailed(str(error)) from error


def check_keys(options: LocalOptions) -> None:
    """Who may come in. StartFailed where the file does not say."""
    try:
        if options.keys_file is not None:
            read_keyring(options.keys_file)
    except BadKeysFile as error:
        raise StartFailed(str(error)) from error


def check_recording(options: LocalOptions) -> None:
    """Where placements go. StartFailed where the gateway could not write them."""
    try:
        if options.record_file is not None:
            Recording(options.record_file).close()
    except RecordingRefused as error:
        raise StartFailed(str(error)) from error


def absolute(folder: Path | None) -> Path | None:
    """As processes find it whose working directory is another one."""
    return None if folder is None else folder.resolve()


def gpus() -> int:
    """GPUs that the running Ray has to give."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("GPU", 0))


def choose_device(wanted: Device, replicas: int, gpus: int) -> Device:
    """A GPU for each replica, or the CPU for all. StartFailed where `cuda` cannot be had."""
    if wanted == "cuda" and gpus < replicas:
        raise StartFailed(
            f"{replicas} replicas need a GPU each and there are {gpus}; "
            "use fewer --replicas or --device cpu"
        )
    if wanted == "auto":
        return "cuda" if gpus >= replicas else "cpu"
    return wanted


def require_free(port: int) -> None:
    """Fail now, in words, rather than after Ray has started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartFailed(
                f"port {port} is taken ({error.strerror}); choose others with "
                "--http-port, --grpc-port and --control-port"
            ) from error


def check_model(options: LocalOptions, say: Callable[[str], None]) -> ModelSource:
    """What the replicas will load, fetched where it is elsewhere, and read as far as its headers.

    StartFailed if they could not.
    """
    delivery = Delivery(options.model_cache, needs_sums=options.model_checksums == "required")
    try:
        with watched(say) as watch:
            source = resolve_model(options.model, delivery=delivery, watch=watch)
        if options.model not in BUILT_IN:
            open_model(source.path)
            load_tokenizer(source.path)
    except (ModelError, UnsupportedTokenizer, OSError) as error:
        raise StartFailed(f"model {shown(options.model)}: {error}") from error
    return source


def answers_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def raise_if_failed() -> None:
    """A deployment that cannot construct its actors says why in its status."""
    application = serve.status().applications.get(APPLICATION)
    if application is None or application.status is not ApplicationStatus.DEPLOY_FAILED:
        return
    causes = [
        f"{name}: {last_line(deployment.message)}"
        for name, deployment in application.deployments.items()
        if deployment.status.name == "DEPLOY_FAILED"
    ]
    raise StartFailed("; ".join(causes) or last_line(application.message))


def last_line(message: str) -> str:
    """The error itself, without the actor's traceback above it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "a deployment failed without a message"
