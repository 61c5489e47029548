"""`blockyard explain` and `decisions` of whatever a person types."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest
from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from orchestrator.live.gateway_door import in_path


@pytest.mark.parametrize("word", ["mine-1", "acme/mine", "a\nb", "\x1b[2J", "?a#b%2F", "Größe"])
def test_a_name_is_one_part_of_a_path_and_comes_out_as_it_was(word: str) -> None:
    url = httpx.URL(f"http://gateway/v1/requests/{in_path(word)}/explain")
    parts = url.raw_path.decode().split("/")
    assert unquote(parts[3]) == word
    assert parts[4:] == ["explain"]


def test_bytes_that_are_no_text_are_sent_as_they_are() -> None:
    assert in_path("a\udcff") == "a%FF"


def test_no_name_is_a_mistake_of_usage() -> None:
    asked = CliRunner().invoke(blockyard, ["explain", ""])
    assert asked.exit_code == 2
    assert "REQUEST is empty" in asked.output
