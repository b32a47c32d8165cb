"""Loads a state dict into a network, every tensor of both exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SHARED = ".cells"
"""What a dynamic layer calls its warehouse's parameter; a state has it under `warehouse_manager.weights` only."""

COUNTER = "num_batches_tracked"
"""Beside every batch norm's statistics, and of no effect here."""


def load(network: nn.Module, path: Path) -> None:
    """Loads a safetensors file; see `assign`."""
    assign(network, load_file(path), str(path))


def assign(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies tensors into a network's parameters and buffers of the same names.

    Raises ValueError if names or shapes differ.
    """
    wanted = {name: tensor for name, tensor in network.state_dict().items() if counts(name)}
    given = {name: tensor for name, tensor in tensors.items() if counts(name)}
    wrong = [f"{name} is missing" for name in sorted(wanted.keys() - given.keys())]
    wrong += [f"{name} is not the network's" for name in sorted(given.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & given.keys()):
        if wanted[name].shape != given[name].shape:
            wrong.append(f"{name} is {list(given[name].shape)} and should be {list(wanted[name].shape)}")
    if wrong:
        raise ValueError(f"{source} doesn't fit the network: " + "; ".join(wrong[:8]))
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])


def counts(name: str) -> bool:
    """Whether a tensor of that name is part of a state that matters."""
    return not name.endswith((SHARED, COUNTER))
