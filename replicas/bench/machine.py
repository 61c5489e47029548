"""What this machine is, and how fast it reads and multiplies.

The two rates are what floors are computed from, so they are measured in the
run that they judge, by the plainest operation that reaches them: a sum over a
buffer that no cache holds, and a product of square matrices. Best of several,
since whatever disturbs a measurement makes it slower.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

READ_BYTES = 256 << 20
CARD_READ_BYTES = 4 << 30  # far beyond any card's cache
CARD_GEMM_SIZE = 8192
GEMM_SIZE = 768  # three matrices of it fit in a second-level cache or nearly
REPEATS = 5
PROBE_SIZE = 64  # a type that the CPU multiplies in software shows it here already
SLOW_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes read and floating point operations done per second, on the threads in use."""

    read_bytes_per_s: float
    flop_per_s: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a figure must be read with."""

    cpu: str
    cpu_capability: str
    threads: int
    torch: str
    model: str
    dtype: str
    kernels: str


def clock_ns() -> int:
    """CPU time of this thread while torch computes on it alone, so that neighbours on a busy
    machine do not count; else the time on the wall."""
    return time.thread_time_ns() if torch.get_num_threads() == 1 else time.perf_counter_ns()


def measure_rates(dtype: torch.dtype) -> Rates:
    """The rates now. Products may be computed in float32 whatever the type in memory is, so the
    faster of the two counts."""
    buffer = torch.ones(READ_BYTES // 4)
    read_s = _best_s(buffer.sum)
    return Rates(
        read_bytes_per_s=READ_BYTES / read_s,
        flop_per_s=max(_flop_per_s(torch.float32, GEMM_SIZE), _flop_in(dtype)),
    )


def device_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """The rates of a card or, on a CPU, those of `measure_rates`."""
    if device.type == "cpu":
        return measure_rates(dtype)
    source = torch.ones(CARD_READ_BYTES // 4, device=device)
    target = torch.empty_like(source)
    left, right = torch.randn(2, CARD_GEMM_SIZE, CARD_GEMM_SIZE, device=device).to(dtype)

    def finished(call: Callable[[], object]) -> Callable[[], None]:
        def wait() -> None:
            call()
            torch.cuda.synchronize(device)

        return wait

    # A copy moves twice what it copies: a sum alone does not keep a card's memory busy.
    copy_s = _best_s(finished(lambda: target.copy_(source)), time.perf_counter_ns)
    product_s = _best_s(finished(lambda: left @ right), time.perf_counter_ns)
    return Rates(2 * CARD_READ_BYTES / copy_s, 2 * CARD_GEMM_SIZE**3 / product_s)


def cpu_name() -> str:
    """The processor as its maker calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(psutil.Process().memory_info().rss)


def _flop_in(dtype: torch.dtype) -> float:
    if dtype is torch.float32:
        return 0.0
    # Without instructions for it a product takes a hundred times longer: ask small first.
    probe = _flop_per_s(dtype, PROBE_SIZE)
    if probe < SLOW_SHARE * _flop_per_s(torch.float32, PROBE_SIZE):
        return probe
    return _flop_per_s(dtype, GEMM_SIZE)


def _flop_per_s(dtype: torch.dtype, size: int) -> float:
    left, right = torch.randn(2, size, size).to(dtype)
    return 2 * size**3 / _best_s(lambda: left @ right)


def _best_s(call: Callable[[], object], now_ns: Callable[[], int] = clock_ns) -> float:
    call()
    times_ns = []
    for _ in range(REPEATS):
        began_ns = now_ns()
        call()
        times_ns.append(now_ns() - began_ns)
    return max(1, min(times_ns)) / 1e9
