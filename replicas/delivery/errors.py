"""What can keep a model from arriving.

Each message is a sentence that names the model, the file and the way out, and
none repeats a credential: whatever a library says goes through
`Location.scrub` first, and no original error is chained to these.
"""

from __future__ import annotations

from replicas.model.errors import ModelError


class DeliveryError(ModelError):
    """A model could not be brought here."""


class UnknownStore(DeliveryError):
    """No library is there for such a URL, or it is none."""


class RemoteRefused(DeliveryError):
    """The store answers, and what it says will not change by asking again."""


class RemoteUnavailable(DeliveryError):
    """The store did not answer, however often it was asked."""


class RemoteUnsound(DeliveryError):
    """What the store says about the model cannot be used."""


class ChecksumMismatch(DeliveryError):
    """A file is not what SHA256SUMS says; it has been removed."""


class ChecksumMissing(DeliveryError):
    """Checksums are asked for, and a file has none."""


class CacheUnusable(DeliveryError):
    """The cache folder cannot be written, locked or is full."""


class Interrupted(DeliveryError):
    """Whoever asked for the model no longer wants it."""
