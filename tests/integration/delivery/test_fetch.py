"""A model comes from a real server, whole and checked, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from replicas.delivery.config import Delivery
from replicas.delivery.contents import Part
from replicas.delivery.errors import (
    CacheUnusable,
    ChecksumMismatch,
    ChecksumMissing,
    RemoteRefused,
    RemoteUnavailable,
    RemoteUnsound,
)
from replicas.delivery.fetch import fetch
from replicas.delivery.location import locate
from replicas.model.errors import ModelNotFound
from tests.integration.delivery.conftest import CHUNK_BYTES, WEIGHTS_BYTES
from tests.integration.delivery.server import Fault, ModelServer

WEIGHTS = "model.safetensors"
MODEL = {"config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def published(delivery: Delivery) -> list[Path]:
    return [p for p in delivery.folder.glob("*/*") if p.is_dir() and p.suffix != ".partial"]


def test_a_folder_comes_as_it_is_and_what_is_pickled_does_not(
    server: ModelServer, delivery: Delivery
) -> None:
    folder = fetch(locate(server.url), delivery)
    assert names(folder) == MODEL
    for name in MODEL:
        assert (folder / name).read_bytes() == server.files[name]
    assert server.gets("pytorch_model.bin") == []


def test_memory_is_bounded_by_chunks(server: ModelServer, delivery: Delivery) -> None:
    fetch(locate(server.url), delivery)
    asked = server.gets(WEIGHTS)
    assert len(asked) == -(-WEIGHTS_BYTES // CHUNK_BYTES)
    assert all(each.end is not None and each.end - each.start <= CHUNK_BYTES for each in asked)


def test_what_is_here_is_not_fetched_again(server: ModelServer, delivery: Delivery) -> None:
    first = fetch(locate(server.url), delivery)
    before = len(server.gets(WEIGHTS))
    assert fetch(locate(server.url + "/"), delivery) == first
    assert len(server.gets(WEIGHTS)) == before


def test_another_version_gets_another_folder(server: ModelServer, delivery: Delivery) -> None:
    first = fetch(locate(server.url), delivery)
    server.files[WEIGHTS] = server.files[WEIGHTS][::-1]
    second = fetch(locate(server.url), delivery)
    assert second != first
    assert (second / WEIGHTS).read_bytes() == server.files[WEIGHTS]
    assert (first / WEIGHTS).read_bytes() != server.files[WEIGHTS], "somebody may be reading it"


def test_a_connection_that_breaks_is_gone_on_with(server: ModelServer, delivery: Delivery) -> None:
    server.faults = [Fault(WEIGHTS, cut_at=200_000, times=99), Fault(WEIGHTS, status=503, times=2)]
    server.faults[0].times = 4  # three whole chunks, and the one that is cut
    folder = fetch(locate(server.url), delivery)
    assert (folder / WEIGHTS).read_bytes() == server.files[WEIGHTS]
    starts = [each.start for each in server.gets(WEIGHTS)]
    assert starts == sorted(starts), "nothing that came is asked for again"
    assert starts.count(3 * CHUNK_BYTES) == 4, "the one that was cut, two refusals, and the rest"


def test_a_server_that_stays_away_is_given_up(server: ModelServer, delivery: Delivery) -> None:
    server.faults = [Fault(WEIGHTS, status=503, times=99)]
    with pytest.raises(RemoteUnavailable, match=r"model\.safetensors.*503.*tried 4 times"):
        fetch(locate(server.url), delivery)
    assert len(server.gets(WEIGHTS)) == delivery.patience.tries
    assert published(delivery) == []


def test_a_server_that_refuses_is_asked_once(server: ModelServer, delivery: Delivery) -> None:
    server.status_of_all = 401
    with pytest.raises(RemoteRefused, match=r"config\.json.*401"):
        fetch(locate(server.url), delivery)
    assert len(server.gets("config.json")) == 1


def test_no_model_is_no_model(server: ModelServer, delivery: Delivery) -> None:
    with pytest.raises(ModelNotFound, match=r"no config\.json at http://.*/models/other"):
        fetch(locate(server.url.replace("llama", "other")), delivery)


def test_a_file_that_is_not_what_it_should_be_is_removed(
    server: ModelServer, delivery: Delivery
) -> None:
    """Mended, only that file comes again. Fails if `_check` does not compare digests."""
    server.write_sums()
    right = server.files[WEIGHTS]
    server.files[WEIGHTS] = right[:300_000] + bytes([right[300_000] ^ 1]) + right[300_001:]
    with pytest.raises(ChecksumMismatch, match=r"model\.safetensors.*SHA256SUMS.*removed"):
        fetch(locate(server.url), delivery)
    assert published(delivery) == []
    assert list(delivery.folder.glob(f"*/*/{WEIGHTS}")) == []
    server.files[WEIGHTS] = right
    server.asked.clear()
    folder = fetch(locate(server.url), delivery)
    assert names(folder) == MODEL | {"SHA256SUMS"}
    assert server.gets(WEIGHTS)[0].start == 0
    assert server.gets("tokenizer.json") == []


def test_checksums_can_be_demanded(server: ModelServer, delivery: Delivery) -> None:
    strict = dataclasses.replace(delivery, needs_sums=True)
    with pytest.raises(ChecksumMissing, match="no SHA256SUMS"):
        fetch(locate(server.url), strict)
    server.write_sums()
    sums = server.files["SHA256SUMS"]
    server.files["SHA256SUMS"] = sums.replace(b"tokenizer.json", b"other.json")
    with pytest.raises(ChecksumMissing, match=r"does not name tokenizer\.json"):
        fetch(locate(server.url), strict)
    assert server.gets(WEIGHTS) == []
    server.files["SHA256SUMS"] = sums
    assert names(fetch(locate(server.url), strict)) == MODEL | {"SHA256SUMS"}


def test_a_file_that_changes_while_it_comes_is_found_out(
    server: ModelServer, delivery: Delivery
) -> None:
    """Fails if `_check` does not look again."""
    held = Fault(WEIGHTS, cut_at=100_000, times=2)
    server.faults = [held, Fault(WEIGHTS, status=503, times=2)]
    original = server.note

    def change(asked: object) -> Fault | None:
        fault = original(asked)  # type: ignore[arg-type]
        if fault is not None and fault.status == 503:
            server.files[WEIGHTS] = server.files[WEIGHTS][::-1]
        return fault

    server.note = change  # type: ignore[method-assign]
    server.faults[1].times = 1
    with pytest.raises(RemoteUnsound, match="changed while it was fetched"):
        fetch(locate(server.url), delivery)
    assert published(delivery) == []


def test_a_server_without_ranges_will_do(server: ModelServer, delivery: Delivery) -> None:
    server.knows_ranges = False
    server.faults = [Fault(WEIGHTS, cut_at=400_000, times=2)]
    folder = fetch(locate(server.url), delivery)
    assert (folder / WEIGHTS).read_bytes() == server.files[WEIGHTS]


def test_shards_come_as_the_index_names_them(server: ModelServer, delivery: Delivery) -> None:
    weights = server.files.pop(WEIGHTS)
    shards = {f"model-{n}.safetensors": weights[n * 1000 : (n + 1) * 1000] for n in range(6)}
    index = {"weight_map": {f"w{n}": name for n, name in enumerate(shards)}}
    server.files |= shards
    server.files["model.safetensors.index.json"] = json.dumps(index).encode()
    folder = fetch(locate(server.url), delivery)
    for name, data in shards.items():
        assert (folder / name).read_bytes() == data


@pytest.mark.parametrize(
    "name", ["../escaped.safetensors", "/tmp/escaped.safetensors", "a/b.safetensors", "config.json"]
)
def test_no_remote_name_leaves_the_cache(
    server: ModelServer, delivery: Delivery, name: str
) -> None:
    index = {"weight_map": {"w": name}}
    server.files["model.safetensors.index.json"] = json.dumps(index).encode()
    with pytest.raises(RemoteUnsound, match="no weight file beside it"):
        fetch(locate(server.url), delivery)
    assert published(delivery) == []


def test_a_gateway_gets_its_files_and_no_weights(server: ModelServer, delivery: Delivery) -> None:
    folder = fetch(locate(server.url), delivery, Part.TOKENIZER)
    assert names(folder) == MODEL - {WEIGHTS}
    assert server.gets(WEIGHTS) == []


def test_a_store_that_is_away_stops_nobody_who_was_here_before(
    server: ModelServer, delivery: Delivery
) -> None:
    first = fetch(locate(server.url), delivery)
    server.status_of_all = 503
    assert fetch(locate(server.url), delivery) == first
    with pytest.raises(RemoteUnavailable):
        fetch(locate(server.url), dataclasses.replace(delivery, needs_sums=True))
    with pytest.raises(RemoteUnavailable):
        fetch(locate(server.url), delivery, Part.TOKENIZER)


def test_what_was_damaged_on_the_shelf_comes_again(server: ModelServer, delivery: Delivery) -> None:
    folder = fetch(locate(server.url), delivery)
    (folder / WEIGHTS).write_bytes(b"short")
    assert fetch(locate(server.url), delivery) == folder
    assert (folder / WEIGHTS).read_bytes() == server.files[WEIGHTS]


def test_room_is_looked_for_before_anything_comes(
    server: ModelServer, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - WEIGHTS_BYTES, WEIGHTS_BYTES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheUnusable, match=r"600\.0 KB are to come.*room for 600\.0 KB"):
        fetch(locate(server.url), delivery)
    assert server.gets(WEIGHTS) == []


def test_what_came_of_an_older_version_is_swept_away(
    server: ModelServer, delivery: Delivery
) -> None:
    server.faults = [Fault(WEIGHTS, status=404, times=1)]
    with pytest.raises(RemoteUnsound, match="is gone"):
        fetch(locate(server.url), delivery)
    assert len(list(delivery.folder.glob("*/*.partial"))) == 1
    server.files[WEIGHTS] = server.files[WEIGHTS][::-1]
    fetch(locate(server.url), delivery)
    assert list(delivery.folder.glob("*/*.partial")) == []
