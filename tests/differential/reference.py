"""Hugging Face transformers as the judge of what a model should have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tests.differential.paged import Line

LOGPROB_TOLERANCE = 1e-3
TIE_MARGIN = 1e-4


class Reference:
    """A transformers model in float32 with the plainest attention it has.

    It reads prompt and completion in one pass without a cache. If at every
    place it would have chosen the next token that was chosen, then generating
    step by step it would have said the same.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.float().eval()
        self._seen: dict[tuple[int, ...], Tensor] = {}
        self.ties = 0

    def check(self, line: Line) -> None:
        """Every token of the line is the reference's, with the same log-probability.

        Where the reference itself is undecided by less than rounding, the
        other token is accepted and counted in `ties`.
        """
        expected = self._logprobs(line.prompt, line.output)
        for place, (token, logprobs) in enumerate(zip(line.chosen, expected, strict=True)):
            best = int(logprobs.argmax())
            if token.token != best:
                margin = float(logprobs[best] - logprobs[token.token])
                assert margin < TIE_MARGIN, f"token {place} of {len(line.prompt)}-token prompt"
                self.ties += 1
            assert token.logprob is not None
            for other, logprob in ((token.token, token.logprob), *token.top):
                assert abs(float(logprobs[other]) - logprob) < LOGPROB_TOLERANCE

    def _logprobs(self, prompt: Sequence[int], output: Sequence[int]) -> Tensor:
        tokens = (*prompt, *output[:-1])
        if tokens not in self._seen:
            with torch.inference_mode():
                logits = self._model(torch.tensor([tokens]), logits_to_keep=len(output)).logits
            self._seen[tokens] = logits[0].log_softmax(-1)
        return self._seen[tokens]
