"""What comes with a model is data: weights, templates and names neither run nor reach anything."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from orchestrator.gateway.chat_template import ChatTemplate
from orchestrator.gateway.errors import InvalidRequest
from orchestrator.registry.memory import MemoryRegistry
from replicas.model.errors import ModelError
from replicas.model.loading import open_model
from replicas.model.tiny import write_tiny
from tests.integration.gateway.conftest import Served, serving
from tests.integration.gateway.scripted import ScriptedReplica


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model.bin",
        "model.pt",
        "model.pth",
        "model.ckpt",
        "model.pkl",
        "model.safetensors",  # in name only
        "model.safetensors.index.json",
    ],
)
def test_a_planted_pickle_is_refused_by_name_and_never_opened(tmp_path: Path, name: str) -> None:
    folder, sprung = tmp_path / "model", tmp_path / "sprung"
    folder.mkdir()
    (folder / "config.json").write_bytes((write_tiny(tmp_path) / "config.json").read_bytes())
    (folder / name).write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=name):
        open_model(folder)
    assert not sprung.exists()


def test_a_pickle_called_gguf_is_refused(tmp_path: Path) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "model.gguf"
    file.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=r"model\.gguf"):
        open_model(file)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../b"])
def test_an_index_names_only_files_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_bytes((write_tiny(tmp_path) / "config.json").read_bytes())
    index = {"weight_map": {"model.norm.weight": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="not a file beside it"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ strftime_now.__globals__['json'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages|attr('__class__') }}{{ messages.__class__.__base__ }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ messages.append(1) }}",
        "{% for x in range(10**9) %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_a_template_gets_out_of_nowhere(template: str) -> None:
    with pytest.raises(InvalidRequest):
        ChatTemplate(template).render([{"role": "user", "content": "Hi"}])


def test_what_a_client_writes_is_no_template() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    words = "{{ 7 * 7 }}{% raw %}{# note #}"
    assert template.render([{"role": "user", "content": words}]) == words


@pytest.fixture
async def served(
    tmp_path: Path, replica: ScriptedReplica, registry: MemoryRegistry
) -> AsyncIterator[Served]:
    async with serving(tmp_path, replica, registry) as served:
        yield served


@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "file:///etc/passwd", "%00"],
)
async def test_a_model_is_a_name_and_no_path(served: Served, name: str) -> None:
    async with served.http() as client:
        asked = await client.post("/v1/completions", json={"prompt": "a", "model": name})
        listed = await client.get(f"/v1/models/{name}")
    for answer in (asked, listed):
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert answer.headers["content-type"] == "application/json"
        assert "root:" not in answer.text
    assert not served.replica.requests
