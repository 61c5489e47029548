"""What `up` tells a person to type next works as it stands."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from orchestrator.__main__ import blockyard
from orchestrator.live.commands.up import banner
from orchestrator.live.local import LocalOptions

REDIS = "redis://127.0.0.1:6379/0"


def lines_of(options: LocalOptions) -> tuple[str, str]:
    """The commands for `chat` and for `status`."""
    lines = banner(options, REDIS).splitlines()
    (chat,) = (line for line in lines if "blockyard chat" in line)
    (status,) = (line for line in lines if "blockyard status" in line)
    return chat, status


def test_in_the_clear_the_commands_need_nothing() -> None:
    assert not any("BLOCKYARD_" in line for line in lines_of(LocalOptions()))


def test_with_tls_and_keys_the_commands_name_what_they_need(tmp_path: Path) -> None:
    made = tmp_path / "of mine"
    assert CliRunner().invoke(blockyard, ["certs", "--out", str(made)]).exit_code == 0
    options = LocalOptions(
        tls=made / "doors", internal_tls=made / "internal", keys_file=tmp_path / "keys.toml"
    )
    chat, status = lines_of(options)
    assert f"BLOCKYARD_TLS_CA='{made}/client' BLOCKYARD_API_KEY=... blockyard" in chat
    assert f"BLOCKYARD_INTERNAL_TLS='{made}/internal' blockyard" in status


def test_an_authority_that_is_not_known_is_left_to_the_person(tmp_path: Path) -> None:
    chat, _ = lines_of(LocalOptions(tls=tmp_path / "doors"))
    assert "BLOCKYARD_TLS_CA=... blockyard" in chat
