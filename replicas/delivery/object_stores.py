"""S3, Google Cloud Storage and Azure for fsspec, by obstore, where nothing else speaks them.

obstore is an optional extra (`stores`): one wheel that needs no other package.
Who has s3fs, gcsfs or adlfs installed goes on using it. Credentials and
endpoints come from the environment that those clouds' own tools read
(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_WEB_IDENTITY_TOKEN_FILE,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, ...).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import fsspec

try:
    from obstore import exceptions
    from obstore.fsspec import register
except ImportError:
    INSTALLED = False
    REFUSALS: tuple[type[Exception], ...] = ()
else:
    INSTALLED = True
    REFUSALS = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl")
HOW_TO = "S3, Google Cloud Storage and Azure need the extra `stores` (pip install obstore)"


def adopted(scheme: str) -> dict[str, Any] | None:
    """The options to open it with, where obstore speaks for that scheme from now on."""
    if not INSTALLED or scheme not in SCHEMES:
        return None
    try:
        speaks = fsspec.get_filesystem_class(scheme)
    except ImportError:
        register(scheme)
        speaks = fsspec.get_filesystem_class(scheme)
    if not speaks.__module__.startswith("obstore"):
        return None
    # How often to ask again is decided in one place, and that is not there.
    return {"retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}}
