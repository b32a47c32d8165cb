"""What a peer is asked to run, and what it makes of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    # Not every process that makes jobs should load PyTorch.
    from torch import nn

Program = Callable[[np.ndarray], np.ndarray]
"""A network that is ready to run: images `[batch, 3, H, W]` to logits `[batch, classes]`, both f32 and in the host's memory."""


@dataclass(frozen=True)
class Job:
    """A network, its weights, and how it is run."""

    network: str
    weights: str
    batch: int
    size: int
    threads: int
    onnx: str
    """Where the exported network lies, for peers that read ONNX."""

    def module(self) -> nn.Module:
        """The network in PyTorch with its weights, in evaluation mode."""
        import networks
        import state

        network = networks.build(self.network)
        state.load(network, Path(self.weights))
        return network.requires_grad_(False)
