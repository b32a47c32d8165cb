"""Holds the PyTorch definition to golden data: the layer cases, and those networks that have weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import state
from layers import DynamicConv, DynamicLinear, Settings, Warehouses, allocate, set_temperature
from networks import convnext, mobilenetv2, resnet

LAYER_BOUND = 3e-5
"""Of layers: the largest difference, relative to the reference's standard deviation."""

NETWORK_BOUND = 1e-5
"""The least bound of networks; the reference's own distance from f64 times `NETWORK_FACTOR` may be more."""

NETWORK_FACTOR = 50


@dataclass(frozen=True)
class Finding:
    """How far something is from the reference, and how far it may be."""

    case: str
    what: str
    distance: float
    bound: float

    @property
    def right(self) -> bool:
        """Whether it is near enough; what is no number isn't."""
        return self.distance <= self.bound


def distance(y: Tensor, reference: Tensor) -> float:
    """The largest difference, relative to the reference's standard deviation."""
    if y.shape != reference.shape:
        return float("inf")
    y, reference = y.double(), reference.double()
    return float((y - reference).abs().max() / reference.std())


def check(folder: Path) -> Iterator[Finding]:
    """Runs every case of a folder that has `layers/`, and may have `networks/` and `full/`.

    Raises FileNotFoundError if there are no layer cases, and ValueError if a state doesn't fit.
    """
    layers = sorted((folder / "layers").glob("*.json"))
    if not layers:
        raise FileNotFoundError(f"{folder} holds no layer cases: name a folder that has layers/CASE.json")
    for path in layers:
        yield from check_layers(path)
    for path in sorted([*(folder / "networks").glob("*.json"), *(folder / "full").glob("*.json")]):
        if path.with_suffix(".io.safetensors").exists():
            yield check_network(path)


def check_layers(path: Path) -> Iterator[Finding]:
    """Runs each layer of a case on its own input; compares outputs, attentions and the cells that mixtures start with."""
    case = json.loads(path.read_text())
    network, layers = layers_of(case)
    state.load(network, path.with_suffix(".weights.safetensors"))
    set_temperature(network, case["temperature"])
    io = load_file(path.with_suffix(".io.safetensors"))
    for i, layer in enumerate(layers):
        attentions: list[Tensor] = []
        convolution = layer.conv if isinstance(layer, DynamicLinear) else layer
        convolution.attention.register_forward_hook(lambda _, __, alpha, into=attentions: into.append(alpha))
        with torch.inference_mode():
            y = layer(io[f"{i}/input"])
        name = path.stem
        yield Finding(name, f"{i}/output", distance(y, io[f"{i}/output"]), LAYER_BOUND)
        alpha = attentions[0].flatten(0, 1)
        yield Finding(name, f"{i}/attention", distance(alpha, io[f"{i}/attention"]), LAYER_BOUND)
        target = convolution.attention.target.flatten()
        yield Finding(name, f"{i}/temperature_bias", distance(target, io[f"{i}/temperature_bias"]), 0.0)


def layers_of(case: dict[str, Any]) -> tuple[nn.Module, list[DynamicConv | DynamicLinear]]:
    """A network that holds the layers of a case, and the layers. Warehouses have the names of the case's plan."""
    settings = settings_of(case["manager"])
    planned = case["plan"]
    names = [warehouse["name"] for warehouse in planned["warehouses"]]
    network = nn.Module()
    network.warehouse_manager = warehouses = Warehouses(settings)
    layers: list[DynamicConv | DynamicLinear] = []
    for options, plan in zip(case["layers"], planned["layers"], strict=True):
        warehouse = names[plan["warehouse"]]
        inputs, outputs = options["in_planes"], options["out_planes"]
        kernel = tuple(plan["kernel"])
        if options.get("layer_type") == "linear":
            layers.append(DynamicLinear(warehouses, warehouse, inputs, outputs, bias=options["bias"]))
            continue
        extents = {name: spread(options.get(name), len(kernel)) for name in ("stride", "padding", "dilation")}
        layers.append(
            DynamicConv(
                warehouses,
                warehouse,
                inputs,
                outputs,
                kernel,
                **extents,
                groups=options.get("groups", 1),
                bias=options["bias"],
            )
        )
    network.layers = nn.ModuleList(layers)
    allocate(network, warehouses)
    return network.eval(), layers


def spread(value: int | list[int] | None, dims: int) -> tuple[int, ...] | None:
    """An extent for each dimension, from one for all or a list."""
    if value is None:
        return None
    return (value,) * dims if isinstance(value, int) else tuple(value)


def settings_of(config: dict[str, Any]) -> Settings:
    """Settings from the names that the reference gives them."""
    return Settings(
        budget=config.get("cell_num_ratio", 1),
        out_ratio=config.get("cell_outplane_ratio", 1),
        in_ratio=config.get("cell_inplane_ratio", 1),
        reduction=config.get("reduction", 1 / 16),
        basis_ratio=config.get("nonlocal_basis_ratio"),
        norm="layer" if config.get("norm_layer") == "LayerNorm" else "batch",
        spatial_partition=config.get("spatial_partition", True),
    )


def check_network(path: Path) -> Finding:
    """Runs a whole network and compares with the reference in f64."""
    case = json.loads(path.read_text())
    network = network_of(case)
    state.load(network, path.with_suffix(".weights.safetensors"))
    io = load_file(path.with_suffix(".io.safetensors"))
    with torch.inference_mode():
        y = network(io["input"])
    bound = max(NETWORK_FACTOR * case["reference_error"]["f32_vs_f64_max_over_std"], NETWORK_BOUND)
    return Finding(path.stem, "output", distance(y, io["output_f64"]), bound)


def network_of(case: dict[str, Any]) -> nn.Module:
    """The network of a case, in evaluation mode. Raises ValueError for one that isn't defined here."""
    model, config, narrowed = case["model"], case["config"], case["narrowed"] or {}
    dynamic = model.startswith("kw")
    settings = settings_of(config) if dynamic else None
    classes = case["num_classes"]
    if "resnet" in model:
        widths = {}
        if narrowed:
            widths = {"stem": narrowed["stem_width"], "widths": tuple(narrowed["stage_widths"])}
        base = resnet.RESNET50 if "50" in model else resnet.RESNET18
        return resnet.ResNet(replace(base, classes=classes, **widths), settings).eval()
    if "convnext" in model:
        sizes = {}
        if narrowed:
            sizes = {"depths": tuple(narrowed["depths"]), "widths": tuple(narrowed["dims"])}
        if settings is not None:
            settings = settings_of({**config, "norm_layer": "LayerNorm"})
        return convnext.ConvNeXt(convnext.Shape(classes=classes, **sizes), settings).eval()
    if "mobilenet" in model:
        width = config.get("width_mult", 0.5 if model.endswith("_050") else 1.0)
        if model.startswith("kw1d2x"):
            return mobilenetv2.half(width, classes).eval()
        shape = mobilenetv2.Shape(
            width=width,
            classes=classes,
            together="pwconv" in config.get("sharing_range", []),
            nested_classifier=not dynamic,
        )
        return mobilenetv2.MobileNetV2(shape, settings).eval()
    raise ValueError(f"there is no definition of {model}")
