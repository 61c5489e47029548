"""No credential of a model's URL is shown: in no log, error, traceback or name of a file."""

from __future__ import annotations

import base64
import dataclasses
import logging
import traceback

import pytest

from replicas.delivery.config import Delivery
from replicas.delivery.fetch import fetch
from replicas.delivery.location import Location, locate
from replicas.model.errors import ModelError
from tests.integration.delivery.server import Fault, ModelServer

USER, PASSWORD, TOKEN = "some-user", "pass-w0rd", "sig-4f2e"


def with_secrets(server: ModelServer) -> Location:
    url = server.url.replace("http://", f"http://{USER}:{PASSWORD}@")
    return locate(f"{url}?signature={TOKEN}")


def assert_no_secret(text: str) -> None:
    for secret in (USER, PASSWORD, TOKEN):
        assert secret not in text
    assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in text


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_whatever_fails(
    server: ModelServer, delivery: Delivery, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails for 401 if `scrub` returns what it is given."""
    caplog.set_level(logging.INFO)
    server.status_of_all = status
    with pytest.raises(ModelError) as raised:
        fetch(with_secrets(server), delivery)
    assert_no_secret("".join(traceback.format_exception(raised.value)))
    assert_no_secret(caplog.text)


def test_nothing_listens(
    server: ModelServer, delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    location = Location(with_secrets(server).url.replace(server.host, "127.0.0.1:1"))
    with pytest.raises(ModelError) as raised:
        fetch(location, delivery)
    assert_no_secret("".join(traceback.format_exception(raised.value)) + caplog.text)


def test_what_works_neither(
    server: ModelServer, delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.faults = [Fault("model.safetensors", cut_at=100_000, times=2)]
    folder = fetch(with_secrets(server), delivery)
    assert_no_secret(caplog.text)
    assert_no_secret("\n".join(map(str, delivery.folder.rglob("*"))))
    assert_no_secret(repr(with_secrets(server)) + str(folder))
    assert "fetched 600.0 KB from http://127.0.0.1" in caplog.text


def test_a_url_with_secrets_can_stand_in_the_environment(
    server: ModelServer, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_URL", with_secrets(server).url)
    folder = fetch(locate("env:MODEL_URL"), dataclasses.replace(delivery))
    assert (folder / "model.safetensors").read_bytes() == server.files["model.safetensors"]
