"""`blockyard replay`: recorded placements, decided once more by the policy as it is now.

It needs neither a cluster nor Ray or torch: a recording holds all that decides.
"""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.replay.plain import Damaged
from orchestrator.replay.recording import read_recording
from orchestrator.replay.replay import replay


@click.command(name="replay")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def command(file: Path) -> None:
    """Decide the placements of a recording again; exit 1 at the first that differs.

    Recordings come from `blockyard up`, `gateway` or `simulate` with --record FILE.
    """
    try:
        replayed = replay(read_recording(file))
    except (Damaged, OSError) as error:
        raise click.ClickException(f"{file}: {error}") from error
    if replayed.difference is not None:
        raise click.ClickException(replayed.difference.sentence())
    click.echo(f"{replayed.decisions} placements decided again, every one the same")
