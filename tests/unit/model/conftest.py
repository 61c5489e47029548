"""One thread for torch: on a busy machine, faster than many. Even products for Triton."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from replicas.model.kernels.choice import TRITON


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def even_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """What numpy gives Triton's interpreter for a product depends, in the last bit, on where in
    it a row lies; a matrix unit makes no such difference. Here products are made in double, and
    rounded, so kernels may promise in the interpreter what they promise on a card."""
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    monkeypatch.setattr(f"{TRITON}.products_are_even", lambda: True)

    def dot(
        builder: object, left: Any, right: Any, into: Any, precision: Any, imprecise: Any
    ) -> Any:
        product = np.matmul(left.data, right.data, dtype=np.float64) + into.data
        return interpreter.TensorHandle(product.astype(into.data.dtype), into.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", dot)
