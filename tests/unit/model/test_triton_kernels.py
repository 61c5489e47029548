"""Triton's norms, turns and gates are torch's; a whole step on them chooses the same tokens."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from pathlib import Path

import pytest
import torch

from protos.messages import SamplingParams
from replicas.engine.plan import BlockId, Row, Sample, StepPlan
from replicas.model.errors import UnsupportedModel
from replicas.model.kernels.choice import TRITON, choose_kernels
from replicas.model.kernels.plain import TorchKernels
from replicas.model.linear import PlainLinear
from replicas.model.loading import load_model
from replicas.model.runner import TorchRunner
from replicas.model.source import ModelSource
from tests.differential.kernels import CONFIG, CPU, Scene, attend, numbered, shaped
from tests.unit.model.checkpoints import random_tensors, write_folder
from tests.unit.model.triton_cases import triton_kernels

DTYPES = (torch.float32, torch.bfloat16)


def draw(*shape: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def agree(mine: torch.Tensor, exact: torch.Tensor) -> None:
    """Ours is rounded once, on the way out."""
    limit = 1e-5 if mine.dtype is torch.float32 else 1e-2
    assert torch.allclose(mine.float(), exact, atol=limit, rtol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 72, 579])
def test_norms_and_gates_agree(width: int, dtype: torch.dtype) -> None:
    kernels = triton_kernels(CONFIG, dtype)
    plain = TorchKernels(CONFIG, device=CPU, dtype=torch.float32)
    x, weight = draw(3, width, dtype=dtype), draw(width, dtype=dtype, seed=2)
    agree(kernels.norm(x, weight), plain.norm(x.float(), weight.float()))
    gate_up = 3 * draw(3, 2 * width, dtype=dtype, seed=3)
    agree(kernels.gate(gate_up), plain.gate(gate_up.float()))


def test_a_gate_wider_than_a_program_is_whole() -> None:
    kernels = triton_kernels(CONFIG, torch.float32)
    gate_up = draw(1, 2 * 1100, dtype=torch.float32)
    plain = TorchKernels(CONFIG, device=CPU, dtype=torch.float32)
    agree(kernels.gate(gate_up), plain.gate(gate_up))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(
    ("shape", "block_size"), [((6, 2, 16), 4), ((3, 1, 48), 16), ((2, 2, 32), 32)]
)
def test_heads_turn_and_go_to_their_slots_alike(
    shape: tuple[int, int, int], block_size: int, normed: bool, dtype: torch.dtype
) -> None:
    """A decode, a whole prompt and a suffix: what lies in the pool after the step, and what the
    step attends to."""
    config = shaped(*shape)
    scene = Scene(config, block_size, seed=block_size)
    rows = numbered([scene.row(33, 1), scene.row(0, 9), scene.row(15, 4)])
    heads = scene.heads(14).to(dtype)
    norms = [draw(shape[2], dtype=dtype, seed=seed) for seed in (2, 3)]
    mine, exact = scene.cache(dtype), scene.cache(dtype)
    exact.pool = exact.pool.float()
    found, expected = (
        attend(
            kernels,
            config,
            cache,
            rows,
            heads.to(kernels.dtype),
            (norms[0].to(kernels.dtype), norms[1].to(kernels.dtype)) if normed else None,
            turns=True,
        )
        for kernels, cache in (
            (triton_kernels(config, dtype), mine),
            (TorchKernels(config, device=CPU, dtype=torch.float32), exact),
        )
    )
    # Angles are of the activations' type, too; values have to be the same.
    limit = 1e-5 if dtype is torch.float32 else 5e-2
    assert torch.allclose(mine.pool[:, 0].float(), exact.pool[:, 0], atol=limit, rtol=limit)
    assert torch.equal(mine.pool[:, 1].float(), exact.pool[:, 1])
    assert torch.allclose(torch.cat(found).float(), torch.cat(expected), atol=2 * limit)


def test_a_model_on_them_chooses_what_it_chooses_in_torch(tmp_path: Path) -> None:
    """A prompt, then decodes, through the runner that serves."""
    triton_kernels(CONFIG, torch.float32)
    source = ModelSource("small", write_folder(tmp_path / "small", random_tensors()))
    table = (BlockId(3), BlockId(0), BlockId(2))
    prompt = (5, 9, 1, 30, 44, 2)
    chosen: dict[str, list[int]] = {}
    for name in ("torch", "triton"):
        model = load_model(source, device="cpu", dtype="float32", kernels=name)
        assert model.kernels.name.startswith(name)
        runner = TorchRunner(model, blocks_total=4, block_size=4)
        tokens: tuple[int, ...] = prompt
        start, output = 0, list[int]()
        for _ in range(4):
            greedy = SamplingParams(tokens_max=9, temperature=0.0)
            sample = Sample(greedy, 0, prompt, tuple(output))
            outcome = runner.run(StepPlan((), (Row(tokens, start, table, (sample,)),)))
            [[token]] = outcome.sampled
            output.append(token.token)
            start, tokens = start + len(tokens), (token.token,)
        chosen[name] = output
    assert chosen["triton"] == chosen["torch"]


def test_where_triton_is_missing_torch_computes_on_a_card_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, TRITON, None)
    with caplog.at_level(logging.WARNING):
        kernels = choose_kernels(
            CONFIG, asked=None, device=torch.device("cuda"), dtype=torch.bfloat16
        )
    assert kernels.name == "torch"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no Triton kernels" in caplog.text


def test_asked_for_by_name_they_are_there_or_the_model_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, TRITON, None)
    with pytest.raises(UnsupportedModel, match="Triton kernels cannot be used"):
        choose_kernels(CONFIG, asked="triton", device=CPU, dtype=torch.float32)


def test_a_cpu_computes_on_them_only_where_it_interprets(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    importlib.import_module(TRITON)  # its kernels stay what they are at their import
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(UnsupportedModel, match="TRITON_INTERPRET=1"):
        choose_kernels(CONFIG, asked="triton", device=CPU, dtype=torch.float32)


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (72, 99), (130, 64)])
def test_deterministic_products_agree_with_arithmetic_in_double(
    inputs: int, outputs: int, dtype: torch.dtype
) -> None:
    kernels = triton_kernels(CONFIG, dtype, deterministic=True)
    weight = draw(outputs, inputs, dtype=dtype, seed=2)
    for bias in (None, draw(outputs, dtype=dtype, seed=3)):
        linear = kernels.linear(weight, bias)
        for rows in (1, 2, 63, 64, 65):
            x = draw(rows, inputs, dtype=dtype)
            expected = x.double() @ weight.double().T + (0 if bias is None else bias.double())
            agree(linear(x), expected.float())


@pytest.mark.usefixtures("even_products")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_a_deterministic_step_has_the_same_bits_in_every_batch(dtype: torch.dtype) -> None:
    """Products, norms and gates; attention and turns have tests of their own."""
    kernels = triton_kernels(CONFIG, dtype, deterministic=True)
    linear = kernels.linear(draw(90, 200, dtype=dtype, seed=2), draw(90, dtype=dtype, seed=3))
    weight = draw(200, dtype=dtype, seed=4)
    x = draw(150, 200, dtype=dtype)
    whole = linear(x), kernels.norm(x, weight), kernels.gate(x)
    for first, rows in ((0, 1), (0, 2), (70, 1), (149, 1), (60, 65), (3, 130)):
        part = x[first : first + rows].clone()
        found = linear(part), kernels.norm(part, weight), kernels.gate(part)
        for mine, of_all in zip(found, whole, strict=True):
            assert torch.equal(mine, of_all[first : first + rows]), (first, rows)


@pytest.mark.usefixtures("even_products")
def test_only_deterministic_kernels_make_their_own_products_and_name_their_arithmetic() -> None:
    weight, x = draw(90, 200, dtype=torch.float32), draw(3, 200, dtype=torch.float32, seed=2)
    plain = triton_kernels(CONFIG, torch.float32)
    assert plain.arithmetic is None
    assert torch.equal(plain.linear(weight, None)(x), torch.nn.functional.linear(x, weight))
    own = triton_kernels(CONFIG, torch.float32, deterministic=True)
    assert f"torch {torch.__version__}" in str(own.arithmetic)
    assert not isinstance(own.linear(weight, None), PlainLinear)


def test_what_interprets_promises_nothing() -> None:
    """As numpy multiplies for it."""
    triton_kernels(CONFIG, torch.float32)
    with pytest.raises(UnsupportedModel, match="Deterministic kernels were asked for"):
        triton_kernels(CONFIG, torch.float32, deterministic=True)


@pytest.mark.usefixtures("even_products")
def test_another_source_is_another_arithmetic(tmp_path: Path) -> None:
    kernels = triton_kernels(CONFIG, torch.float32, deterministic=True)
    module = importlib.import_module(TRITON)
    folder = Path(str(module.__file__)).parent
    assert module.digest_of(folder) in str(kernels.arithmetic)
    for source in folder.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    assert module.digest_of(tmp_path) == module.digest_of(folder)
    for source in sorted(tmp_path.glob("triton_*.py")):
        before = module.digest_of(tmp_path)
        source.write_text(source.read_text().replace("=", "= ", 1))
        assert module.digest_of(tmp_path) != before, source.name
