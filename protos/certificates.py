"""A process's certificate, read from a folder as cert-manager and Kubernetes write it.

`tls.crt` is the chain, `tls.key` its key, and a third file names the authority
whose certificates the other side must show. What is renewed on disk is used at
the next handshake: nothing is restarted, connections that are open stay. A
folder that cannot be read, or whose parts do not belong together, as in the
middle of a renewal, changes nothing: the last good certificate stays, and a
line of the log says so. Only at the start it is an error.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

log = logging.getLogger(__name__)

CHAIN, KEY = "tls.crt", "tls.key"


class BadCertificates(ValueError):
    """The folder holds no certificate that could be shown; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What one folder holds, as PEM."""

    chain: bytes
    key: bytes
    authority: bytes | None  # whoever must be believed shows a certificate of this one

    @classmethod
    def read(cls, folder: Path, authority: str | None) -> Certificates:
        """As they are. `authority` is a file beside the two. Raises BadCertificates."""
        names = (CHAIN, KEY) if authority is None else (CHAIN, KEY, authority)
        try:
            files = [(folder / name).read_bytes() for name in names]
        except OSError as error:
            raise BadCertificates(f"cannot read {error.filename}: {error.strerror}") from error
        return cls(files[0], files[1], files[2] if authority is not None else None)

    def check(self) -> None:
        """Raises BadCertificates unless they can be used, and belong together."""
        try:
            shown = x509.load_pem_x509_certificates(self.chain)[0].public_key()
            own = load_pem_private_key(self.key, password=None).public_key()
            if self.authority is not None:
                x509.load_pem_x509_certificates(self.authority)
        except (ValueError, TypeError) as error:  # TypeError: the key asks for a password
            raise BadCertificates(f"they cannot be used: {error}") from None
        if shown != own:
            raise BadCertificates(f"{KEY} is not the key of {CHAIN}")

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """As gRPC's servers take it."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authority)


class CertificateFolder:
    """The newest good certificates of one folder."""

    def __init__(self, folder: Path, authority: str | None) -> None:
        """`authority`: the file with whom to believe; None: the other side shows nothing.

        Raises BadCertificates.
        """
        self.path = folder
        self._authority = authority
        self._complaint = ""
        self._seen = self._good = Certificates.read(folder, authority)
        try:
            self._seen.check()
        except BadCertificates as error:
            raise BadCertificates(f"the certificates in {folder}: {error}") from None

    def current(self) -> Certificates:
        """Read at every call: three small files beside the handshake that asks for them."""
        try:
            now = Certificates.read(self.path, self._authority)
            if now != self._seen:
                self._seen = now
                now.check()
                self._good, self._complaint = now, ""
                log.info("the certificate in %s is another one now", self.path)
        except BadCertificates as error:
            if str(error) != self._complaint:
                log.warning("kept the last certificate of %s: %s", self.path, error)
            self._complaint = str(error)
        return self._good

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC server that shows these, whatever they are by then.

        With an authority it admits only who shows a certificate of that one.
        """
        return grpc.dynamic_ssl_server_credentials(
            self._good.server_configuration(),
            lambda: self.current().server_configuration(),
            require_client_authentication=self._authority is not None,
        )
