"""The engine's running totals, each token counted once under what it was."""

from __future__ import annotations

from dataclasses import dataclass

from protos.messages import EngineCounters
from replicas.engine.sequence import Sequence


@dataclass(slots=True)
class Tally:
    """EngineCounters in the making: the same fields, and the rules by which they grow."""

    requests_finished: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    prefill_tokens: int = 0
    recomputed_tokens: int = 0
    decode_tokens: int = 0
    preemptions: int = 0
    steps: int = 0
    sequences_imported: int = 0
    sequences_exported: int = 0
    copied_tokens: int = 0
    guessed_tokens: int = 0
    accepted_tokens: int = 0
    pauses: int = 0
    restored_tokens: int = 0

    def add_admission(self, sequence: Sequence) -> None:
        """A first admission. Its choices share one prompt, which counts once."""
        self.prompt_tokens += sequence.request.given_tokens
        self.hit_tokens += sequence.hit_tokens
        self.copied_tokens += sequence.copied_tokens

    def add_computed(self, sequence: Sequence, tokens: int) -> None:
        """The sequence is about to advance by so many tokens."""
        start, stop = sequence.computed, sequence.computed + tokens
        if start >= sequence.recomputed_end and start >= sequence.request.given_tokens:
            self.decode_tokens += tokens  # like most rows of most steps
            return
        again = max(start, min(stop, sequence.recomputed_end))
        given_end = max(again, min(stop, sequence.request.given_tokens))
        self.recomputed_tokens += again - start
        self.prefill_tokens += given_end - again
        self.decode_tokens += stop - given_end

    def add_guesses(self, guessed: int, *, accepted: int) -> None:
        """So many tokens were guessed, and so many of them said."""
        self.guessed_tokens += guessed
        self.accepted_tokens += accepted

    def counters(self) -> EngineCounters:
        """The totals as a message."""
        return EngineCounters(
            requests_finished=self.requests_finished,
            prompt_tokens=self.prompt_tokens,
            hit_tokens=self.hit_tokens,
            prefill_tokens=self.prefill_tokens,
            recomputed_tokens=self.recomputed_tokens,
            decode_tokens=self.decode_tokens,
            preemptions=self.preemptions,
            steps=self.steps,
            sequences_imported=self.sequences_imported,
            sequences_exported=self.sequences_exported,
            copied_tokens=self.copied_tokens,
            guessed_tokens=self.guessed_tokens,
            accepted_tokens=self.accepted_tokens,
            pauses=self.pauses,
            restored_tokens=self.restored_tokens,
        )
