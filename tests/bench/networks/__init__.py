"""The networks that are measured, by the names of their specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from layers import Settings
from networks import convnext, mobilenetv2, resnet

RESNET50_HALF = Settings(budget=0.5, out_ratio=0.5, in_ratio=0.5, basis_ratio=1 / 16)

NETWORKS: dict[str, tuple[Callable[[Any, Settings | None], nn.Module], object, Settings | None]] = {
    "resnet18_static": (resnet.ResNet, resnet.RESNET18, None),
    "resnet18": (resnet.ResNet, resnet.RESNET18, Settings()),
    "resnet18_kw4x": (resnet.ResNet, resnet.RESNET18, Settings(budget=4)),
    "resnet50_static": (resnet.ResNet, resnet.RESNET50, None),
    "resnet50_kw1d2x": (resnet.ResNet, resnet.RESNET50, RESNET50_HALF),
    "resnet50": (resnet.ResNet, resnet.RESNET50, Settings()),
    "mobilenetv2_100_static": (mobilenetv2.MobileNetV2, mobilenetv2.Shape(nested_classifier=True), None),
    "mobilenetv2_100": (mobilenetv2.MobileNetV2, mobilenetv2.Shape(), Settings()),
    "convnext_tiny_static": (convnext.ConvNeXt, convnext.Shape(), None),
    "convnext_tiny": (convnext.ConvNeXt, convnext.Shape(), Settings(norm="layer")),
}
"""Class, sizes, and how the dynamic layers are mixed; None for a static network."""


def build(name: str) -> nn.Module:
    """A network in evaluation mode, all of its parameters still to be loaded."""
    make, shape, settings = NETWORKS[name]
    return make(shape, settings).eval()
