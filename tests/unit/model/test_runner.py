"""The runner honours the plan: copies first, rows and samples in order, damage noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from protos.messages import SamplingParams
from replicas.engine.plan import (
    BlockCopy,
    BlockId,
    BlockLoad,
    BlockSave,
    HostSlot,
    Row,
    Sample,
    StepPlan,
)
from replicas.model.errors import NonFiniteLogits, UnsupportedModel
from replicas.model.kernels.seam import ModelStep
from replicas.model.loading import LoadedModel, load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from replicas.model.transformer import Transformer
from tests.unit.model.checkpoints import SMALL, random_tensors, write_folder

GREEDY = SamplingParams(tokens_max=9, temperature=0.0, logprobs=1)
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = write_folder(tmp_path_factory.mktemp("small"), random_tensors())
    return load_model(ModelSource("small", folder), device="cpu", dtype="float32")


def runner_of(model: LoadedModel) -> TorchRunner:
    return TorchRunner(model, blocks_total=12, block_size=4)


def table(*blocks: int) -> tuple[BlockId, ...]:
    return tuple(BlockId(block) for block in blocks)


def sample(prompt: tuple[int, ...] = PROMPT, params: SamplingParams = GREEDY) -> Sample:
    return Sample(params, 0, prompt, ())


def whole(prompt: tuple[int, ...], *blocks: int) -> Row:
    return Row(prompt, 0, table(*blocks), (sample(prompt),))


def test_outcomes_follow_the_rows_and_their_samples(model: LoadedModel) -> None:
    runner = runner_of(model)
    alone = runner.run(StepPlan((), (whole(PROMPT, 0, 1, 2),))).sampled[0]
    rows = (
        whole(PROMPT[:1], 3),
        replace(whole(PROMPT[:5], 4, 5), samples=()),
        replace(whole(PROMPT, 6, 7, 8), samples=(sample(), sample(), sample())),
    )
    sampled = runner.run(StepPlan((), rows)).sampled
    assert [len(tokens) for tokens in sampled] == [1, 0, 3]
    for token in sampled[2]:
        assert token.token == alone[0].token
        assert token.logprob == pytest.approx(alone[0].logprob, abs=1e-5)


def test_a_step_in_the_middle_of_prefills_samples_nothing(model: LoadedModel) -> None:
    outcome = runner_of(model).run(StepPlan((), (Row(PROMPT[:4], 0, table(0), ()),)))
    assert outcome.sampled == ((),)


def test_copies_come_before_rows(model: LoadedModel) -> None:
    """Block 2 is shared up to its second slot; a row writes its copy from there on, at once."""
    runner = runner_of(model)
    expected = runner.run(StepPlan((), (whole(PROMPT, 0, 1, 2),))).sampled[0][0]
    last = Row(PROMPT[-1:], 9, table(0, 1, 7), (sample(),))
    copied = runner.run(StepPlan((BlockCopy(BlockId(2), BlockId(7), 1),), (last,))).sampled[0][0]
    assert copied.token == expected.token
    assert copied.logprob == pytest.approx(expected.logprob, abs=1e-5)
    without = runner.run(StepPlan((), (replace(last, block_table=table(0, 1, 9)),))).sampled[0][0]
    assert without.logprob != pytest.approx(expected.logprob, abs=1e-5)


def test_blocks_are_saved_then_copied_then_loaded_then_computed(model: LoadedModel) -> None:
    """Block 2 is saved, then copied over; block 7 is copied from, then loaded over."""
    runner = TorchRunner(model, blocks_total=12, block_size=4, host_blocks=2)
    expected = runner.run(StepPlan((), (whole(PROMPT, 0, 1, 2),))).sampled[0][0]
    runner.run(StepPlan((), (whole(PROMPT[::-1], 5, 6, 7),)))
    plan = StepPlan(
        copies=(BlockCopy(BlockId(7), BlockId(2), 4),),
        rows=(Row(PROMPT[-1:], 9, table(0, 1, 7), (sample(),)),),
        saves=(BlockSave(BlockId(2), HostSlot(1)),),
        loads=(BlockLoad(HostSlot(1), BlockId(7)),),
    )
    (reversed_half,) = runner.read_blocks(table(7))
    restored = runner.run(plan).sampled[0][0]
    assert restored.token == expected.token
    assert restored.logprob == pytest.approx(expected.logprob, abs=1e-5)
    assert runner.read_blocks(table(2)) == (reversed_half,)


def test_a_sequence_goes_on_in_another_runner_from_its_blocks(model: LoadedModel) -> None:
    """Two full blocks and half of one are moved; the last token is computed there."""
    source, target = runner_of(model), runner_of(model)
    expected = source.run(StepPlan((), (whole(PROMPT, 0, 1, 2),))).sampled[0]
    target.write_blocks(table(5, 9, 3), source.read_blocks(table(0, 1, 2)))
    last = Row(PROMPT[-1:], 9, table(5, 9, 3), (sample(),))
    found = target.run(StepPlan((), (last,))).sampled[0]
    assert found[0].token == expected[0].token
    assert found[0].logprob == pytest.approx(expected[0].logprob, abs=1e-5)


def test_logits_that_are_not_finite_stop_the_replica(tmp_path: Path) -> None:
    tensors = random_tensors()
    tensors["model.layers.1.mlp.down_proj.weight"][3, 3] = float("nan")
    source = ModelSource("broken", write_folder(tmp_path, tensors))
    runner = runner_of(load_model(source, device="cpu", dtype="float32"))
    with pytest.raises(NonFiniteLogits, match="broken"):
        runner.run(StepPlan((), (whole(PROMPT, 0, 1, 2),)))


def test_a_forward_pass_takes_until_its_logits_are_there(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is asked in 2 ns and ready after 70: whoever looks at a result waits."""
    now_ns = 100

    class Device(Transformer):
        def __init__(self) -> None:
            """Whatever is computed, elsewhere."""

        def logits(self, step: ModelStep) -> Tensor:
            nonlocal now_ns
            now_ns += 2
            return model.transformer.logits(step)

    class Pending:
        def all(self) -> Pending:
            return self

        def __bool__(self) -> bool:
            nonlocal now_ns
            now_ns += 70
            return True

    monkeypatch.setattr(torch, "isfinite", lambda logits: Pending())
    runner = TorchRunner(
        replace(model, transformer=Device()), blocks_total=12, block_size=4, clock_ns=lambda: now_ns
    )
    outcome = runner.run(StepPlan((), (whole(PROMPT, 0, 1, 2),)))
    assert outcome.forward_ns == runner.forward_ns == 72


