"""What is no URL is said to be none, before anybody is called; what TLS may be why of is said."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from orchestrator.live.gateway_door import GatewayDoor, NoUrl, checked_url


@pytest.mark.parametrize("words", [("chat", "hi"), ("explain", "abc"), ("top", "--once")])
@pytest.mark.parametrize(
    "url", ["http://[bad", "127.0.0.1:8000", "localhost:8000", "ftp://x", "http://", ""]
)
def test_what_is_no_url_is_said_to_be_none(words: tuple[str, ...], url: str) -> None:
    result = CliRunner().invoke(blockyard, [*words, "--url", url])
    assert result.exit_code == 2
    assert "is not a URL" in result.output


@pytest.mark.parametrize("url", ["http://h:port", "http://h:99999", "http://a b"])
def test_neither_a_wrong_port_nor_a_blank_makes_a_url(url: str) -> None:
    with pytest.raises(NoUrl):
        checked_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "https://[::1]:8000", "http://host/x"])
def test_a_url_loses_only_the_slash_at_its_end(url: str) -> None:
    assert checked_url(url + "/") == url


def test_a_handshake_in_vain_says_which_option_helps() -> None:
    door = GatewayDoor("http://127.0.0.1:8000")
    hung_up = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    assert "--tls-ca" in door.said_of(hung_up)
    assert "--tls-ca" in door.said_of(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] no"))
    assert "--tls-ca" not in door.said_of(httpx.ConnectError("[Errno 111] Connection refused"))
