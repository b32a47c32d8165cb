"""Exports a network to ONNX, for one batch size. It isn't measured; it runs in a process of its own for its memory."""

from __future__ import annotations

import os

import numpy as np
import torch

from peers.job import Job, Program


def load(job: Job) -> Program:
    """Writes the ONNX file, unless it exists. There is nothing to run then."""
    if not os.path.exists(job.onnx):
        torch.set_num_threads(job.threads)
        example = torch.zeros(job.batch, 3, job.size, job.size)
        exported = torch.onnx.export(
            job.module(), (example,), dynamo=True, input_names=["input"], output_names=["output"], verbose=False
        )
        if exported is None:
            raise RuntimeError("PyTorch exported nothing")
        partial = f"{job.onnx}.partial"
        exported.save(partial, external_data=False)
        os.replace(partial, job.onnx)

    def run(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("an export can't be run")

    return run
