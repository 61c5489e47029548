"""`blockyard model`: bring a model here before it is needed, and say what its files must be."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.live.commands.options import FOLDER
from orchestrator.live.commands.terminal import progress
from orchestrator.live.fetching import watched
from protos.logs import log_to_stderr
from replicas.delivery.config import Delivery
from replicas.delivery.contents import Part
from replicas.delivery.errors import DeliveryError
from replicas.delivery.fetch import fetch as fetch_model
from replicas.delivery.location import locate
from replicas.delivery.sums import SUMS, write_sums
from replicas.model.errors import ModelError


@click.group()
def model() -> None:
    """Models in object stores and on servers."""


@model.command()
@click.argument("url")
@click.option("--cache", type=FOLDER, help="Default: blockyard/models in the user's cache.")
@click.option(
    "--checksums",
    type=click.Choice(["checked", "required"]),
    default="checked",
    show_default=True,
    help="Against SHA256SUMS beside the files; required: refused without.",
)
def fetch(url: str, cache: Path | None, checksums: str) -> None:
    """Fetch the model at URL, and print where it is.

    \b
        blockyard model fetch s3://bucket/llama --cache /models
        blockyard replica NAME --model s3://bucket/llama --model-cache /models ...

    What came before is gone on with. Replicas and gateways that are told the
    same URL and cache find it there. `env:NAME` reads the URL from the
    environment, for one that has secrets in it.
    """
    log_to_stderr("warning", "text")
    delivery = Delivery(cache, needs_sums=checksums == "required")
    try:
        location = locate(url)
        with watched(progress) as watch:
            fetch_model(location, delivery, Part.TOKENIZER, watch)  # for gateways
            path = fetch_model(location, delivery, Part.WHOLE, watch)
    except ModelError as error:
        raise click.ClickException(str(error)) from None
    click.echo(path)


@model.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
def sums(folder: Path) -> None:
    """Write SHA256SUMS of the model files in FOLDER, to be uploaded beside them."""
    names = [path.name for path in folder.iterdir() if path.is_file() and path.name != SUMS]
    visible = [name for name in names if not name.startswith(".")]
    if not visible:
        raise click.ClickException(f"there are no files in {folder}")
    try:
        click.echo(write_sums(folder, visible))
    except (OSError, DeliveryError) as error:
        raise click.ClickException(str(error)) from error
