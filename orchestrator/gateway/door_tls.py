"""TLS of the two front doors, by one folder: `tls.crt` and `tls.key`.

With `client-ca.crt` beside them, clients must show a certificate of that
authority, over HTTP and gRPC alike. It is not called `ca.crt` on purpose:
cert-manager writes that file beside every certificate, and a door must not
close to all clients because of it.

What is renewed on disk is shown at the next handshake. For HTTP the handshake
itself asks, by the hook that OpenSSL has for names; gRPC has one of its own.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from protos.certificates import CHAIN, KEY, CertificateFolder, Certificates

log = logging.getLogger(__name__)

CLIENT_AUTHORITY = "client-ca.crt"


class DoorTls:
    """Raises BadCertificates when it is made, not later."""

    def __init__(self, folder: Path) -> None:
        asks = (folder / CLIENT_AUTHORITY).exists()
        self._own = CertificateFolder(folder, CLIENT_AUTHORITY if asks else None)
        self._shown = self._own.current()
        self._context = self._make(self._shown)

    @property
    def asks_clients(self) -> bool:
        """Whether a client must show a certificate."""
        return self._shown.authority is not None

    def http_context(self) -> ssl.SSLContext:
        """For a server; it changes by itself."""
        front = self._make(self._shown)
        front.sni_callback = self._renew
        return front

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a server; they change by themselves."""
        return self._own.server_credentials()

    def _renew(self, handshake: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        now = self._own.current()
        if now != self._shown:
            try:
                self._context = self._make(now)
                self._shown = now
            except OSError as error:  # of which SSLError is one: renewed again meanwhile
                log.warning("the renewed certificate cannot be used yet: %s", error)
        handshake.context = self._context

    def _make(self, shown: Certificates) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_alpn_protocols(["http/1.1"])
        made.load_cert_chain(self._own.path / CHAIN, self._own.path / KEY)
        if shown.authority is not None:
            made.load_verify_locations(cadata=shown.authority.decode("ascii", "ignore"))
            made.verify_mode = ssl.CERT_REQUIRED
            # A resumed session would not ask again, whoever is trusted by then: none is
            # resumed, which TLS 1.2 could not promise.
            made.minimum_version = ssl.TLSVersion.TLSv1_3
            made.num_tickets = 0
        return made
