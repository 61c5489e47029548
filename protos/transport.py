"""How our own processes reach one another: in the clear, or by mutual TLS.

With a folder (`ca.crt`, `tls.crt`, `tls.key`), every connection between
gateways, replicas, control planes and operators is encrypted, and both ends
prove that the cluster's own authority has signed them. That authority signs
for nobody else: whoever shows a certificate of it is a member.

Members move between addresses, so a certificate names none. Each is called
MEMBER, and a caller asks for that name wherever it calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import grpc
from grpc import aio

from protos.certificates import CertificateFolder

MEMBER = "blockyard.internal"
AUTHORITY = "ca.crt"
Options: TypeAlias = Sequence[tuple[str, int | str]]


class Transport:
    """Makes channels, and binds servers. Raises BadCertificates when it is made, not later."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = CertificateFolder(folder, AUTHORITY) if folder is not None else None

    @property
    def is_mutual(self) -> bool:
        """Whether both ends prove who they are."""
        return self._own is not None

    def channel(self, address: str, options: Options = ()) -> aio.Channel:
        """To another member, for an event loop."""
        if self._own is None:
            return aio.insecure_channel(address, options=options)
        return aio.secure_channel(address, self._credentials(self._own), options=named(options))

    def blocking_channel(self, address: str, options: Options = ()) -> grpc.Channel:
        """The same for who waits."""
        if self._own is None:
            return grpc.insecure_channel(address, options=options)
        return grpc.secure_channel(address, self._credentials(self._own), options=named(options))

    def bind(self, server: aio.Server, address: str) -> int:
        """Let members in there; the port. Raises RuntimeError when the address is taken."""
        if self._own is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self._own.server_credentials())

    def _credentials(self, own: CertificateFolder) -> grpc.ChannelCredentials:
        now = own.current()
        return grpc.ssl_channel_credentials(now.authority, now.key, now.chain)


def named(options: Options) -> Options:
    return (*options, ("grpc.ssl_target_name_override", MEMBER))
