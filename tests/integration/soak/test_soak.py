"""A long mix of everything leaks no block and no memory, and answers everybody rightly.

BLOCKYARD_SOAK_S says for how long (20 seconds here, 1200 before a release); with
`pytest -s` it tells how it goes.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import psutil
import pytest
import torch

from protos.messages import Delta, EngineCounters, RequestId
from replicas.engine.config import EngineConfig
from replicas.engine.engine import Engine
from replicas.engine.plan import BlockId, BlockLoad, HostSlot
from replicas.model.host_memory import HostMemory
from replicas.model.kernels.native import NativeKernels
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from replicas.model.tiny import write_tiny
from tests.differential.served import Served
from tests.integration.soak.client import Answer
from tests.integration.soak.member import Member
from tests.integration.soak.soak import VOCAB, Soak, draw_request

SOAK_S = float(os.environ.get("BLOCKYARD_SOAK_S", "20"))
WARM_UP = 0.3  # of the time: allocators and caches have grown by then
GROWTH_MIB_MAX = 8  # sound runs grow by less than one; 20 minutes of 100 bytes a turn are more
BLOCK_SIZE = 16
AMPLE = 128  # blocks: for any one request
KNOWN = 40


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of this process after the warm-up and at the end."""

    settled: int
    end: int

    def check_flat(self) -> None:
        grown = (self.end - self.settled) / (1 << 20)
        assert grown <= GROWTH_MIB_MAX, f"memory grew by {grown:.1f} MiB"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = write_tiny(tmp_path_factory.mktemp("models"))
    yield load_model(ModelSource("tiny", folder), device="cpu", dtype="float32")
    torch.set_num_threads(threads)


def soak_of(model: LoadedModel, seed: int = 1) -> tuple[Soak, tuple[Member, Member]]:
    rng = random.Random(seed)
    beginnings = [tuple(rng.randrange(VOCAB) for _ in range(n)) for n in (0, 20, 64, 150)]
    requests = [draw_request(rng, f"known{n}", beginnings) for n in range(KNOWN)]
    card = model.card(BLOCK_SIZE)
    ample = EngineConfig(card, blocks_total=AMPLE)
    alone = Served(ample, TorchRunner(model, blocks_total=AMPLE, block_size=BLOCK_SIZE))
    # Only the native kernels promise the same bits in any company.
    is_exact = isinstance(model.kernels, NativeKernels)
    answers: list[Answer | None] = [
        tuple(each.output for each in alone.serve([request])) if is_exact else None
        for request in requests
    ]
    bounds = replace(
        ample,
        waiting_max=12,
        prompt_token_ns=1,
        host_block_ns=BLOCK_SIZE // 2,  # so a block that is less than half full is not saved
        host_blocks=12,  # and not all are that would be worth it
    )
    members = (
        Member("a", model, replace(bounds, blocks_total=40, step_tokens_max=64, guesses_max=6)),
        Member("b", model, replace(bounds, blocks_total=64, step_tokens_max=96, guesses_max=2)),
    )
    known = list(zip(requests, answers, strict=True))
    return Soak(members, known, beginnings, seed=seed), members


def run_for(soak: Soak, seconds: float, tell: Callable[[float, int], None]) -> Memory:
    """Turn until the time is over, then let all of them end."""
    began = told = time.monotonic()
    settled: int | None = None
    while (now := time.monotonic()) - began < seconds:
        for _ in range(10):
            soak.turn()
        if settled is None and now - began >= WARM_UP * seconds:
            settled = resident_bytes()
        if now - told >= seconds / 20:
            told = now
            tell(now - began, resident_bytes())
    soak.end()
    assert settled is not None
    return Memory(settled, resident_bytes())


