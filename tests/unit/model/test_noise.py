"""Noise is a function of its key, and looks like chance."""

from __future__ import annotations

import math

import torch

from replicas.model.noise import gumbel_noise, noise_key

CPU = torch.device("cpu")
WORD = (1 << 64) - 1


def splitmix(state: int) -> int:
    """SplitMix64 in whole numbers of Python, as published."""
    z = state & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def test_the_published_generator_is_what_is_computed() -> None:
    """With key 0 the stream is SplitMix64's for seed 0: e220a8397b1dcdaf, 6e789e6aa1b965f4, ..."""
    streams = {0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]}
    for key in (noise_key(7, 1), noise_key(2**63 + 5, 10**6), WORD):
        streams[key] = [splitmix(key + n * 0x9E3779B97F4A7C15) for n in (1, 2, 3)]
    noise = gumbel_noise(list(streams), 3, CPU)
    for row, words in zip(noise.tolist(), streams.values(), strict=True):
        expected = [-math.log(-math.log(((word >> 12) + 0.5) * 2.0**-52)) for word in words]
        assert all(math.isclose(*pair, rel_tol=1e-12) for pair in zip(row, expected, strict=True))


def test_keys_differ_by_seed_and_by_position() -> None:
    keys = {noise_key(seed, position) for seed in range(-3, 60) for position in range(60)}
    assert len(keys) == 63 * 60


def test_any_whole_number_is_a_seed() -> None:
    for seed in (-1, 0, 2**64 - 1, 2**64, 2**200):
        assert torch.isfinite(gumbel_noise([noise_key(seed, 0)], 8, CPU)).all()
    assert noise_key(2**64 + 3, 0) == noise_key(3, 0)


def test_a_row_does_not_depend_on_the_others() -> None:
    together = gumbel_noise([5, 6, 7], 100, CPU)
    assert torch.equal(gumbel_noise([6], 100, CPU)[0], together[1])


def test_the_noise_has_gumbels_distribution() -> None:
    """Kolmogorov-Smirnov over 400,000 numbers, half along tokens and half along positions."""
    keys = [noise_key(3, position) for position in range(400)]
    noise = gumbel_noise(keys, 1000, CPU)
    for numbers in (noise.flatten(), noise[:, 0]):
        ordered = numbers.sort().values
        expected = torch.exp(-torch.exp(-ordered))
        steps = torch.arange(1, len(ordered) + 1) / len(ordered)
        distance = (expected - steps).abs().max().item() * math.sqrt(len(ordered))
        assert distance < 1.95  # exceeded by chance once in a thousand; the seed is fixed
    correlation = torch.corrcoef(noise[:, :50].T).fill_diagonal_(0).abs().max().item()
    assert correlation < 0.25
