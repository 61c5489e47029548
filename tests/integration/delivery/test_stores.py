"""Every kind of store that a URL may name here: S3, files, memory; folders and GGUF files."""

from __future__ import annotations

import dataclasses
import importlib.util
from hashlib import sha256
from pathlib import Path

import fsspec
import numpy as np
import pytest
from gguf import GGUFWriter

from orchestrator.gateway.tokenizer import load_tokenizer
from replicas.delivery.config import Delivery
from replicas.delivery.contents import Part
from replicas.delivery.errors import ChecksumMissing, RemoteRefused, RemoteUnsound
from replicas.delivery.fetch import fetch
from replicas.delivery.location import locate
from replicas.model.loading import open_model
from replicas.model.source import resolve_model
from tests.integration.delivery.server import Fault, ModelServer

WEIGHTS = "model.safetensors"


@pytest.fixture
def s3(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    if importlib.util.find_spec("obstore") is None:
        pytest.skip("obstore (the extra `stores`) is not installed")
    server.needs_signature = True
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{server.host}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "key-id",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
    }.items():
        monkeypatch.setenv(name, value)
    return server


def test_s3_is_spoken_with_credentials_from_the_environment(
    s3: ModelServer, delivery: Delivery
) -> None:
    s3.write_sums()
    s3.faults = [Fault(WEIGHTS, cut_at=200_000, times=2), Fault(WEIGHTS, status=503, times=1)]
    folder = fetch(locate("s3://models/llama"), dataclasses.replace(delivery, needs_sums=True))
    assert (folder / WEIGHTS).read_bytes() == s3.files[WEIGHTS]


def test_s3_that_refuses_says_so(
    s3: ModelServer, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(RemoteRefused, match=r"s3://models/llama.*config\.json"):
        fetch(locate("s3://models/llama"), delivery)


def test_a_folder_of_files_is_delivered_too(delivery: Delivery, tmp_path: Path) -> None:
    source = resolve_model("tiny", cache=tmp_path / "made").path
    found = resolve_model(source.as_uri(), delivery=delivery)
    assert found.name == "tiny-1"
    assert found.path != source
    config, tensors = open_model(found.path)
    assert config.layers == 4
    assert tensors.keys() == open_model(source)[1].keys()


def test_the_same_folder_in_memory(delivery: Delivery, tmp_path: Path) -> None:
    source = resolve_model("tiny", cache=tmp_path / "made").path
    memory = fsspec.filesystem("memory")
    memory.put(str(source), "/bucket/tiny", recursive=True)
    try:
        found = resolve_model("memory://bucket/tiny", delivery=delivery)
        assert open_model(found.path)[0].layers == 4
    finally:
        memory.rm("/bucket", recursive=True)


def gguf(path: Path) -> bytes:
    """A model of no use with a byte-level vocabulary and a megabyte of weights."""
    writer = GGUFWriter(path, "llama")
    tokens = [chr(ord("a") + n) for n in range(26)] + ["ab", "<|end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 27 + [3])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(27)
    writer.add_tensor("token_embd.weight", np.ones((512, 512), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_a_gguf_file_comes_whole_for_a_replica_and_its_head_for_a_gateway(
    server: ModelServer, delivery: Delivery, tmp_path: Path
) -> None:
    data = server.files["Small%20Q4.gguf"] = gguf(tmp_path / "made.gguf")
    url = f"{server.url}/Small%20Q4.gguf"
    here = resolve_model(url, delivery=delivery, part=Part.TOKENIZER)
    assert load_tokenizer(here.path).encode_text("ab") == (26,)
    asked = server.gets("Small%20Q4.gguf")
    assert sum((each.end or 0) - each.start for each in asked) < len(data) / 4
    whole = resolve_model(url, delivery=delivery)
    assert (whole.name, whole.path.name) == ("Small-Q4", "Small-Q4.gguf")
    assert whole.path.read_bytes() == data
    assert whole.path != here.path, "half a model must not be found where a whole one is sought"


def test_of_a_gguf_file_that_must_be_proven_a_gateway_takes_all(
    server: ModelServer, delivery: Delivery, tmp_path: Path
) -> None:
    data = server.files["small.gguf"] = gguf(tmp_path / "made.gguf")
    location = locate(f"{server.url}/small.gguf")
    strict = dataclasses.replace(delivery, needs_sums=True)
    with pytest.raises(ChecksumMissing):
        fetch(location, strict, Part.TOKENIZER)
    server.files["SHA256SUMS"] = f"{sha256(data).hexdigest()} *./small.gguf\n".encode()
    assert fetch(location, strict, Part.TOKENIZER).read_bytes() == data


def test_what_is_no_gguf_file_is_refused(server: ModelServer, delivery: Delivery) -> None:
    server.files["page.gguf"] = b"<html>" + bytes(100)
    with pytest.raises(RemoteUnsound, match=r"page\.gguf is no GGUF file"):
        fetch(locate(f"{server.url}/page.gguf"), delivery, Part.TOKENIZER)
