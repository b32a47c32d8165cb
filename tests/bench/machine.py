"""What the machine can do: arithmetic in f32 and reading of memory, on some threads."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
import torch.nn.functional as F

SIDE = 2048
"""Rows and columns of the matrices that are multiplied."""

CHANNELS = 512
EXTENT = 28
SAMPLES = 4
"""Of the 3x3 convolution that is the second measure of arithmetic."""

READ = 1 << 28
"""Numbers that are read: 1 GiB, beyond any cache."""


def measure(threads: int) -> dict[str, float]:
    """GFLOP/s that stand for the peak, and GB/s of summing up an array; of some runs the best.

    The peak is that of a large product of matrices or of a large convolution, whichever is more: PyTorch runs them by
    different libraries, and one of them doesn't use every instruction set of every make of processor.
    """
    torch.set_num_threads(threads)
    with torch.inference_mode():
        gflops = max(product(), convolution())
        array = torch.ones(READ)
        read = least(array.sum, 8)
    return {"gflops": gflops, "gbytes": 4 * READ / read / 1e9}


def product() -> float:
    """GFLOP/s of a product of square matrices."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    into = torch.empty(SIDE, SIDE)
    return 2 * SIDE**3 / least(lambda: torch.mm(a, b, out=into), 12) / 1e9


def convolution() -> float:
    """GFLOP/s of a 3x3 convolution without padding."""
    x = torch.rand(SAMPLES, CHANNELS, EXTENT, EXTENT)
    kernel = torch.rand(CHANNELS, CHANNELS, 3, 3)
    work = 2 * SAMPLES * CHANNELS**2 * 9 * (EXTENT - 2) ** 2
    return work / least(lambda: F.conv2d(x, kernel), 12) / 1e9


def least(run: Callable[[], object], runs: int) -> float:
    """Seconds of the fastest run."""
    run()
    times = []
    for _ in range(runs):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)
