"""Options that several verbs share, so that one word means one thing everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
PORT = click.IntRange(1, 65535)

CLUSTER = (
    click.option("--replicas", type=click.IntRange(1), default=2, show_default=True),
    click.option(
        "--model",
        default="smollm2",
        show_default=True,
        metavar="PATH|smollm2|tiny",
        help="A Hugging Face folder, a .gguf file, or one of the two built-in models.",
    ),
    click.option("--http-port", type=PORT, default=8000, show_default=True),
    click.option("--grpc-port", type=PORT, default=8001, show_default=True),
    click.option("--control-port", type=PORT, default=8002, show_default=True),
    click.option(
        "--redis", "redis_url", metavar="URL", help="A Redis or Valkey; default: an embedded one."
    ),
    click.option("--blocks", type=click.IntRange(1), help="KV blocks of each replica."),
    click.option("--block-size", type=click.IntRange(1, 1024), default=16, show_default=True),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto: a GPU for each replica where there are enough, else the CPU.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="auto: bfloat16 on a GPU, float32 on a CPU.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        show_default=True,
        help="info: a line for each request, from every process.",
    ),
)


def cluster_options(command: Command) -> Command:
    """Everything that describes a local cluster."""
    for option in reversed(CLUSTER):
        command = option(command)
    return command
