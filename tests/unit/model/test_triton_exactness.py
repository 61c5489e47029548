"""On deterministic Triton kernels no schedule changes a bit of a logit either.

The real engine and runner, as in tests/differential/test_exactness.py, on a
model and on requests that are small enough for the interpreter.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from protos.messages import Request, RequestId, SamplingParams
from replicas.model.loading import DTYPES, load_model
from replicas.model.source import ModelSource
from tests.differential.exact import Ledger, Said, Schedule, Site, play
from tests.differential.kernels import CONFIG
from tests.unit.model.checkpoints import SMALL, random_tensors, write_folder
from tests.unit.model.triton_cases import triton_kernels

SAMPLING = SamplingParams(tokens_max=6, temperature=0.0, logprobs=5)
DRAWN = SamplingParams(tokens_max=7, temperature=1.0, top_p=0.9, repetition_penalty=1.2)


def crowd() -> list[Request]:
    rng = random.Random(2)
    begin = tuple(rng.randrange(SMALL.vocab_size) for _ in range(9))
    return [
        Request(
            RequestId(str(n)),
            (*begin, *(rng.randrange(SMALL.vocab_size) for _ in range(3 + n))),
            DRAWN if n % 2 else SAMPLING,
        )
        for n in range(2)
    ]


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_schedule_changes_a_bit(tmp_path: Path, dtype: str) -> None:
    triton_kernels(CONFIG, DTYPES[dtype])
    folder = write_folder(tmp_path / "small", random_tensors())
    source = ModelSource("small", folder)
    model = load_model(source, device="cpu", dtype=dtype, kernels="triton", deterministic=True)
    requests, ledger, expected = crowd(), Ledger(), Said()
    for request in requests:
        expected |= play([Site(model, Schedule(4), ledger)], [request], random.Random(0))
    sites = [Site(model, Schedule(4, 16, step_tokens_max=5), ledger) for _ in range(2)]
    assert play(sites, requests, random.Random(1)) == expected
    for case in ("moves", "chunked"):
        assert sum(site.seen[case] for site in sites) > 0
    assert ledger.compared > 10
