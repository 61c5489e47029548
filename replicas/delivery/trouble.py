"""What an error of a store means: that something is not there, not allowed, or not now.

Stores are many and each library raises what it likes, often one error inside
another. Only what is known to last counts as lasting; the rest is asked again,
within bounds.
"""

from __future__ import annotations

from enum import Enum

import aiohttp

from replicas.delivery.object_stores import REFUSALS

GONE = (404, 410)
# Client errors that pass: a time-out, a conflict of moments, too many requests.
PASSING = (408, 425, 429)
CLIENT_ERRORS = range(400, 500)


class Trouble(Enum):
    ABSENT = "absent"
    REFUSED = "refused"
    PASSING = "passing"


def trouble_of(error: Exception) -> Trouble:
    """An HTTP status, where one is told, says more than the error around it."""
    cause = error.__cause__
    for each in (error, cause):
        if isinstance(each, aiohttp.ClientResponseError):
            return _of_status(each.status)
    if isinstance(error, (PermissionError, *REFUSALS)):
        return Trouble.REFUSED
    if isinstance(error, FileNotFoundError):
        # fsspec says so of a server that it could not reach, too.
        broken = isinstance(cause, (aiohttp.ClientError, TimeoutError, ConnectionError))
        return Trouble.PASSING if broken else Trouble.ABSENT
    if isinstance(error, (ValueError, TypeError, NotImplementedError, IsADirectoryError)):
        return Trouble.REFUSED
    return Trouble.PASSING


def _of_status(status: int) -> Trouble:
    if status in GONE:
        return Trouble.ABSENT
    lasts = status in CLIENT_ERRORS and status not in PASSING
    return Trouble.REFUSED if lasts else Trouble.PASSING