def resident_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def test_nothing_leaks_and_everybody_is_answered(model: LoadedModel) -> None:
    soak, members = soak_of(model)

    def counters() -> list[EngineCounters]:
        return [member.snapshot.counters for member in members]

    def tell(elapsed_s: float, resident: int) -> None:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(soak.counts.items()))
        preempted = sum(each.preemptions for each in counters())
        paused = sum(each.pauses for each in counters())
        guessed = sum(each.accepted_tokens for each in counters())
        print(
            f"{elapsed_s:6.0f} s {resident / (1 << 20):7.1f} MiB {counts}, {preempted} preempted, "
            f"{paused} of them paused, {guessed} tokens guessed"
        )

    memory = run_for(soak, SOAK_S, tell)
    tell(SOAK_S, memory.end)
    print(f"after the warm-up {memory.settled / (1 << 20):.1f} MiB")
    memory.check_flat()
    # A soak without the hard cases would prove nothing.
    counts = soak.counts
    assert min(counts[what] for what in ("answered", "cancelled", "moved", "stayed", "refused")) > 0
    assert sum(each.preemptions for each in counters()) > 0
    assert sum(each.recomputed_tokens for each in counters()) > 0
    assert sum(each.hit_tokens for each in counters()) > 0
    assert sum(each.restored_tokens for each in counters()) > 0
    assert sum(each.accepted_tokens for each in counters()) > 0
    assert sum(each.guessed_tokens - each.accepted_tokens for each in counters()) > 0
    assert counts["answered"] + counts["cancelled"] + counts["refused"] == counts["asked"]


@pytest.fixture
def quiet() -> Callable[[float, int], None]:
    return lambda elapsed_s, resident: None


def test_memory_that_is_kept_is_seen(
    model: LoadedModel, quiet: Callable[[float, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bytes] = []
    step = Member.step

    def leaking(self: Member, meanwhile: Callable[[], None]) -> tuple[Delta, ...]:
        kept.append(b"x" * (1 << 20))
        return step(self, meanwhile)

    monkeypatch.setattr(Member, "step", leaking)
    soak, _ = soak_of(model)
    with pytest.raises(AssertionError, match="memory grew"):
        run_for(soak, 2, quiet).check_flat()


def test_a_block_that_nobody_gives_back_is_seen(
    model: LoadedModel, quiet: Callable[[float, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whoever is cancelled, in the middle of a step or not."""

    def forgetful(self: Engine, request_id: RequestId) -> bool:
        for sequence in self._live.pop(request_id):
            sequence.block_table = sequence.block_table[:-1]
            self._scheduler.remove(sequence)
        return True

    monkeypatch.setattr(Engine, "cancel", forgetful)
    soak, _ = soak_of(model)
    with pytest.raises(AssertionError, match=r"has [0-9]+ references"):
        run_for(soak, 20, quiet)


def test_a_token_of_another_is_seen(
    model: LoadedModel, quiet: Callable[[float, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that comes with a sequence, and is not what was sent."""
    if not isinstance(model.kernels, NativeKernels):
        pytest.skip("without native kernels no answer is compared")
    write = TorchRunner.write_blocks

    def careless(self: TorchRunner, blocks: Sequence[BlockId], payloads: Sequence[bytes]) -> None:
        write(self, blocks, [payloads[0]] * len(payloads))

    monkeypatch.setattr(TorchRunner, "write_blocks", careless)
    soak, _ = soak_of(model)
    with pytest.raises(AssertionError, match="said something else"):
        run_for(soak, 20, quiet)


def test_a_block_that_comes_back_as_another_is_seen(
    model: LoadedModel, quiet: Callable[[float, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To who was paused."""
    if not isinstance(model.kernels, NativeKernels):
        pytest.skip("without native kernels no answer is compared")
    load = HostMemory.load

    def careless(self: HostMemory, loads: Iterable[BlockLoad]) -> None:
        load(self, [BlockLoad(HostSlot(0), each.block) for each in loads])

    monkeypatch.setattr(HostMemory, "load", careless)
    soak, _ = soak_of(model)
    with pytest.raises(AssertionError, match="said something else"):
        run_for(soak, 20, quiet)
