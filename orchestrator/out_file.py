"""Files that a command is told to write: refused early where possible, in words always.

A mistake in a name shows before a long run. What only writing shows, as a full
disk does, ends the command with a sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

TO_FILE = click.Path(path_type=Path, dir_okay=False)
PICTURES = (".jpg", ".pdf", ".png", ".svg")


def placed(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that could not be written when a long run is over."""
    if path is None:
        return None
    folder = path.absolute().parent
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder {path.parent}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise click.BadParameter(f"{path} cannot be written")
    return path


def drawable(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a picture of a kind that nobody draws, too."""
    if path is not None and path.suffix.lower() not in PICTURES:
        raise click.BadParameter(f"{path} must end in one of {', '.join(PICTURES)}")
    return placed(context, option, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes this file: its failure in a sentence."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path} was not written: {error.strerror or error}") from error


def write_json(path: Path | None, document: Any) -> None:
    """The document in this file, if there is one; a failure in a sentence."""
    if path is not None:
        with writing(path):
            path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
