"""SHA256SUMS as `sha256sum` writes and reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from replicas.delivery.errors import RemoteUnsound
from replicas.delivery.sums import SUMS, read_sums, write_sums

A, B = "a" * 64, "b" * 64


def test_what_is_written_is_read_and_believed_by_coreutils(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "weights").write_bytes(bytes(3_000_000))
    written = write_sums(tmp_path, ["weights", "config.json"])
    assert written == tmp_path / SUMS
    assert read_sums(written.read_bytes()).keys() == {"config.json", "weights"}
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path, check=True)


def test_it_is_read_in_every_form_that_tools_write() -> None:
    text = f"# made\n\n{A}  plain\n{B} *binary\r\n{A.upper()}  ./in folder\n"
    assert read_sums(text.encode()) == {"plain": A, "binary": B, "in folder": A}


@pytest.mark.parametrize(
    "text", ["no digest", f"{A[1:]}  x", f"{A}x", f"{A}  x\n{B}  x", "<html>\n", "\udcff"]
)
def test_what_is_no_list_of_digests_is_refused(text: str) -> None:
    with pytest.raises(RemoteUnsound):
        read_sums(text.encode("utf-8", "surrogateescape"))
