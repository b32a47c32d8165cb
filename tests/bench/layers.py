"""Dynamic convolutions over shared warehouses, as plain PyTorch modules for inference.

Symbols: B samples, C input channels, n cells of a warehouse, m mixtures of a layer. Sizes depend on all layers that share a
warehouse, so a network is built in two steps: its modules are made, then `allocate` gives them their parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORMALISER_EPSILON = 1e-3
LEAST_HIDDEN = 16
LEAST_BASIS = 16


@dataclass(frozen=True)
class Settings:
    """How kernels are cut into cells and mixed. A tuple has one value per warehouse, in the order of `Warehouses.names`."""

    budget: float | tuple[float, ...] = 1.0
    out_ratio: float | tuple[float, ...] = 1.0
    in_ratio: float | tuple[float, ...] = 1.0
    reduction: float = 1 / 16
    basis_ratio: float | None = None
    norm: str = "batch"
    spatial_partition: bool = True

    def of(self, name: str, warehouse: int) -> float:
        """One of the settings that may differ between warehouses."""
        value = getattr(self, name)
        return value[warehouse] if isinstance(value, tuple) else value


class Warehouses(nn.Module):
    """The cells of a network: one parameter `[n, cell_out, cell_in, cell_spatial...]` per warehouse."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.names: list[str] = []
        self.weights = nn.ParameterList()

    def index(self, name: str) -> int:
        """The warehouse of that name, which is added if it is new."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


@dataclass(frozen=True)
class Share:
    """What a layer has of its warehouse."""

    cells: int
    start: int
    local: int
    grid: tuple[int, int, int]
    cell: tuple[int, ...]

    @property
    def mixtures(self) -> int:
        """Cells that the layer's kernel consists of: spatial x output x input."""
        return prod(self.grid)


class Attention(nn.Module):
    """Weights of a layer's mixtures, from its input's average: `[B, C]` to `[B, m, n]`."""

    target: Tensor
    """The cell that each mixture starts its training with, as a row of zeros and a 1: `[m, n + 1]`."""

    def __init__(self, channels: int, share: Share, settings: Settings) -> None:
        super().__init__()
        hidden = max(int(channels * settings.reduction), LEAST_HIDDEN)
        mixtures, cells = share.mixtures, share.cells
        batch_norm = settings.norm == "batch"
        self.share = share
        self.fc1 = nn.Linear(channels, hidden, bias=not batch_norm)
        self.norm1 = nn.BatchNorm1d(hidden) if batch_norm else nn.LayerNorm(hidden)
        self.low_rank = settings.basis_ratio is not None
        self.temperature = 0.0
        if settings.basis_ratio is None:
            self.fc2 = nn.Linear(hidden, mixtures * (cells + 1))
        else:
            rank = max(int((cells - share.local) * settings.basis_ratio), LEAST_BASIS)
            self.fc2 = nn.Linear(hidden, mixtures * (share.local + rank + 1), bias=False)
            self.fc3 = nn.Linear(rank, cells - share.local, bias=False)
            self.basis_bias = nn.Parameter(torch.zeros(mixtures * (cells + 1)))
        self.register_buffer("target", torch.zeros(mixtures, cells + 1), persistent=False)

    def logits(self, hidden: Tensor) -> Tensor:
        """One logit per mixture and cell, the null cell last: `[B, hidden]` to `[B, m, n + 1]`."""
        share = self.share
        rows = self.fc2(hidden).reshape(hidden.shape[0], share.mixtures, -1)
        if not self.low_rank:
            return rows
        local, low, null = rows.split([share.local, self.fc3.in_features, 1], dim=-1)
        other = self.fc3(low)
        rows = torch.cat([other[..., : share.start], local, other[..., share.start :], null], dim=-1)
        return rows + self.basis_bias.reshape(share.mixtures, share.cells + 1)

    def forward(self, average: Tensor) -> Tensor:
        z = self.logits(F.relu(self.norm1(self.fc1(average))))
        alpha = z / (z.abs().sum(dim=-1, keepdim=True) + NORMALISER_EPSILON)
        if self.temperature > 0:
            alpha = (1 - self.temperature) * alpha + self.temperature * self.target
        return alpha[..., : self.share.cells]


CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class DynamicConv(nn.Module):
    """A convolution whose kernel is mixed for every sample: `[B, C, spatial...]` to `[B, out, spatial...]`."""

    def __init__(
        self,
        warehouses: Warehouses,
        warehouse: str,
        inputs: int,
        outputs: int,
        kernel: tuple[int, ...],
        *,
        stride: tuple[int, ...] | None = None,
        padding: tuple[int, ...] | None = None,
        dilation: tuple[int, ...] | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        dims = len(kernel)
        self.warehouse = warehouses.index(warehouse)
        self.inputs, self.outputs, self.kernel, self.groups = inputs, outputs, kernel, groups
        self.stride = stride or (1,) * dims
        self.padding = padding or (0,) * dims
        self.dilation = dilation or (1,) * dims
        self.spatial = tuple(range(2, 2 + dims))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def adopt(self, cells: nn.Parameter, share: Share, settings: Settings) -> None:
        """Takes the warehouse's parameter, which other layers take too, and makes the attention."""
        self.share = share
        self.cells = cells
        self.attention = Attention(self.inputs, share, settings)

    def mix(self, alpha: Tensor) -> Tensor:
        """The samples' kernels, one after the other: `[B, m, n]` to `[B * out, C / groups, spatial...]`."""
        batch = alpha.shape[0]
        share = self.share
        spatial, outputs, inputs = share.grid
        cell_out, cell_in, *cell_spatial = share.cell
        mixed = alpha.reshape(batch * share.mixtures, share.cells) @ self.cells.reshape(share.cells, -1)
        mixed = mixed.reshape(batch, spatial, outputs, inputs, cell_out, cell_in, prod(cell_spatial))
        mixed = mixed.permute(0, 2, 4, 3, 5, 1, 6)
        return mixed.reshape(batch * outputs * cell_out, inputs * cell_in, *self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        kernels = self.mix(self.attention(x.mean(dim=self.spatial)))
        # A sample's channels are groups of one large convolution.
        wide = x.reshape(1, batch * self.inputs, *x.shape[2:])
        convolve = CONVOLUTIONS[len(self.kernel)]
        y = convolve(wide, kernels, None, self.stride, self.padding, self.dilation, batch * self.groups)
        y = y.reshape(batch, self.outputs, *y.shape[2:])
        return y if self.bias is None else y + self.bias.reshape(-1, *(1,) * len(self.kernel))


class DynamicLinear(nn.Module):
    """A dynamic linear layer over tokens: `[B, tokens, C]` to `[B, tokens, out]`, or without the tokens' dimension."""

    def __init__(
        self, warehouses: Warehouses, warehouse: str, inputs: int, outputs: int, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.conv = DynamicConv(warehouses, warehouse, inputs, outputs, (1,), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:
            return self.conv(x.unsqueeze(-1)).squeeze(-1)
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


def allocate(network: nn.Module, warehouses: Warehouses) -> None:
    """Makes the cells and attentions of all dynamic layers of a network, in the order in which they are registered."""
    settings = warehouses.settings
    layers = [module for module in network.modules() if isinstance(module, DynamicConv)]
    warehouses.weights = nn.ParameterList()
    for index, name in enumerate(warehouses.names):
        sharing = [layer for layer in layers if layer.warehouse == index]
        parameter = share_cells(name, index, sharing, settings)
        warehouses.weights.append(parameter)


def share_cells(name: str, index: int, layers: list[DynamicConv], settings: Settings) -> nn.Parameter:
    """Cuts the kernels of a warehouse's layers into cells `[cell_out, cell_in, cell_spatial...]` and shares them out."""
    budget = settings.of("budget", index)
    cell_out = cell_size((layer.outputs for layer in layers), settings.of("out_ratio", index))
    cell_in = cell_size((layer.inputs // layer.groups for layer in layers), settings.of("in_ratio", index))
    whole = layers[0].kernel
    cell = (cell_out, cell_in, *((1,) * len(whole) if settings.spatial_partition else whole))
    grids = []
    for layer in layers:
        kernel = (layer.outputs, layer.inputs // layer.groups, *layer.kernel)
        if any(size % part for size, part in zip(kernel, cell, strict=True)):
            raise ValueError(f"warehouse {name}: cells {cell} don't fill a kernel {kernel}")
        outputs, inputs, *spatial = (size // part for size, part in zip(kernel, cell, strict=True))
        grids.append((prod(spatial), outputs, inputs))
    cells = max(int(sum(map(prod, grids)) * budget), 1)
    parameter = nn.Parameter(torch.zeros(cells, *cell))
    start = 0
    for layer, grid in zip(layers, grids, strict=True):
        share = Share(cells, start, int(budget * prod(grid)), grid, cell)
        layer.adopt(parameter, share, settings)
        start = point_out(layer.attention.target, start, budget)
    if start != cells:
        raise ValueError(f"warehouse {name}: its layers own {start} cells, and it has {cells}")
    return parameter


def cell_size(channels: Iterable[int], ratio: float) -> int:
    """A cell's extent along the channels of layers."""
    return max(int(gcd(*channels) * ratio), 1)


def point_out(target: Tensor, start: int, budget: float) -> int:
    """Sets the cell that each mixture starts its training with, in `[m, n + 1]`; returns the first cell of the next layer."""
    mixtures, columns = target.shape
    period = int(1 / budget) if budget < 1 else 1
    for mixture in range(mixtures):
        if mixture % period == (mixture // period) % period:
            target[mixture, start] = 1
            start += max(int(budget), 1)
        else:
            target[mixture, columns - 1] = 1
    return start


def set_temperature(network: nn.Module, temperature: float) -> None:
    """Sets how far the attentions are drawn to the cells they start with; 0 in use."""
    for module in network.modules():
        if isinstance(module, Attention):
            module.temperature = temperature
