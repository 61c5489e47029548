"""Leave out unlikely tokens before drawing: top-k, top-p, min-p.

Each is a cutoff on the score, computed per row; a token is drawn only if it
reaches all of them, and tokens of equal score stay or go together. Top-p counts
probability within what top-k left; min-p compares with the likeliest token
(so its place in the order does not matter). The likeliest token always stays.

Sorting a vocabulary is dear and rarely needed: the nucleus is looked for in
the best `DEPTH` scores, and only rows whose nucleus is wider are sorted whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from protos.messages import SamplingParams
from replicas.model.sums import row_sums, running_sums

DEPTH = 1024


def truncate(scores: Tensor, params: Sequence[SamplingParams]) -> None:
    """Set scores below a row's cutoffs to minus infinity, in place.

    `scores` are [rows, vocabulary], divided by temperature, each row's maximum 0.
    """
    cutoff = scores.new_tensor(
        [[math.log(each.min_p) if each.min_p else -math.inf] for each in params]
    )
    vocab = scores.shape[1]
    limited = [n for n, each in enumerate(params) if each.top_p < 1.0 or _k(each, vocab) < vocab]
    if limited:
        best_k = torch.tensor([[_k(params[n], vocab)] for n in limited], device=scores.device)
        # A sum of all probabilities may round to a little less or more than 1.
        mass = scores.new_tensor(
            [[params[n].top_p if params[n].top_p < 1.0 else math.inf] for n in limited]
        )
        cutoff[limited] = torch.maximum(cutoff[limited], _nucleus(scores[limited], best_k, mass))
    scores.masked_fill_(scores < cutoff, -torch.inf)


def _k(params: SamplingParams, vocab: int) -> int:
    return vocab if params.top_k is None else min(params.top_k, vocab)


def _nucleus(scores: Tensor, best_k: Tensor, mass: Tensor) -> Tensor:
    """[rows, 1]: the lowest score among the k best whose better ones hold less than `mass`."""
    vocab = scores.shape[1]
    # As deep for every batch: the order of a sum depends on how many there are to sum.
    cutoff, found = _cutoff_within(scores, best_k, mass, min(vocab, DEPTH))
    wider = (~found).squeeze(1).nonzero().squeeze(1)
    if wider.numel():
        cutoff[wider], _ = _cutoff_within(scores[wider], best_k[wider], mass[wider], vocab)
    return cutoff


def _cutoff_within(
    scores: Tensor, best_k: Tensor, mass: Tensor, depth: int
) -> tuple[Tensor, Tensor]:
    """The cutoff as seen in the best `depth` scores, and whether that was deep enough."""
    is_unlimited = best_k >= scores.shape[1]
    best = scores.topk(depth).values
    ranks = torch.arange(depth, device=scores.device)
    best = best.masked_fill(ranks >= best_k, -torch.inf)
    # The best score is 0, so nothing overflows.
    shares = best.exp()
    running = running_sums(shares)
    total = torch.where(is_unlimited, row_sums(scores.exp()), running[:, -1:])
    kept = (running - shares < mass * total) & (best > -torch.inf)
    kept[:, 0] = True
    cutoff = best.masked_fill(~kept, torch.inf).amin(1, keepdim=True)
    found = (best_k <= depth) | (is_unlimited & ~kept[:, -1:])
    return cutoff, found
