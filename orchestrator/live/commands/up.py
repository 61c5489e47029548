"""`blockyard up`: the whole system on this machine, until Ctrl-C."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from typing import Any

import click

from orchestrator.client_key import KEY_VARIABLE
from orchestrator.live.commands.options import (
    INTERNAL_TLS,
    KEYS_FILE,
    RECORD,
    TLS,
    cluster_options,
    ui_option,
)
from orchestrator.live.commands.terminal import progress, stop_signals_raise
from orchestrator.live.local import LocalCluster, LocalOptions, StartFailed
from orchestrator.live.registry_url import without_password
from protos.trust import AUTHORITY
from replicas.delivery.location import shown


@click.command()
@cluster_options
@KEYS_FILE
@TLS
@INTERNAL_TLS
@ui_option(default=True)
@RECORD
def up(**values: Any) -> None:
    """Start replicas, registry, control plane and gateway; stop with Ctrl-C."""
    options = LocalOptions(**values)
    try:
        with stop_signals_raise(), LocalCluster(options, progress) as cluster:
            click.echo(banner(options, cluster.redis_url))
            threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("stopped")
    except StartFailed as error:
        raise click.ClickException(str(error)) from error


def banner(options: LocalOptions, redis_url: str) -> str:
    """Where everything answers, and what to type next."""
    front = f"{options.scheme}://127.0.0.1:{options.http_port}"
    page = f"  page     {front}/ui/\n" if options.ui else ""
    return (
        f"serving {shown(options.model)}\n"
        f"  HTTP     {front}/v1   (described at /openapi.json)\n"
        f"{page}"
        f"  gRPC     127.0.0.1:{options.grpc_port}\n"
        f"  control  127.0.0.1:{options.control_port}\n"
        f"  registry {without_password(redis_url)}\n"
        f"  next     {for_chat(options)}blockyard chat --http-port {options.http_port} 'hello'\n"
        f"           {for_status(options)}blockyard status --control-port {options.control_port}\n"
        f"  stop     Ctrl-C"
    )


def for_chat(options: LocalOptions) -> str:
    """What the environment of a client needs; `...` where only its owner knows."""
    trust = f"BLOCKYARD_TLS_CA={clients_folder(options.tls)} " if options.tls is not None else ""
    key = f"{KEY_VARIABLE}=... " if options.keys_file is not None else ""
    return trust + key


def for_status(options: LocalOptions) -> str:
    """The same of an operator, who is a member."""
    folder = options.internal_tls
    return "" if folder is None else f"BLOCKYARD_INTERNAL_TLS={shlex.quote(str(folder))} "


def clients_folder(doors: Path) -> str:
    """Where `blockyard certs` has put what clients believe, if it made these."""
    beside = doors.parent / "client"
    return shlex.quote(str(beside)) if (beside / AUTHORITY).exists() else "..."
