"""`blockyard certs`: certificates for a laptop or a test, in the folders that the options take."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

import click

from orchestrator.gateway.door_tls import CLIENT_AUTHORITY
from orchestrator.live.authority import Authority
from protos.certificates import CHAIN, KEY
from protos.transport import MEMBER
from protos.trust import AUTHORITY

DAYS = click.IntRange(1, 36_500)
DNS_CHARACTERS_MAX = 253
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DNS_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
HERE = ("localhost", "127.0.0.1", "::1")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    callback=lambda _context, _option, hosts: tuple(map(checked_host, hosts)),
    help="How clients name the front doors, too.",
)
@click.option(
    "--ask-clients", is_flag=True, help="The front doors let in who shows a certificate, only."
)
@click.option("--days", type=DAYS, default=90, show_default=True, help="Good for.")
def certs(out: Path, hosts: tuple[str, ...], ask_clients: bool, days: int) -> None:
    """Make certificates for a laptop or a test.

    Two authorities, one for members and one for the front doors and their clients, so that no
    client can pose as a member. Their keys are thrown away: to renew, make a new folder.
    """
    try:
        make(out, hosts, ask_clients=ask_clients, days=days)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    shown = f" --cert {out}/client/{CHAIN} --key {out}/client/{KEY}" if ask_clients else ""
    click.echo(
        f"members  blockyard up --tls {out}/doors --internal-tls {out}/internal\n"
        f"clients  export BLOCKYARD_TLS_CA={out}/client BLOCKYARD_INTERNAL_TLS={out}/internal\n"
        f"         curl --cacert {out}/client/{AUTHORITY}{shown} ..."
    )


def checked_host(host: str) -> str:
    """A host name or an address. BadParameter where it is neither."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if len(host) > DNS_CHARACTERS_MAX or _DNS_NAME.fullmatch(host) is None:
            problem = f"{host!r} is neither a DNS name nor an address"
            raise click.BadParameter(problem) from None
        return host


def make(out: Path, hosts: tuple[str, ...], *, ask_clients: bool, days: int) -> None:
    """Three folders. OSError where one cannot be written, or has something already."""
    members = Authority("blockyard members", days=days)
    members.sign(out / "internal", [MEMBER]).show(out / "internal" / AUTHORITY)
    doors = Authority("blockyard front doors", days=days)
    doors.sign(out / "doors", [*HERE, socket.gethostname(), *hosts])
    doors.sign(out / "client", ["client.blockyard"]).show(out / "client" / AUTHORITY)
    if ask_clients:
        doors.show(out / "doors" / CLIENT_AUTHORITY)
