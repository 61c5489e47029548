"""`blockyard doctor`: what is unsafe about a deployment, or will not work, before it starts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from orchestrator.live.commands.options import (
    INTERNAL_TLS,
    KEYS_FILE,
    TLS,
    cluster_options,
    ui_option,
)
from orchestrator.live.commands.terminal import show_json
from orchestrator.live.doctor.doors import check_doors
from orchestrator.live.doctor.finding import Finding, Level
from orchestrator.live.doctor.machine import check_machine
from orchestrator.live.doctor.ports import check_ports
from orchestrator.live.doctor.registry import check_registry
from orchestrator.live.doctor.secrets import check_secrets
from orchestrator.live.doctor.subject import NoSubject, Subject, read_serve_config, validated

COLOURS = {Level.OK: "green", Level.NOTE: None, Level.WARNING: "yellow", Level.UNSAFE: "red"}
# What `up` starts when nothing is given; its doctor never connects to it.
EMBEDDED = "redis://127.0.0.1"


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A Serve config file or a RayService manifest, instead of the options of `up`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@cluster_options
@KEYS_FILE
@TLS
@INTERNAL_TLS
@ui_option(default=True)
def doctor(config: Path | None, as_json: bool, **values: Any) -> None:
    """Say what is unsafe about a deployment, or will not work, and what to do about it.

    Takes the options of `up`, or a file that describes a cluster. One line for
    each finding: ok, note (worth knowing), warning (depends on what is around
    it) or unsafe. The exit status is 1 where something is unsafe. Nothing is
    started and nothing is changed.
    """
    try:
        subject = subject_of(values) if config is None else read_serve_config(config)
    except NoSubject as error:
        raise click.ClickException(str(error)) from error
    findings = asyncio.run(examine(subject))
    if as_json:
        show_json({"findings": [as_record(finding) for finding in findings]})
    else:
        show(findings)
    if any(finding.level is Level.UNSAFE for finding in findings):
        sys.exit(1)


def subject_of(values: dict[str, Any]) -> Subject:
    """What `up` would start. Raises NoSubject."""
    given = {name: value for name, value in values.items() if value is not None}
    has_own_registry = "redis_url" not in given
    deployment = validated({"redis_url": EMBEDDED, **given})
    return Subject(deployment, has_own_registry=has_own_registry)


async def examine(subject: Subject) -> list[Finding]:
    """All checks, in the order in which a stranger meets what they look at."""
    return [
        *check_doors(subject),
        *check_ports(subject),
        *check_secrets(subject, os.environ),
        *[finding async for finding in check_registry(subject, os.environ)],
        *check_machine(subject),
    ]


def as_record(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def show(findings: Iterable[Finding]) -> None:
    """One line each, and one that counts them."""
    counts: Counter[Level] = Counter()
    for finding in findings:
        counts[finding.level] += 1
        level = click.style(f"{finding.level.value:<8}", fg=COLOURS[finding.level])
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        click.echo(f"{level} {finding.check:<9} {finding.message}{remedy}")
    click.echo(", ".join(f"{counts[level]} {level.value}" for level in reversed(Level)))
