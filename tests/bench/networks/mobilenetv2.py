"""MobileNetV2, static or with dynamic convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from layers import DynamicConv, DynamicLinear, Settings, Warehouses, allocate

ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, first stride."""

STAGES = (1, 2, 3, 4, 5, 6, 6)
"""Stage of each row."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a MobileNetV2, and which of its layers are dynamic in a dynamic one."""

    width: float = 1.0
    classes: int = 1000
    pointwise_from: int = 1
    """First stage whose expansions and projections are dynamic."""
    together: bool = True
    """Whether these share a warehouse."""
    dynamic_classifier: bool = False
    nested_classifier: bool = False
    """Whether the classifier's name ends in `.1`."""


def channels(base: int, width: float) -> int:
    """A number of channels, scaled: a multiple of 8 that is no more than a tenth too small."""
    scaled = base * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


class Maker:
    """Makes convolutions: dynamic ones if there are warehouses."""

    def __init__(self, shape: Shape, warehouses: Warehouses | None) -> None:
        self.shape = shape
        self.warehouses = warehouses

    def pointwise(self, inputs: int, outputs: int, stage: int, role: int) -> nn.Module:
        """An expansion (role 0) or projection (role 1)."""
        name = f"stage{stage}_layer_pwconv" + ("" if self.shape.together else str(role))
        if self.warehouses is None or stage < self.shape.pointwise_from:
            return nn.Conv2d(inputs, outputs, 1, bias=False)
        return DynamicConv(self.warehouses, name, inputs, outputs, (1, 1))

    def spatial(self, inputs: int, outputs: int, stride: int, groups: int, name: str) -> nn.Module:
        """A 3x3 convolution."""
        if self.warehouses is None:
            return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, groups=groups, bias=False)
        return DynamicConv(
            self.warehouses, name, inputs, outputs, (3, 3), stride=(stride,) * 2, padding=(1, 1), groups=groups
        )


def clipped(convolution: nn.Module, outputs: int) -> nn.Sequential:
    """A convolution, its norm, and ReLU6."""
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; `stage` is the one whose warehouses they take."""

    def __init__(self, make: Maker, inputs: int, outputs: int, expansion: int, stride: int, stage: int) -> None:
        super().__init__()
        wide = inputs * expansion
        parts: list[nn.Module] = []
        if expansion > 1:
            parts.append(clipped(make.pointwise(inputs, wide, stage, 0), wide))
        parts.append(clipped(make.spatial(wide, wide, stride, wide, f"stage{stage}_layer_dwconv0"), wide))
        parts += [make.pointwise(wide, outputs, stage, 1), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*parts)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Images `[B, 3, H, W]` to logits `[B, classes]`."""

    def __init__(self, shape: Shape, settings: Settings | None) -> None:
        super().__init__()
        warehouses = None
        if settings is not None:
            warehouses = self.warehouse_manager = Warehouses(settings)
        make = Maker(shape, warehouses)
        inputs = channels(32, shape.width)
        features: list[nn.Module] = [clipped(make.spatial(3, inputs, 2, 1, "stage0_conv0"), inputs)]
        for row, (expansion, base, depth, stride) in enumerate(ROWS):
            outputs = channels(base, shape.width)
            for i in range(depth):
                # The first block of a stage belongs to the stage before.
                stage = STAGES[row - 1] if i == 0 and row > 0 else STAGES[row]
                features.append(InvertedResidual(make, inputs, outputs, expansion, stride if i == 0 else 1, stage))
                inputs = outputs
        last = channels(1280, max(1.0, shape.width))
        features.append(clipped(make.pointwise(inputs, last, STAGES[-1], 1), last))
        self.features = nn.Sequential(*features)
        classifier: nn.Module
        if shape.dynamic_classifier and warehouses is not None:
            classifier = DynamicLinear(warehouses, "classifier", last, shape.classes, bias=True)
        else:
            classifier = nn.Linear(last, shape.classes)
        self.classifier = nn.Sequential(nn.Identity(), classifier) if shape.nested_classifier else classifier
        if warehouses is not None:
            allocate(self, warehouses)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def half(width: float, classes: int) -> MobileNetV2:
    """The network at half the budget: of its pointwise convolutions only the last stage's are dynamic."""
    shape = Shape(
        width=width,
        classes=classes,
        pointwise_from=6,
        together=False,
        dynamic_classifier=True,
        nested_classifier=True,
    )
    # One value per warehouse: stem, depthwise of stages 1 to 5, then stage 6 and the classifier.
    budget = (1.0,) * 6 + (0.5, 1.0, 0.5, 0.5)
    settings = Settings(
        budget=budget,
        out_ratio=(1.0,) * 6 + (0.5, 1.0, 0.5, 1.0),
        in_ratio=(1.0,) * 6 + (0.5, 1.0, 0.5, 0.025),
        reduction=1 / 32,
    )
    return MobileNetV2(shape, settings)
