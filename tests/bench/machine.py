"""What the machine can do: arithmetic in f32 and reading of memory, on some threads."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch

SIDE = 2048
"""Rows and columns of the matrices that are multiplied."""

READ = 1 << 28
"""Numbers that are read: 1 GiB, beyond any cache."""


def measure(threads: int) -> dict[str, float]:
    """GFLOP/s of a large matrix product, which stands for the peak, and GB/s of summing up an array; the best of some runs."""
    torch.set_num_threads(threads)
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    product = torch.empty(SIDE, SIDE)
    array = torch.ones(READ)
    with torch.inference_mode():
        multiply = least(lambda: torch.mm(a, b, out=product), 12)
        read = least(array.sum, 8)
    return {"gflops": 2 * SIDE**3 / multiply / 1e9, "gbytes": 4 * READ / read / 1e9}


def least(run: Callable[[], object], runs: int) -> float:
    """Seconds of the fastest run."""
    run()
    times = []
    for _ in range(runs):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return min(times)
