"""Choose tokens from logits.

A choice depends on its own logits, parameters, seed and position, on nothing
else: not on its row, not on the other rows, not on what was drawn before.
Drawing is Gumbel-max over noise that is a pure function (noise.py); order is
penalties and bans, grammar, then log-probabilities, then temperature, then
truncation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from protos.messages import SampledToken
from replicas.engine.plan import Sample
from replicas.model.grammar import Grammars
from replicas.model.noise import gumbel_noise, noise_key
from replicas.model.penalties import leaves_scores_alone, penalise
from replicas.model.sums import row_sums
from replicas.model.truncation import truncate

# Rows drawn at a time: noise takes some 40 bytes per row and vocabulary entry.
DRAW_ROWS = 32


def choose(
    logits: Tensor,
    samples_of_rows: Sequence[Sequence[Sample]],
    grammars: Grammars | None = None,
) -> list[tuple[SampledToken, ...]]:
    """One token per sample; row n of `logits` (float32, changed in place) serves all of its.

    Without `grammars` no sample may have one.
    """
    samples = [sample for of_row in samples_of_rows for sample in of_row]
    if len(samples) != len(samples_of_rows):
        sources = [n for n, of_row in enumerate(samples_of_rows) for _ in of_row]
        logits = logits[sources]
    for scores, sample in zip(logits, samples, strict=True):
        if not leaves_scores_alone(sample):
            penalise(scores, sample)
        if sample.params.grammar:
            assert grammars is not None, "a grammar for a replica that knows no text"
            grammars.constrain(scores, sample)
    chosen = _choose_flat(logits, samples)
    tokens = iter(_described(logits, chosen, samples))
    return [tuple(next(tokens) for _ in of_row) for of_row in samples_of_rows]


def _choose_flat(scores: Tensor, samples: Sequence[Sample]) -> list[int]:
    chosen: list[int] = scores.argmax(1).tolist()
    drawn = [n for n, sample in enumerate(samples) if sample.params.temperature > 0]
    for first in range(0, len(drawn), DRAW_ROWS):
        rows = drawn[first : first + DRAW_ROWS]
        tokens = _draw(scores[rows], [samples[n] for n in rows])
        for n, token in zip(rows, tokens, strict=True):
            chosen[n] = token
    return chosen


def _draw(scores: Tensor, samples: Sequence[Sample]) -> list[int]:
    params = [sample.params for sample in samples]
    # In float64 and from the maximum down, no temperature above 0 can overflow.
    weights = scores.double()
    weights -= weights.amax(1, keepdim=True)
    weights /= weights.new_tensor([[each.temperature] for each in params])
    truncate(weights, params)
    keys = [noise_key(each.seed, len(each.prompt) + len(each.output)) for each in samples]
    weights += gumbel_noise(keys, scores.shape[1], scores.device)
    tokens: list[int] = weights.argmax(1).tolist()
    return tokens


def _described(
    scores: Tensor, chosen: Sequence[int], samples: Sequence[Sample]
) -> list[SampledToken]:
    """The chosen tokens, with log-probabilities where they were asked for."""
    tokens = [SampledToken(token) for token in chosen]
    asked = [n for n, sample in enumerate(samples) if sample.params.logprobs is not None]
    if not asked:
        return tokens
    logprobs = _log_softmax(scores[asked])
    for line, n in zip(logprobs, asked, strict=True):
        wanted = min(samples[n].params.logprobs or 0, len(line))
        # As many as this sample wants: which of several equals come depends on how many are sought.
        best = line.topk(wanted)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        # A grammar may leave fewer tokens than were asked for.
        top = tuple(each for each in pairs if each[1] > -math.inf)
        tokens[n] = SampledToken(chosen[n], float(line[chosen[n]]), top)
    return tokens


def _log_softmax(scores: Tensor) -> Tensor:
    """As torch's, but for the order of the sum."""
    lowered = scores - scores.amax(1, keepdim=True)
    return lowered - row_sums(lowered.exp()).log()
