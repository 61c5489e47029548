"""Change scores before anything is chosen: repetition, presence, frequency, too early an end.

Repetition divides a positive score and multiplies a negative one, for tokens
of prompt and completion (Keskar et al., 2019). Presence and frequency subtract,
for tokens of the completion. A completion still shorter than `tokens_min`
cannot take a stop token.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from replicas.engine.plan import Sample


def penalise(scores: Tensor, sample: Sample) -> None:
    """Apply one choice's penalties and bans to its scores, a vector, in place."""
    params = sample.params
    if params.repetition_penalty != 1.0:
        _repetition(scores, (*sample.prompt, *sample.output), params.repetition_penalty)
    if (params.presence_penalty or params.frequency_penalty) and sample.output:
        tokens, counts = np.unique(np.array(sample.output, dtype=np.int64), return_counts=True)
        dues = params.presence_penalty + params.frequency_penalty * counts
        scores[torch.from_numpy(tokens)] -= torch.from_numpy(dues).to(scores)
    if len(sample.output) < params.tokens_min:
        known = [token for token in params.stop_token_ids if 0 <= token < scores.shape[0]]
        scores[known] = -torch.inf


def leaves_scores_alone(sample: Sample) -> bool:
    """Whether `penalise` would change nothing."""
    params = sample.params
    return (
        params.repetition_penalty == 1.0
        and not params.presence_penalty
        and not params.frequency_penalty
        and len(sample.output) >= params.tokens_min
    )


def _repetition(scores: Tensor, tokens: tuple[int, ...], penalty: float) -> None:
    seen = torch.from_numpy(np.unique(np.array(tokens, dtype=np.int64))).to(scores.device)
    values = scores[seen]
    scores[seen] = torch.where(values > 0, values / penalty, values * penalty)
