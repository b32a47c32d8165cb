"""A child process that runs one peer. It takes requests on standard input, a line of JSON each, and answers on standard output.

| request | answer |
| --- | --- |
| `{"do": "load", "peer": MODULE, "job": {...}}` | `{}` |
| `{"do": "output", "input": FILE.npy, "output": FILE.npy}` | `{}` |
| `{"do": "time", "input": FILE.npy, "warm_up": N, "runs": N}` | `{"seconds": [...]}` |
| `{"do": "machine"}` | `{"gflops": ..., "gbytes": ...}` |

What goes wrong is answered as `{"error": TEXT}`. Anything that a package prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from time import perf_counter
from typing import Any

import numpy as np

from peers.job import Job, Program


class Worker:
    """The peer of this process, once it is loaded."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.threads = 1

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what is asked."""
        match request["do"]:
            case "load":
                job = Job(**request["job"])
                self.program = importlib.import_module(f"peers.{request['peer']}").load(job)
                return {}
            case "output":
                np.save(request["output"], self.loaded()(np.load(request["input"])))
                return {}
            case "time":
                return {"seconds": measure(self.loaded(), np.load(request["input"]), request)}
            case "machine":
                import machine

                return machine.measure(request["threads"])
            case other:
                raise ValueError(f"a worker can't do {other!r}")

    def loaded(self) -> Program:
        """The peer."""
        if self.program is None:
            raise RuntimeError("nothing is loaded")
        return self.program


def measure(program: Program, x: np.ndarray, request: dict[str, Any]) -> list[float]:
    """Seconds of single runs, one after the other, after some that don't count."""
    for _ in range(request["warm_up"]):
        program(x)
    seconds = []
    for _ in range(request["runs"]):
        start = perf_counter()
        program(x)
        seconds.append(perf_counter() - start)
    return seconds


def main() -> None:
    """Answers requests until standard input closes."""
    # Packages print where they like; answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent reports it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
