"""Everything that one run was told, and the requests that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from orchestrator.load.ask import Ask
from orchestrator.load.prompts import Form, Ruler, chat_form, ids_form, text_form
from orchestrator.load.server import Server
from orchestrator.load.spikes import Spike
from orchestrator.load.token_ids import TokenIds
from orchestrator.load.words import Words
from orchestrator.load.workloads import AFTERMATH_S, SECONDS, SYNTHETIC, replayed, synthesize
from orchestrator.workload.traffic import NS_PER_S, Traffic


class Prompts(Enum):
    """How a prompt is written."""

    CHAT = "chat"
    TEXT = "text"
    IDS = "ids"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    urls: tuple[str, ...]
    workload: str  # a name, or a trace's path
    prompts: Prompts
    seed: int = 0
    rate: float = 1.0  # of a named workload, requests a second
    speed: float = 1.0  # of a trace
    seconds: float | None = None
    spikes: tuple[Spike, ...] = ()
    scale: float = 1.0  # of all lengths
    vocab: int = 32_000
    model: str | None = None  # None: the server's first
    deadline_s: float = 300.0
    is_resuming: bool = False

    def traffic(self) -> Traffic:
        """What is due when. Raises BadTrace."""
        if self.workload not in SYNTHETIC:
            return replayed(
                Path(self.workload),
                speed=self.speed,
                seconds=self.seconds,
                spikes=self.spikes,
                seed=self.seed,
            )
        return synthesize(
            self.workload,
            rate=self.rate,
            seconds=self._default_s if self.seconds is None else self.seconds,
            spikes=self.spikes,
            seed=self.seed,
        )

    def seconds_of(self, traffic: Traffic) -> float:
        """How long requests are sent."""
        if self.seconds is not None:
            return self.seconds
        return self._default_s if self.workload in SYNTHETIC else traffic.seconds

    @property
    def _default_s(self) -> float:
        """Of a named workload: its spikes, and what becomes of the last one."""
        return max([SECONDS, *(spike.ends_s + AFTERMATH_S for spike in self.spikes)])

    def asks(self, traffic: Traffic, server: Server, *, run_name: str) -> Iterator[Ask]:
        """The requests, each made when it is asked for: a trace's prompts would fill the memory."""
        form = self._form(server.ruler or Ruler(), traffic.block_size)
        for arrival in traffic.arrivals:
            output_tokens = max(1, round(arrival.output_tokens * self.scale))
            yield Ask(
                number=arrival.number,
                tag=arrival.tag,
                request_class=arrival.request_class.value,
                due_s=arrival.arrival_ns / NS_PER_S,
                body=server.body(form(arrival), output_tokens),
                deadline_s=self.deadline_s,
                name=f"{run_name}-{arrival.number}",
            )

    def _form(self, ruler: Ruler, block_size: int) -> Form:
        match self.prompts:
            case Prompts.CHAT:
                words = Words(self.seed)
                return chat_form(words, ruler, scale=self.scale, block_size=block_size)
            case Prompts.TEXT:
                words = Words(self.seed)
                return text_form(words, ruler, scale=self.scale, block_size=block_size)
            case Prompts.IDS:
                ids = TokenIds(self.seed, self.vocab)
                return ids_form(ids, scale=self.scale, block_size=block_size)
