"""PyTorch in f64: what all programs are compared with. It is not measured."""

from __future__ import annotations

import numpy as np
import torch

from peers.job import Job, Program


def load(job: Job) -> Program:
    """The network in f64; takes and returns f32."""
    torch.set_num_threads(job.threads)
    network = job.module().double()

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(x).double()).float().numpy()

    return run
