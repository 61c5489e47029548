"""Deterministic products and whole schedules on a card, as the interpreter proves them on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from replicas.model.loading import load_model
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.exact import Ledger
from tests.differential.exact_cases import CASES, bench_of
from tests.differential.kernels import CONFIG
from tests.unit.model.triton_cases import triton_kernels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]
CUDA = torch.device("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("inputs", "outputs"), [(1024, 4096), (3072, 1024), (4096, 6144), (14_336, 4096), (130, 99)]
)
def test_products_are_right_and_a_rows_bits_its_own(
    inputs: int, outputs: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator(CUDA).manual_seed(1)
    x, weight = (
        torch.randn((n, inputs), generator=generator, device=CUDA).to(dtype) for n in (700, outputs)
    )
    bias = torch.randn(outputs, generator=generator, device=CUDA).to(dtype)
    linear = triton_kernels(CONFIG, dtype, CUDA, deterministic=True).linear(weight, bias)
    whole = linear(x)
    expected = x.double() @ weight.double().T + bias.double()
    limit = 1e-3 if dtype is torch.float32 else 1e-2
    assert torch.allclose(whole.double(), expected, atol=limit * inputs**0.5, rtol=limit)
    for first, rows in ((0, 1), (699, 1), (0, 2), (13, 16), (5, 33), (1, 64), (60, 256), (3, 697)):
        found = linear(x[first : first + rows].clone())
        assert torch.equal(found, whole[first : first + rows]), (first, rows)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_schedule_changes_a_bit(tmp_path: Path, dtype: str) -> None:
    source = ModelSource("tiny", write_tiny(tmp_path))
    model = load_model(source, device="cuda", dtype=dtype, deterministic=True)
    bench = bench_of(model, Ledger())
    for case in CASES.values():
        bench.check_case(case)
