"""Sums along a row in an order that the row's length alone decides.

torch orders a sum as suits the number of rows, of threads and the place of a
row in memory, and the last bits of a result follow. Here whole vectors are
added, element by element, in a fixed pattern; so a row has the same sum
whatever rows are beside it, on every device, with any number of threads.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def row_sums(x: Tensor) -> Tensor:
    """[rows, 1]: the row is folded in the middle until one number is left."""
    while x.shape[1] > 1:
        x = functional.pad(x, (0, x.shape[1] % 2))
        half = x.shape[1] // 2
        x = x[:, :half] + x[:, half:]
    return x


def running_sums(x: Tensor) -> Tensor:
    """For each element the sum of those up to it (Hillis and Steele, 1986)."""
    reach = 1
    while reach < x.shape[1]:
        x = torch.cat((x[:, :reach], x[:, reach:] + x[:, :-reach]), dim=1)
        reach *= 2
    return x
