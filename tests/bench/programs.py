"""Programs as the measurement sees them: something that gives outputs and times of runs. Peers live in child processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file, save_file

from peers.job import Job

WORKER = Path(__file__).with_name("worker.py")
SPECS = Path(__file__).resolve().parents[2] / "specs"

ENVIRONMENT = {
    # Compiling is done in the process itself, which can be stopped, and not in a pool beside it.
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Failed(Exception):
    """A program that could not do what it was asked."""


class Program(Protocol):
    """What is measured."""

    def output(self, x: np.ndarray) -> np.ndarray:
        """The network's logits `[batch, classes]` for images `[batch, 3, H, W]`."""

    def turn(self, warm_up: int, runs: int) -> float:
        """Median of the seconds of some runs in a row, after some that don't count."""

    def close(self) -> None:
        """Ends what the program has running."""


class Child:
    """A worker process. It is stopped whenever it isn't asked something, so that its threads can't disturb others."""

    def __init__(self, name: str, threads: int, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        environment = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
        with self.log.open("w") as log:
            # A process group of its own: the system ends it if this process dies while it is stopped.
            self.process = subprocess.Popen(
                [sys.executable, WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                process_group=0,
            )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer. Raises Failed if it is an error, or the process ended."""
        if self.process.stdin is None or self.process.stdout is None:
            raise Failed(f"{self.name} has no pipes")
        self.process.send_signal(signal.SIGCONT)
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"{self.name} ended with {self.process.wait()}: see {self.log}")
        self.process.send_signal(signal.SIGSTOP)
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']} (see {self.log})")
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


@contextmanager
def child(name: str, threads: int, folder: Path) -> Iterator[Child]:
    """A worker process for some requests."""
    process = Child(name, threads, folder)
    try:
        yield process
    finally:
        process.close()


class Peer:
    """A program of the package `peers`, in a process that stays alive."""

    def __init__(self, module: str, job: Job, folder: Path) -> None:
        self.folder = folder
        self.child = Child(module, job.threads, folder)
        self.x = folder / f"{module}.input.npy"
        np.save(self.x, np.zeros((job.batch, 3, job.size, job.size), np.float32))
        try:
            self.child.ask(do="load", peer=module, job=asdict(job))
        except BaseException:
            self.close()
            raise

    def output(self, x: np.ndarray) -> np.ndarray:
        """Runs the network; the images are those of later runs, too."""
        np.save(self.x, x)
        y = self.folder / f"{self.child.name}.output.npy"
        self.child.ask(do="output", input=str(self.x), output=str(y))
        return np.load(y)

    def turn(self, warm_up: int, runs: int) -> float:
        """Times the network on the images that it saw last."""
        seconds = self.child.ask(do="time", input=str(self.x), warm_up=warm_up, runs=runs)["seconds"]
        return median(seconds)

    def close(self) -> None:
        """Ends the process."""
        self.child.close()


class Kwc:
    """The command `kwc`, in a new process each time; its start isn't part of what it measures."""

    def __init__(self, command: Path, job: Job, folder: Path) -> None:
        self.command = command
        self.job = job
        self.folder = folder

    def output(self, x: np.ndarray) -> np.ndarray:
        """Runs the network by `kwc run`."""
        given, made = self.folder / "kwc.input.safetensors", self.folder / "kwc.output.safetensors"
        save_file({"input": x}, given)
        self.call("run", "--input", given, "--output", made)
        return load_file(made)["output"]

    def turn(self, warm_up: int, runs: int) -> float:
        """Times the network by `kwc bench`, on random images of its own."""
        text = self.call(
            *("bench", "--batch", self.job.batch, "--warm-up", warm_up, "--iterations", runs, "--format", "json")
        )
        return json.loads(text)["batches"][0]["latency"]["p50"] / 1e6

    def call(self, verb: str, *options: object) -> str:
        """Runs a verb on the network with its weights."""
        job = self.job
        network = (spec(job.network), "--set", f"size={job.size}", "--weights", job.weights)
        return kwc(self.command, verb, *network, "--threads", job.threads, *options)

    def close(self) -> None:
        """Nothing is left running."""


def spec(network: str) -> Path:
    """The spec of a network."""
    return SPECS / f"{network}.yaml"


def kwc(command: Path, *arguments: object) -> str:
    """What the command prints. Raises Failed with its message if it fails."""
    done = subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"kwc {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
