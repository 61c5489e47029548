"""What is asked of `python -m replicas` reaches whoever builds the replica."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

import replicas.__main__ as command
from replicas.serving.build import DoesNotFit


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--blocks=7", "blocks_total", 7),
        ("--block-size=8", "block_size", 8),
        ("--host-gib=0.5", "host_gib", 0.5),
        ("--device=cpu", "device", "cpu"),
        ("--dtype=bfloat16", "dtype", "bfloat16"),
        ("--guesses-max=3", "guesses_max", 3),
        ("--deterministic", "deterministic", True),
    ],
)
def test_what_is_asked_for_is_built(
    argument: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def build(_config: object, **arguments: Any) -> None:
        told.append(arguments)
        raise DoesNotFit("It was only asked for.")

    monkeypatch.setattr(command, "build_replica", build)
    for arguments in ([], [argument]):
        result = CliRunner().invoke(command.main, ["--model", "tiny", *arguments])
        assert (result.exit_code, result.output) == (2, "error: It was only asked for.\n")
    by_default, asked = told
    assert asked == by_default | {name: value}
    assert asked != by_default, "it is so without being asked for"
