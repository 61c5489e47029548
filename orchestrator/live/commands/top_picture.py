"""The state of the live page as a picture for a terminal.

Pure: a state in, something to print out. Every kind of block has a sign of
its own, and every workload a mark, so that nothing hangs on a colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

State = Mapping[str, Any]

STALE_S = 3.5
BAR_CELLS = 32
SPARKS = "▁▂▃▄▅▆▇█"
SPARKS_SHOWN = 24
MOVES_SHOWN = 4
ROWS_BESIDE = 17  # of the screen, which are not the replicas' or the requests'
ROWS_MIN = 5
# In the order in which a pool fills; what is promised is free or cached still.
BLOCKS = (
    ("shared", "█", "bold cyan"),
    ("private", "▓", "cyan"),
    ("promised", "◇", "yellow"),
    ("cached", "░", "blue"),
    ("free", "·", "bright_black"),
)
MARKS = {"interactive": "●", "agent": "▲", "batch": "■"}
STYLES = {"interactive": "blue", "agent": "dark_orange", "batch": "bright_black"}
PHASES = {"waiting": "in line", "prefill": "prefill", "decode": "streaming"}
STANDINGS = {"open": "green", "leaving": "yellow", "silent": "bold red"}


@dataclass(slots=True)
class Speed:
    """Tokens a second between two states."""

    at_ms: int = 0
    tokens: int | None = None

    def after(self, state: State) -> float | None:
        """None for the first state, and where a replica began anew."""
        before, at_ms = self.tokens, self.at_ms
        self.tokens = sum(replica["decode_tokens"] for replica in state["replicas"])
        self.at_ms = state["at_ms"]
        if before is None or self.tokens < before or self.at_ms <= at_ms:
            return None
        return (self.tokens - before) * 1000 / (self.at_ms - at_ms)


def picture(
    state: State, tokens_per_s: float | None, *, rows: int, age_s: float = 0.0
) -> RenderableType:
    """Everything that `rows` lines hold; requests give way first."""
    room = max(ROWS_MIN, rows - ROWS_BESIDE - len(state["replicas"]))
    parts: list[RenderableType] = [
        heading(state, tokens_per_s, age_s),
        replicas_table(state["replicas"]),
        legend(),
        pace_table(state["pace"]),
        requests_table(state["requests"][:room]),
    ]
    parts.extend(move_line(move) for move in state["moves"][:MOVES_SHOWN])
    return Group(*parts)


def heading(state: State, tokens_per_s: float | None, age_s: float) -> Text:
    """How it is, in a line."""
    model = state["model"]["name"] if state["model"] else "no model yet"
    line = sum(state["waiting"].values())
    speed = "" if tokens_per_s is None else f", {tokens_per_s:.0f} tokens/s"
    text = Text("blockyard ", style="bold")
    text.append(f"{model}  ", style="not bold")
    text.append(*news(state, age_s))
    text.append(f"  {state['in_flight']} streams, {line} in line{speed}", style="not bold")
    return text


def news(state: State, age_s: float) -> tuple[str, str]:
    """How much of the picture to believe, and in which style to say it."""
    silent = sum(replica["state"] == "silent" for replica in state["replicas"])
    if age_s > STALE_S:
        return f"NO NEWS FOR {age_s:.0f} s: all below is old", "bold red"
    if silent:
        return f"{silent} of {len(state['replicas'])} replicas silent", "bold red"
    if not state["is_ready"]:
        return "no replica takes work", "bold yellow"
    return "live", "green"


# ---- replicas


def replicas_table(replicas: Sequence[State]) -> Table:
    table = plain("replica", "", "blocks", right=("used", "of", "running", "waiting", "step ms"))
    for replica in replicas:
        blocks = replica["blocks"]
        state, step_ms = replica["state"], replica["step_ms"]
        table.add_row(
            replica["replica"],
            Text(state, style=STANDINGS[state]),
            bar(blocks),
            str(blocks["shared"] + blocks["private"]),
            str(blocks["total"]),
            str(replica["running"]),
            str(replica["waiting"]),
            "-" if step_ms is None else f"{step_ms:.1f}",
        )
    return table


def bar(blocks: Mapping[str, int]) -> Text:
    """A pool in few cells. Whatever there is any of has at least one."""
    from_free = min(blocks["promised"], blocks["free"])
    from_cached = min(blocks["promised"] - from_free, blocks["cached"])
    amounts = {
        **blocks,
        "promised": from_free + from_cached,
        "cached": blocks["cached"] - from_cached,
    }
    text, before = Text(), 0
    for kind, sign, style in BLOCKS[:-1]:
        before += amounts[kind]
        stop = round(before / blocks["total"] * BAR_CELLS)
        if amounts[kind]:
            stop = min(BAR_CELLS, max(stop, len(text) + 1))
        text.append(sign * (stop - len(text)), style=style)
    _, sign, style = BLOCKS[-1]
    return text.append(sign * (BAR_CELLS - len(text)), style=style)


def legend() -> Text:
    text = Text(" ")
    for kind, sign, style in BLOCKS:
        text.append(f" {sign}", style=style).append(f" {kind} ", style="bright_black")
    return text


# ---- how fast


def pace_table(pace: State) -> Table:
    """Medians of the last minute, and of the minutes before as a line of their own."""
    table = plain("", "first token", "", "per token", "")
    for workload, sign in MARKS.items():
        name = Text(f"{sign} {workload}", style=STYLES[workload])
        cells: list[RenderableType] = [name]
        for figure in ("ttft", "tpot"):
            cells.append(duration(pace["now"][figure].get(workload)))
            cells.append(Text(sparks(pace, figure, workload), style=STYLES[workload]))
        table.add_row(*cells)
    return table


def sparks(pace: State, figure: str, workload: str) -> str:
    """Medians over time, in proportion to their logarithms; a gap where there was nothing."""
    medians = {bucket: median for bucket, _, median, _ in pace[figure].get(workload, ())}
    logs = {bucket: math.log(max(median, 0.01)) for bucket, median in medians.items()}
    if not logs:
        return ""
    least, most = min(logs.values()), max(logs.values())
    spread = max(most - least, math.log(2))  # what hardly changes is not drawn as a storm
    last: int = pace["last"]
    return "".join(
        SPARKS[int((logs[bucket] - least) / spread * (len(SPARKS) - 1))] if bucket in logs else " "
        for bucket in range(last - SPARKS_SHOWN + 1, last + 1)
    )


# ---- requests and moves


def requests_table(requests: Sequence[State]) -> Table:
    table = plain(
        "request", "is", "on", "because", right=("prompt", "found", "first", "output", "per token")
    )
    for request in requests:
        ended = request["phase"] == "ended"
        workload = request["class"]
        name = Text(f"{MARKS[workload]} ", style=STYLES[workload])
        table.add_row(
            name.append(request["request_id"], style="default"),
            request["outcome"] if ended else Text(PHASES[request["phase"]], style="green"),
            request["replica"] or "-",
            (request["reason"] or "-").replace("_", " "),
            str(request["prompt_tokens"]),
            str(request["hit_tokens"]),
            duration(request["ttft_ms"]),
            str(request["completion_tokens"]),
            duration(request["tpot_ms"]),
            style="bright_black" if ended else "",
        )
    return table


def move_line(move: State) -> Text:
    text = Text(f" {move['source']} → {move['target'] or 'gateway'}", style="bold")
    ending = move["end"].replace("_", " ")
    return text.append(
        f"  {move['request_id']}, {ending}, {move['age_ms'] / 1000:.0f} s ago", style="not bold"
    )


def plain(*left: str, right: Sequence[str] = ()) -> Table:
    """A table without lines: words, then numbers."""
    table = Table(box=None, pad_edge=True, header_style="bright_black")
    for name in left:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def duration(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
