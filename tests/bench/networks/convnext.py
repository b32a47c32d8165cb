"""ConvNeXt, static or with dynamic convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers import DynamicConv, Settings, Warehouses, allocate

EPSILON = 1e-6


@dataclass(frozen=True)
class Shape:
    """Sizes of a ConvNeXt: blocks and channels per stage."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    classes: int = 1000


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `[B, C, H, W]`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class StaticBlock(nn.Module):
    """A residual block whose pointwise layers are linear ones over channels that come last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class DynamicBlock(nn.Module):
    """A residual block of dynamic convolutions: 7x7 depthwise, 1x1 to four times the channels, and back."""

    def __init__(self, warehouses: Warehouses, stage: int, width: int) -> None:
        super().__init__()
        depthwise, pointwise = f"stage{stage}_layer_dwconv0", f"stage{stage}_layer_pwconv"
        self.dwconv = DynamicConv(warehouses, depthwise, width, width, (7, 7), padding=(3, 3), groups=width, bias=True)
        self.norm = ChannelNorm(width)
        self.pwconv1 = DynamicConv(warehouses, pointwise, width, 4 * width, (1, 1), bias=True)
        self.pwconv2 = DynamicConv(warehouses, pointwise, 4 * width, width, (1, 1), bias=True)
        self.gamma = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.pwconv1(self.norm(self.dwconv(x)))
        return x + self.gamma * self.pwconv2(F.gelu(y))


class ConvNeXt(nn.Module):
    """Images `[B, 3, H, W]` to logits `[B, classes]`."""

    def __init__(self, shape: Shape, settings: Settings | None) -> None:
        super().__init__()
        warehouses = None
        if settings is not None:
            warehouses = self.warehouse_manager = Warehouses(settings)
        # The stem and the downsampling layers come before all blocks, in the order of parameters too.
        self.downsample_layers = nn.ModuleList()
        inputs = 3
        for stage, width in enumerate(shape.widths):
            name = "stagestem_conv0" if stage == 0 else f"stage{stage - 1}_layer_conv0"
            reduce = patches(warehouses, name, inputs, width, 4 if stage == 0 else 2)
            parts = [reduce, ChannelNorm(width)] if stage == 0 else [ChannelNorm(inputs), reduce]
            self.downsample_layers.append(nn.Sequential(*parts))
            inputs = width
        self.stages = nn.ModuleList()
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True)):
            blocks = (
                StaticBlock(width) if warehouses is None else DynamicBlock(warehouses, stage, width)
                for _ in range(depth)
            )
            self.stages.append(nn.Sequential(*blocks))
        self.norm = nn.LayerNorm(inputs, eps=EPSILON)
        self.head = nn.Linear(inputs, shape.classes)
        if warehouses is not None:
            allocate(self, warehouses)

    def forward(self, x: Tensor) -> Tensor:
        for reduce, blocks in zip(self.downsample_layers, self.stages, strict=True):
            x = blocks(reduce(x))
        return self.head(self.norm(x.mean(dim=(2, 3))))


def patches(warehouses: Warehouses | None, warehouse: str, inputs: int, outputs: int, size: int) -> nn.Module:
    """A convolution over patches of that size that don't overlap."""
    if warehouses is None:
        return nn.Conv2d(inputs, outputs, size, stride=size)
    return DynamicConv(warehouses, warehouse, inputs, outputs, (size,) * 2, stride=(size,) * 2, bias=True)