def test_a_plan_without_rows_is_a_bug(model: LoadedModel) -> None:
    with pytest.raises(AssertionError):
        runner_of(model).run(StepPlan((), ()))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close(model: LoadedModel, tmp_path: Path, dtype: str) -> None:
    source = ModelSource("small", write_folder(tmp_path, random_tensors()))
    half = load_model(source, device="cpu", dtype=dtype)
    plan = StepPlan((), (whole(PROMPT, 0, 1, 2),))
    expected = runner_of(model).run(plan).sampled[0][0].logprob
    found = runner_of(half).run(plan).sampled[0][0].logprob
    assert found == pytest.approx(expected, abs=0.1)


def test_the_card_says_what_was_loaded(model: LoadedModel) -> None:
    card = model.card(16)
    assert (card.name, card.dtype, card.block_size) == ("small", "float32", 16)
    assert (card.vocab_size, card.context_tokens_max) == (
        SMALL.vocab_size,
        SMALL.context_tokens_max,
    )
    assert card.revision == model.revision


@pytest.mark.parametrize(
    ("device", "dtype", "named"),
    [
        ("cpu", "int8", "int8"),
        ("tpu9", "auto", "tpu9"),
        ("meta", "auto", "meta"),
        pytest.param(
            "cuda",
            "auto",
            "CUDA",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_an_impossible_place_or_type_is_refused_by_name(
    tmp_path: Path, device: str, dtype: str, named: str
) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        load_model(ModelSource("small", tmp_path), device=device, dtype=dtype)
