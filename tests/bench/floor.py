"""The time that a network's arithmetic takes at the machine's peak, from the plan of `kwc plan --format json`."""

from __future__ import annotations

from math import prod
from typing import Any

BYTES = 4
"""Of a stored number."""


def milliseconds(plan: dict[str, Any], batch: int, gflops: float, gbytes: float) -> float:
    """Direct multiply-adds of all layers, basis folded, for a batch.

    Mixing takes what its multiply-adds take, or what reading each layer's warehouse once takes, whichever is longer.
    """
    totals = plan["totals"]
    dynamic = totals["dynamic"]
    attention = dynamic["attention"]
    adds = dynamic["convolution"] + attention + totals["static_layers"]
    cells = {index: warehouse["cells"] for index, warehouse in enumerate(plan["warehouses"])}
    sizes = {index: prod(warehouse["cell_shape"]) for index, warehouse in enumerate(plan["warehouses"])}
    seconds = 2 * adds * batch / gflops / 1e9
    for layer in plan["layers"]:
        index = layer["warehouse"]
        mixed = cells[index]
        read = mixed * sizes[index]
        work = layer["mixtures"] * read
        if layer["basis"] is not None:
            # The layer's own cells, those of the basis, and the constant kernel, which is added once per sample.
            kept = layer["local_cells"] + layer["basis"]
            folded = layer["mixtures"] * (kept + 1) * sizes[index]
            if folded < work:
                # What the basis makes of the warehouse is kept once for each layer.
                work, read = folded, kept * sizes[index] + layer["mixtures"] * sizes[index]
        seconds += max(2 * work * batch / gflops / 1e9, BYTES * read / gbytes / 1e9)
    return 1e3 * seconds
