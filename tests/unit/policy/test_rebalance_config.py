"""The knobs of rebalancing: which may be turned while the cluster runs, and to what."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from orchestrator.policy.rebalance_config import (
    KNOBS,
    RebalanceConfig,
    knob_text,
    set_knob,
    set_knobs,
    turned_knobs,
)

CONFIG = RebalanceConfig()


def test_every_knob_is_a_field_and_reads_what_it_shows() -> None:
    assert set(KNOBS) <= {field.name for field in fields(RebalanceConfig)}
    for name in KNOBS:
        assert set_knob(CONFIG, name, knob_text(CONFIG, name)) == CONFIG


def test_a_knob_changes_only_itself() -> None:
    assert set_knob(CONFIG, "enabled", "OFF") == replace(CONFIG, enabled=False)
    assert set_knob(CONFIG, "gap_begin", "12.5") == replace(CONFIG, gap_begin=12.5)
    assert set_knob(CONFIG, "moves_out_max", "0") == replace(CONFIG, moves_out_max=0)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("speed", "1", "no knob 'speed'"),
        ("gain_min", "1", "no knob 'gain_min'"),  # a field, but not a knob
        ("enabled", "maybe", "on or off"),
        ("gap_begin", "wide", "a number"),
        ("gap_begin", "nan", "finite"),
        ("gap_begin", "inf", "finite"),
        ("gap_begin", "1", "gap_stop must not be above gap_begin"),
        ("interval_ms", "0", "at least 1"),
        ("interval_ms", "2.5", "a whole number"),
        ("moves_in_max", "-1", "negative"),
        ("headroom_share", "5", "from 0 to 1"),
        ("moves_out_max", "1.5", "whole number"),
        ("moves_out_max", "99999999999999999999", "at most"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(name: str, text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        set_knob(CONFIG, name, text)


def test_what_was_turned_is_told_in_words_that_turn_it_again() -> None:
    assert turned_knobs(CONFIG, CONFIG) == {}
    policy = replace(CONFIG, enabled=False, gap_begin=1.0, gap_stop=0.5, cooldown_ms=7)
    turned = turned_knobs(CONFIG, policy)
    assert turned == {"enabled": "off", "gap_begin": "1.0", "gap_stop": "0.5", "cooldown_ms": "7"}
    assert set_knobs(CONFIG, turned) == policy
