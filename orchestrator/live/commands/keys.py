"""`blockyard keys new`: a key for a client, and its entry for the keys file."""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta

import click

from orchestrator.gateway.keyring import key_digest
from orchestrator.gateway.keys_file import BadKeysFile, parse_keys
from protos.messages import RequestClass

KEY_BYTES = 32
POSITIVE = click.IntRange(1)
DAYS = click.IntRange(1, 36_500)


@click.group()
def keys() -> None:
    """API keys: whom they belong to is in the keys file of the gateways."""


@keys.command()
@click.option("--tenant", required=True, help="Whose requests are its holder's.")
@click.option("--name", help="For logs and limits; default: the tenant's and four digits.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([each.value for each in RequestClass]),
    help="Allow requests of this class; repeatable. Default: all.",
)
@click.option("--requests-per-minute", type=POSITIVE, help="Default: no limit.")
@click.option("--tokens-per-minute", type=POSITIVE, help="Of prompts and answers together.")
@click.option(
    "--block-seconds-per-minute", type=POSITIVE, help="KV blocks held, times how long, as billed."
)
@click.option("--expires-days", type=DAYS, help="Default: it does not expire.")
@click.option("--operator", is_flag=True, help="May see every tenant's requests, and the page.")
def new(
    tenant: str,
    name: str | None,
    classes: tuple[str, ...],
    expires_days: int | None,
    operator: bool,
    **limits: int | None,
) -> None:
    """Make a key. Its entry goes to standard output, the key itself to standard error, once.

    \b
        blockyard keys new --tenant acme >> keys.toml

    Gateways that run with this keys file notice it within two seconds. The
    file has only the key's SHA-256: who loses the key needs a new one. A key
    from elsewhere can be used if it is as random as ours, 256 bits: its
    sha256 is what `printf %s KEY | sha256sum` prints.
    """
    key = f"by-{secrets.token_urlsafe(KEY_BYTES)}"
    fields: dict[str, object] = {
        "name": name or default_name(tenant),
        "sha256": key_digest(key).hex(),
        "tenant": tenant,
    }
    if classes:
        fields["classes"] = list(dict.fromkeys(classes))
    fields |= {word: limit for word, limit in limits.items() if limit is not None}
    if operator:
        fields["is_operator"] = True
    entry = toml_entry(fields)
    if expires_days is not None:
        expires = datetime.now(UTC) + timedelta(days=expires_days)
        entry += f"expires = {expires:%Y-%m-%dT%H:%M:%SZ}\n"
    try:
        parse_keys(entry.encode())
    except BadKeysFile as error:
        raise click.UsageError(str(error)) from error
    click.echo(entry)
    click.echo(f"the key of {fields['name']}, which is shown only now:\n{key}", err=True)


def toml_entry(fields: dict[str, object]) -> str:
    """One [[key]]; JSON's strings, numbers, lists and booleans are TOML's, too."""
    lines = (
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()
    )
    return "[[key]]\n" + "".join(lines)


def default_name(tenant: str) -> str:
    """Made of what names may have."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", tenant)[:59]
    return f"{plain}-{secrets.token_hex(2)}"
