"""A request has the same logits and the same choices, to the bit, however it is scheduled.

Requests of all kinds of sampling on the real engine and the real runner, with
the tiny model: what each says alone is what all schedules are compared with.
The promise is that of deterministic kernels; torch's keep to a tolerance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from replicas.model.loading import load_model
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.exact import Ledger, Schedule, play
from tests.differential.exact_cases import CASES, Bench, Case, bench_of
from tests.differential.kernels import native_library


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield write_tiny(tmp_path_factory.mktemp("models"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def bench(request: pytest.FixtureRequest, folder: Path) -> Bench:
    native_library()
    source = ModelSource("tiny", folder)
    model = load_model(source, device="cpu", dtype=request.param, deterministic=True)
    return bench_of(model, Ledger())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_schedule_changes_a_bit(bench: Bench, case: Case) -> None:
    bench.check_case(case)


@pytest.mark.parametrize("seed", range(3))
def test_nor_do_schedules_at_random(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    size = rng.choice((1, 4, 16, 32))
    schedule = Schedule(
        block_size=size,
        blocks_total=rng.choice((700, 1000, 4000)) // size,
        step_tokens_max=rng.randint(20, 400),
        sequences_max=rng.randint(2, 20),
        guesses_max=rng.choice((0, 3, 8)),
        host_blocks=rng.choice((0, 100, 4000)) // size,
    )
    requests = rng.sample(bench.requests, len(bench.requests))
    bench.check(bench.sites(schedule, rng.choice((1, 2))), requests, seed)


# What README.md states: of logits up to 13. A bfloat16 of 8 to 16 has a last place of 1/16.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.25}


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_torch_keeps_to_a_tolerance_and_in_float32_to_the_greedy_tokens(
    folder: Path, dtype: str
) -> None:
    """Where a token differs, what follows has another context and is not compared."""
    source = ModelSource("tiny", folder)
    model = load_model(source, device="cpu", dtype=dtype, kernels="torch")
    ledger = Ledger(TOLERANCES[dtype])
    bench = bench_of(model, ledger)
    for case in CASES.values():
        said = play(
            bench.sites(case.schedule, case.sites), bench.requests[case.first :], random.Random(1)
        )
        for (name, choice), tokens in said.items():
            if dtype == "float32" and bench.requests[int(name)].sampling.temperature == 0:
                told = [token.token for token in bench.expected[name, choice]]
                assert [token.token for token in tokens] == told
    assert ledger.compared > 500
    assert ledger.farthest > 0, "or they could be called deterministic"
