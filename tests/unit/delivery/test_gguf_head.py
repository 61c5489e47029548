"""The head of a GGUF file ends where its writer says, and any less is too little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import given
from hypothesis import strategies as st

from replicas.delivery.errors import RemoteUnsound
from replicas.delivery.gguf_head import NeedsMore, head_bytes


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_token_list(["a", "längeres", ""])
    writer.add_token_types([1, 2, 3])
    writer.add_float32("f", 0.5)
    writer.add_bool("yes", True)
    writer.add_uint64("big", 2**40)
    writer.add_array("nested", [[1, 2], [3]])
    writer.add_tensor("t", np.ones((4, 8), dtype=np.float32))
    writer.add_tensor("u", np.ones(3, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_it_ends_before_the_first_tensor_and_less_than_an_alignment_before(file: Path) -> None:
    data = file.read_bytes()
    end, begins = head_bytes(data), GGUFReader(file).data_offset
    assert begins - 32 < end <= begins
    assert head_bytes(data[:end]) == end


@given(data=st.data())
def test_any_less_needs_more(file: Path, data: st.DataObject) -> None:
    content = file.read_bytes()
    cut = data.draw(st.integers(0, head_bytes(content) - 1))
    with pytest.raises(NeedsMore):
        head_bytes(content[:cut])


@pytest.mark.parametrize(
    "beginning",
    [
        b"PK\x03\x04",
        b"GGUF\x01\0\0\0",
        b"GGUF\x03\0\0\0" + bytes(8) + b"\1" + bytes(15) + b"\xff" * 4,
    ],
)
def test_what_is_no_gguf_file_is_refused(beginning: bytes) -> None:
    with pytest.raises(RemoteUnsound):
        head_bytes(beginning)
