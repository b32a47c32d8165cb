"""ResNet18 and ResNet50, static or with dynamic convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from layers import DynamicConv, Settings, Warehouses, allocate


@dataclass(frozen=True)
class Shape:
    """Sizes of a ResNet: blocks and channels per stage."""

    bottleneck: bool
    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    classes: int = 1000


RESNET18 = Shape(bottleneck=False, depths=(2, 2, 2, 2))
RESNET50 = Shape(bottleneck=True, depths=(3, 4, 6, 3))


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 to four times the channels."""

    def __init__(
        self,
        shape: Shape,
        inputs: int,
        width: int,
        stride: int,
        warehouses: Warehouses | None,
        entry: str | None,
        warehouse: str | None,
    ) -> None:
        super().__init__()
        outputs = width * 4 if shape.bottleneck else width
        # The shortcut names its warehouse before the block's own convolutions do, and is registered after them.
        shortcut = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Sequential(
                convolution(warehouses, entry, inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )
        if shape.bottleneck:
            self.conv1 = convolution(warehouses, entry, inputs, width, 1, 1)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = convolution(warehouses, warehouse, width, width, 3, stride)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = convolution(warehouses, warehouse, width, outputs, 1, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        else:
            self.conv1 = convolution(warehouses, entry, inputs, width, 3, stride)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = convolution(warehouses, warehouse, width, width, 3, 1)
            self.bn2 = nn.BatchNorm2d(width)
        self.bottleneck = shape.bottleneck
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Images `[B, 3, H, W]` to logits `[B, classes]`."""

    def __init__(self, shape: Shape, settings: Settings | None) -> None:
        super().__init__()
        warehouses = None
        if settings is not None:
            warehouses = self.warehouse_manager = Warehouses(settings)
        self.conv1 = nn.Conv2d(3, shape.stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(shape.stem)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = shape.stem
        self.stages = len(shape.depths)
        for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True)):
            blocks = []
            for i in range(depth):
                own = f"stage{stage}_layer_conv"
                entry: str | None = own
                if i == 0 and stage > 0:
                    entry = f"stage{stage - 1}_layer_conv"
                elif i == 0 and shape.bottleneck:
                    entry = None
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(Block(shape, channels, width, stride, warehouses, entry, own))
                channels = width * 4 if shape.bottleneck else width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, shape.classes)
        if warehouses is not None:
            allocate(self, warehouses)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean(dim=(2, 3)))


def convolution(
    warehouses: Warehouses | None, warehouse: str | None, inputs: int, outputs: int, kernel: int, stride: int
) -> nn.Module:
    """A convolution with a square kernel that keeps the image's size but for the stride; dynamic if it has a warehouse."""
    if warehouses is None or warehouse is None:
        return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    around = (kernel // 2,) * 2
    return DynamicConv(warehouses, warehouse, inputs, outputs, (kernel,) * 2, stride=(stride,) * 2, padding=around)
