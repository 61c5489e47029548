"""What is asked again, how often, after which pauses; and what is not."""

from __future__ import annotations

import errno

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from replicas.delivery.config import Patience
from replicas.delivery.trouble import Trouble, trouble_of


def response_error(status: int) -> aiohttp.ClientResponseError:
    url = URL("http://host/x")
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    info = aiohttp.RequestInfo(url, "GET", headers, url)
    return aiohttp.ClientResponseError(info, (), status=status)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (FileNotFoundError("x"), Trouble.ABSENT),
        (caused(FileNotFoundError("x"), response_error(404)), Trouble.ABSENT),
        (caused(FileNotFoundError("x"), response_error(503)), Trouble.PASSING),
        (caused(FileNotFoundError("x"), aiohttp.ClientConnectionError()), Trouble.PASSING),
        (response_error(403), Trouble.REFUSED),
        (response_error(429), Trouble.PASSING),
        (response_error(500), Trouble.PASSING),
        (PermissionError("x"), Trouble.REFUSED),
        (ValueError("x"), Trouble.REFUSED),
        (TimeoutError(), Trouble.PASSING),
        (OSError(errno.EIO, "x"), Trouble.PASSING),
        (EOFError("x"), Trouble.PASSING),
    ],
)
def test_only_what_is_known_to_last_is_not_asked_again(error: Exception, trouble: Trouble) -> None:
    assert trouble_of(error) is trouble


def test_pauses_grow_to_a_bound() -> None:
    patience = Patience(tries=8, first_ms=100, longest_ms=1_000)
    for failures, longest_s in ((1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (1_000, 1.0)):
        pauses = [patience.pause_s(failures) for _ in range(50)]
        assert longest_s / 2 <= min(pauses) <= max(pauses) <= longest_s
        assert len(set(pauses)) > 1, "a fleet does not come back as one"
