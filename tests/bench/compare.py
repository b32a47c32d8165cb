"""Measures one network at one batch size: prepares all programs, compares their outputs, then times them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import rounds
from peers.job import Job
from programs import Failed, Kwc, Peer, Program, child, kwc, spec
from report import OURS, Result

READERS_OF_ONNX = ("onnx_runtime", "open_vino")

SOURCES = ("layers.py", "state.py", "networks", "peers/export.py", "requirements.txt")
"""What an exported network is made by."""


@dataclass(frozen=True)
class Options:
    """How everything is measured."""

    command: Path
    """The command `kwc`."""
    work: Path
    """Folder for weights, exported networks, logs."""
    peers: tuple[str, ...]
    threads: int
    size: int
    seed: int
    tolerance: float
    """The largest difference of outputs from PyTorch's in f64, relative to their standard deviation."""
    effort: rounds.Effort


def compare(network: str, batches: Iterable[int], options: Options) -> list[Result]:
    """Measures a network at some batch sizes.

    Raises Failed if a program can't be prepared or its outputs are wrong.
    """
    weights = weights_of(network, options)
    batches = tuple(batches)
    plan = json.loads(kwc(options.command, "plan", spec(network), "--set", f"size={options.size}", "--format", "json"))
    x = images(max(batches), options.size, options.seed)
    scratch = folder(options.work / "scratch")
    base = Job(network, str(weights), 1, options.size, options.threads, onnx="")
    exact = reference(replace(base, batch=len(x)), x, scratch)
    results = []
    for batch in batches:
        job = replace(base, batch=batch)
        if any(peer in READERS_OF_ONNX for peer in options.peers):
            job = exported(job, options.work, scratch)
        with ExitStack() as stack:
            programs: dict[str, Program] = {OURS: Kwc(options.command, job, scratch)}
            for peer in options.peers:
                note(f"{network}, batch {batch}: preparing {peer}")
                programs[peer] = Peer(peer, job, scratch)
                stack.callback(programs[peer].close)
            distances = {
                name: distance(name, program, x[:batch], exact[:batch], options) for name, program in programs.items()
            }
            note(f"{network}, batch {batch}: {options.effort.rounds} rounds")
            results.append(Result(network, batch, distances, rounds.measure(programs, options.effort), plan))
    return results


def distance(name: str, program: Program, x: np.ndarray, exact: np.ndarray, options: Options) -> float:
    """How far a program's outputs are from the reference. Raises Failed if that is too far."""
    y = program.output(np.ascontiguousarray(x))
    if y.shape != exact.shape:
        raise Failed(f"{name} gives outputs of shape {y.shape}, PyTorch {exact.shape}")
    far = float(np.abs(y - exact).max() / exact.std())
    if not far <= options.tolerance:
        raise Failed(f"outputs of {name} are {far:.1e} standard deviations from PyTorch's in f64; see `--tolerance`")
    return far


def images(batch: int, size: int, seed: int) -> np.ndarray:
    """Smooth random images `[batch, 3, size, size]`: coarse noise, interpolated, and some fine noise."""
    draw = np.random.default_rng(seed)
    coarse = draw.standard_normal((batch, 3, 8, 8), dtype=np.float32)
    at = np.linspace(0, 7, size, dtype=np.float32)
    low = np.minimum(at.astype(int), 6)
    weights = np.zeros((size, 8), np.float32)
    rows = np.arange(size)
    weights[rows, low] = 1 - (at - low)
    weights[rows, low + 1] = at - low
    smooth = np.einsum("yi,bcij,xj->bcyx", weights, coarse, weights)
    return (smooth + 0.1 * draw.standard_normal(smooth.shape, dtype=np.float32)).astype(np.float32)


def reference(job: Job, x: np.ndarray, scratch: Path) -> np.ndarray:
    """What PyTorch computes in f64, as f32."""
    note(f"{job.network}: reference")
    exact = Peer("exact", job, scratch)
    try:
        return exact.output(x)
    finally:
        exact.close()


def weights_of(network: str, options: Options) -> Path:
    """The random state that `kwc init` makes; it is kept."""
    path = folder(options.work / "weights") / f"{network}.size{options.size}.seed{options.seed}.safetensors"
    if not path.exists():
        note(f"{network}: making weights")
        size = ("--set", f"size={options.size}")
        kwc(options.command, "init", spec(network), *size, "-o", path, "--seed", options.seed)
    return path


def exported(job: Job, work: Path, scratch: Path) -> Job:
    """The job with an ONNX file, which is made unless there is one from the same weights and definition."""
    path = folder(work / "onnx") / f"{job.network}.size{job.size}.batch{job.batch}.{digest(Path(job.weights))}.onnx"
    job = replace(job, onnx=str(path))
    if not path.exists():
        note(f"{job.network}, batch {job.batch}: exporting")
        with child("export", job.threads, scratch) as process:
            process.ask(do="load", peer="export", job=asdict(job))
    return job


def digest(weights: Path) -> str:
    """Of what an exported network depends on."""
    here = Path(__file__).parent
    files = [weights]
    for source in SOURCES:
        path = here / source
        files += sorted(path.glob("*.py")) if path.is_dir() else [path]
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]


def folder(path: Path) -> Path:
    """That folder, made if it isn't there."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def note(text: str) -> None:
    """Says what is being done."""
    print(text, file=sys.stderr, flush=True)
