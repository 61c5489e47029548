"""A key that no header can carry is refused before an error of somebody else quotes it."""

from __future__ import annotations

import click
import pytest

from orchestrator.client_key import KEY_VARIABLE, client_key, key_headers


def test_a_key_is_sent_without_the_space_around_it() -> None:
    assert key_headers({KEY_VARIABLE: " by-mine\n"}) == {"authorization": "Bearer by-mine"}
    assert key_headers({}) == {}
    assert client_key({"OTHER": "theirs", KEY_VARIABLE: "ours"}, "OTHER") == "theirs"


@pytest.mark.parametrize("key", ["by-5ecret\nX: y", "by-5ecret ö", "by-5ecr\x1bet", "5ecret\udcff"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(click.ClickException, match=KEY_VARIABLE) as caught:
        key_headers({KEY_VARIABLE: key})
    assert "5ec" not in caught.value.message
    assert caught.value.__context__ is None
