"""A process that reads damaged models, one after another, and says what came of each.

It may not have much more memory than a sound one took, nor long: so a file that
makes its reader allocate for what it merely claims, or loop, is found out, and
one that crashes it takes nothing with it but this process.

    python -m tests.property.model.reader model|tokenizer SOUND DAMAGED...

A line of JSON for each damaged one, flushed before the next is looked at.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from types import FrameType

import torch

from orchestrator.gateway.tokenizer import load_tokenizer
from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.model.loading import load_model, open_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from replicas.model.stored import check_tensors, tensor_shapes

MEMORY_MIB = 192  # besides what the process has; a file here has a few hundred KiB
SECONDS = 10
PROMPT = (1, 2, 3)


class TookTooLong(Exception):
    """Nothing that has so few bytes takes so long to read."""


def read_model(path: Path) -> str:
    """Load it and compute a token: what is taken for a model must be one."""
    config, stored = open_model(path)
    check_tensors(config, stored)
    for name, shape in tensor_shapes(config).items():
        assert min(shape) >= 1, f"{name} is empty"
        assert stored[name].read().shape == shape, f"{name} is not of the shape that it has"
    model = load_model(ModelSource("m", path), device="cpu", dtype="float32", kernels="torch")
    runner = TorchRunner(model, blocks_total=1, block_size=16)
    sample = Sample(SamplingParams(tokens_max=1, temperature=0.0), 0, PROMPT, ())
    outcome = runner.run(StepPlan((), (Row(PROMPT, 0, (BlockId(0),), (sample,)),)))
    assert 0 <= outcome.sampled[0][0].token < config.vocab_size
    return repr(config)


def read_tokenizer(path: Path) -> str:
    """Load it and write something."""
    tokenizer = load_tokenizer(path)
    tokens = tokenizer.encode_text("ab 12")
    assert all(token >= 0 for token in tokens)
    return f"{tokenizer.vocab_size} tokens, {len(tokenizer.spelling)} spelled"


def report(kind: str, path: Path) -> dict[str, str]:
    """What came of it: `sound`, or the error."""
    read = read_model if kind == "model" else read_tokenizer
    signal.alarm(SECONDS)
    try:
        return {"error": "", "says": read(path)}
    except BaseException as error:  # of any kind: which are allowed, the test knows
        return {"error": type(error).__name__, "says": str(error)}
    finally:
        signal.alarm(0)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TookTooLong(f"after {SECONDS} seconds")


def main(kind: str, sound: Path, *damaged: Path) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _give_up)
    first = report(kind, sound)
    assert not first["error"], first
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (MEMORY_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in damaged:
        print(json.dumps({"path": str(path), **report(kind, path)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
