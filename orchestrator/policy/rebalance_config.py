"""What rebalancing is tuned by, and which of it may change while the cluster runs.

Defaults are cautious: below half of its blocks a replica gives nothing away,
since there is nothing to win but the price of copying. A pair of replicas
begins to balance at a wide gap and stops at a narrow one, so that a small
swing of the load moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

NS_PER_MS = 1_000_000
VALUE_MAX = 1_000_000_000  # of any knob: eleven days, or more blocks than there are


@dataclass(frozen=True, slots=True)
class RebalanceConfig:
    """Thresholds and bounds. Freeness is in blocks for each running sequence."""

    enabled: bool = True  # balance and room; a drain needs no permission
    interval_ms: int = 500  # between two looks at the fleet
    used_share_min: float = 0.5  # of its blocks, below which a replica gives none away
    gap_begin: float = 8.0  # difference of freeness at which a pair begins to balance
    gap_stop: float = 2.0  # and at which it stops
    gain_min: float = 0.05  # by which the poorer of the two must be better off afterwards
    headroom_share: float = 0.05  # of all blocks, kept for the growth of interactive sequences
    growth_tokens: int = 64  # that a target must have room for beyond what the sequence has
    tokens_left_min: int = 64  # a sequence closer to its end is left where it is
    moves_out_max: int = 2  # of one source at once
    moves_in_max: int = 2  # to one target at once
    # The same for a replica that is to be emptied; what it hands back counts, too. More than
    # replicas allow at once (replicas/shell/moves/limits.py) would only be refused.
    drain_moves_max: int = 2
    cooldown_ms: int = 10_000  # for a sequence that moved, and for the way back of its pair
    retry_ms: int = 1_000  # for a sequence that could not move, and a target that declined
    deadline_ms: int = 10_000  # of one move

    def __post_init__(self) -> None:
        if self.gap_stop > self.gap_begin:
            raise ValueError("gap_stop must not be above gap_begin, or balancing never rests")
        if self.gain_min <= 0:
            raise ValueError("gain_min must be above 0, or sequences may move for ever")
        for share in ("used_share_min", "headroom_share"):
            if not 0.0 <= getattr(self, share) <= 1.0:
                raise ValueError(f"{share} is a share of all blocks: from 0 to 1")
        for positive in ("interval_ms", "deadline_ms"):
            if getattr(self, positive) < 1:
                raise ValueError(f"{positive} must be at least 1")
        negative = [field.name for field in fields(self) if getattr(self, field.name) < 0]
        if negative:
            raise ValueError(f"{negative[0]} must not be negative")


# Settable while the cluster runs, each with what it does. The rest is decided at the start.
KNOBS: Mapping[str, str] = {
    "enabled": "move sequences between replicas that stay: on or off (drains always move)",
    "interval_ms": "time between two looks at the fleet",
    "used_share_min": "share of its blocks below which a replica gives no sequence away",
    "gap_begin": "difference of freeness at which a pair of replicas begins to balance",
    "gap_stop": "difference of freeness at which it stops",
    "headroom_share": "share of blocks kept free for the growth of interactive sequences",
    "tokens_left_min": "a sequence with fewer tokens left is not moved",
    "moves_out_max": "moves out of one replica at once",
    "moves_in_max": "moves into one replica at once",
    "drain_moves_max": "the same while a replica is emptied, what it hands back included",
    "cooldown_ms": "time before a sequence that moved may move again",
}
SWITCH = {"on": True, "true": True, "off": False, "false": False}


def set_knob(config: RebalanceConfig, name: str, text: str) -> RebalanceConfig:
    """The same with one knob turned. ValueError says what is wrong with the name or the value."""
    return set_knobs(config, {name: text})


def set_knobs(config: RebalanceConfig, knobs: Mapping[str, str]) -> RebalanceConfig:
    """The same with all of these turned at once: only together need they make sense."""
    values = {name: knob_value(config, name, text) for name, text in knobs.items()}
    return replace(config, **values)  # type: ignore[arg-type]


def turned_knobs(config: RebalanceConfig, policy: RebalanceConfig) -> dict[str, str]:
    """The knobs that make `policy` out of `config`, as `set_knobs` reads them."""
    return {
        name: knob_text(policy, name)
        for name in KNOBS
        if getattr(policy, name) != getattr(config, name)
    }


def knob_value(config: RebalanceConfig, name: str, text: str) -> float:
    if name not in KNOBS:
        raise ValueError(f"no knob {name!r}; there are {', '.join(KNOBS)}")
    match getattr(config, name):
        case bool():
            if text.lower() not in SWITCH:
                raise ValueError(f"{name} is on or off, not {text!r}")
            return SWITCH[text.lower()]
        case int():
            return parsed(int, name, text)
        case _:
            return parsed(float, name, text)


def parsed(kind: type[int] | type[float], name: str, text: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name} is {wanted}, not {text!r}") from None
    if not abs(value) <= VALUE_MAX:
        raise ValueError(f"{name} is finite and at most {VALUE_MAX}, not {text!r}")
    return value


def knob_text(config: RebalanceConfig, name: str) -> str:
    """A knob's value as `set_knob` reads it."""
    value = getattr(config, name)
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
