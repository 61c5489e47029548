"""Options that several verbs share, so that one word means one thing everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from orchestrator.live.control_door import ControlDoor
from orchestrator.live.gateway_door import GatewayDoor, NoUrl, checked_url
from protos.certificates import BadCertificates
from protos.transport import Transport
from protos.trust import trusting

Command = TypeVar("Command", bound=Callable[..., Any])
PORT = click.IntRange(1, 65535)
FOLDER = click.Path(path_type=Path, file_okay=False)

NAMED = {
    "replicas": click.option("--replicas", type=click.IntRange(1), default=2, show_default=True),
    "min_replicas": click.option(
        "--min-replicas", type=click.IntRange(1), help="When idle; default: as --replicas."
    ),
    "max_replicas": click.option(
        "--max-replicas", type=click.IntRange(1), help="Under load; default: as --replicas."
    ),
    "scale_in_after_s": click.option(
        "--scale-in-after-s",
        type=click.FloatRange(0, min_open=True),
        default=60.0,
        show_default=True,
        help="How long fewer replicas must have been enough.",
    ),
    "control_planes": click.option(
        "--control-planes",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="One leads, the others stand by; the first has the control port.",
    ),
    "model": click.option(
        "--model",
        default="smollm2",
        show_default=True,
        metavar="PATH|URL|smollm2|tiny",
        help="A Hugging Face folder or a .gguf file, here or at a URL (s3://, gs://, https://, "
        "...; env:NAME reads it from the environment), or one of the two built-in models.",
    ),
    "model_cache": click.option(
        "--model-cache",
        type=FOLDER,
        help="Where models from URLs are kept; default: blockyard/models in the user's cache.",
    ),
    "model_checksums": click.option(
        "--model-checksums",
        type=click.Choice(["checked", "required"]),
        default="checked",
        show_default=True,
        help="Of models from URLs, against SHA256SUMS beside them; required: refused without.",
    ),
    "http_port": click.option("--http-port", type=PORT, default=8000, show_default=True),
    "grpc_port": click.option("--grpc-port", type=PORT, default=8001, show_default=True),
    "control_port": click.option("--control-port", type=PORT, default=8002, show_default=True),
    "redis_url": click.option(
        "--redis", "redis_url", metavar="URL", help="A Redis or Valkey; default: an embedded one."
    ),
    "blocks": click.option("--blocks", type=click.IntRange(1), help="KV blocks of each replica."),
    "block_size": click.option(
        "--block-size", type=click.IntRange(1, 1024), default=16, show_default=True
    ),
    "host_gib": click.option(
        "--host-gib",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Of host memory for each replica, to pause sequences in; 0: computed again.",
    ),
    "device": click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto: a GPU for each replica where there are enough, else the CPU.",
    ),
    "dtype": click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="auto: bfloat16 on a GPU, float32 on a CPU.",
    ),
    "guesses_max": click.option(
        "--guesses-max",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Tokens that a sequence guesses at most in a step, from what stood in it before.",
    ),
    "deterministic": click.option(
        "--deterministic",
        is_flag=True,
        help="The same tokens and logits for a request whatever else is served; slower on a GPU.",
    ),
    "copy_gbps": click.option(
        "--copy-gbps",
        type=click.FloatRange(0),
        default=25.0,
        show_default=True,
        help="Of the link between replicas, over which they copy cached blocks; 0: never.",
    ),
    "log_level": click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="info: a line for each request, from every process.",
    ),
    "log_format": click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="json: one object a line, for programs.",
    ),
}


# Doors that are encrypted, and who may come in. `blockyard certs` makes such folders.
TLS = click.option(
    "--tls",
    type=FOLDER,
    help="Of the front doors: tls.crt and tls.key; with client-ca.crt, clients must show one.",
)
INTERNAL_TLS = click.option(
    "--internal-tls",
    type=FOLDER,
    envvar="BLOCKYARD_INTERNAL_TLS",
    show_envvar=True,
    help="Mutual TLS among gateways, replicas, control planes and operators: "
    "ca.crt, tls.crt and tls.key.",
)
KEYS_FILE = click.option(
    "--keys",
    "keys_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Who may come in: a file of `blockyard keys new`; without one, whoever reaches the doors.",
)
RECORD = click.option(
    "--record",
    "record_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Record the gateway's placements in this file, for `blockyard replay`.",
)
HEALTH_PORT = click.option(
    "--health-port", type=PORT, help="Answers gRPC health probes and nothing else, in the clear."
)
METRICS_PORT = click.option(
    "--metrics-port", type=PORT, help="Answers Prometheus, and nothing else, in the clear."
)
TLS_CA = click.option(
    "--tls-ca",
    type=click.Path(path_type=Path, exists=True),
    envvar="BLOCKYARD_TLS_CA",
    show_envvar=True,
    help="Believe this authority; a folder: its ca.crt, and show its tls.crt where asked.",
)

# A process by itself: where its cluster's registry is, and where it listens.
PROCESS = (
    click.option(
        "--redis",
        "redis_url",
        required=True,
        metavar="URL",
        help="The cluster's Redis or Valkey; env:NAME reads it from the environment.",
    ),
    click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen."),
    INTERNAL_TLS,
)
OF_SOME = {
    "advertise_host": click.option("--advertise-host", help="How others reach it; default: host."),
    "drain_s": click.option(
        "--drain-s",
        type=click.FloatRange(0),
        default=20.0,
        show_default=True,
        help="How long running requests may finish at the end.",
    ),
}


def ui_option(*, default: bool) -> Callable[[Command], Command]:
    """Whether gateways have the live page. Whoever starts a cluster on his own machine wants it."""
    return click.option(
        "--ui/--no-ui", default=default, show_default=True, help="The live page, at /ui/."
    )


def process_options(*names: str) -> Callable[[Command], Command]:
    """What describes one process: PROCESS, and the named ones of the others."""

    def add(command: Command) -> Command:
        wanted = (*names, "log_level", "log_format")
        chosen = [option for name, option in {**OF_SOME, **NAMED}.items() if name in wanted]
        for option in reversed((*PROCESS, *chosen)):
            command = option(command)
        return command

    return add


def control_address(command: Callable[..., Any]) -> Callable[..., Any]:
    """A control plane's ControlDoor, as the argument `control`. Any of them knows the leader."""

    @wraps(command)
    def called(
        *args: Any,
        control: str | None,
        control_port: int,
        internal_tls: Path | None,
        **values: Any,
    ) -> Any:
        try:
            transport = Transport(internal_tls)
        except BadCertificates as error:
            raise click.UsageError(str(error)) from error
        door = ControlDoor(control or f"127.0.0.1:{control_port}", transport)
        return command(*args, control=door, **values)

    port = NAMED["control_port"]
    address = click.option(
        "--control", metavar="HOST:PORT", help="A control plane; default: the one on this machine."
    )
    return address(port(INTERNAL_TLS(called)))


def gateway_door(command: Callable[..., Any]) -> Callable[..., Any]:
    """A gateway's GatewayDoor, as the argument `gateway`."""

    @wraps(command)
    def called(
        *args: Any, url: str | None, http_port: int, tls_ca: Path | None, **values: Any
    ) -> Any:
        try:
            trust = trusting(tls_ca) if tls_ca is not None else None
            named = checked_url(url) if url is not None else None
        except (BadCertificates, NoUrl) as error:
            raise click.UsageError(str(error)) from error
        here = f"{'http' if trust is None else 'https'}://127.0.0.1:{http_port}"
        door = GatewayDoor(named or here, trust)
        return command(*args, gateway=door, **values)

    address = click.option("--url", help="A gateway; default: the one on this machine.")
    return address(NAMED["http_port"](TLS_CA(called)))


def cluster_options(command: Command) -> Command:
    """Everything that describes a local cluster."""
    for option in reversed(NAMED.values()):
        command = option(command)
    return command
