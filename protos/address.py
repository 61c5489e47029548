"""Where a process listens, written as others read it: `host:port`."""

from __future__ import annotations


class CannotListen(Exception):
    """The address is taken, or it is not this machine's."""


def host_port(host: str, port: int) -> str:
    """The two as one address, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
