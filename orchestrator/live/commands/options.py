"""Options that several verbs share, so that one word means one thing everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
PORT = click.IntRange(1, 65535)

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
        metavar="PATH|smollm2|tiny",
        help="A Hugging Face folder, a .gguf file, or one of the two built-in models.",
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
    "log_level": click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="info: a line for each request, from every process.",
    ),
}


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


def process_options(*names: str) -> Callable[[Command], Command]:
    """What describes one process: PROCESS, and the named ones of the others."""

    def add(command: Command) -> Command:
        wanted = (*names, "log_level")
        chosen = [option for name, option in {**OF_SOME, **NAMED}.items() if name in wanted]
        for option in reversed((*PROCESS, *chosen)):
            command = option(command)
        return command

    return add


def control_address(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where a control plane answers, as the argument `control`. Any of them knows the leader."""

    @wraps(command)
    def called(*args: Any, control: str | None, control_port: int, **values: Any) -> Any:
        return command(*args, control=control or f"127.0.0.1:{control_port}", **values)

    port = NAMED["control_port"]
    address = click.option(
        "--control", metavar="HOST:PORT", help="A control plane; default: the one on this machine."
    )
    return address(port(called))


def cluster_options(command: Command) -> Command:
    """Everything that describes a local cluster."""
    for option in reversed(NAMED.values()):
        command = option(command)
    return command
