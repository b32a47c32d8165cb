"""PyTorch as it comes: operation by operation."""

from __future__ import annotations

import numpy as np
import torch

from peers.job import Job, Program


def load(job: Job) -> Program:
    """The network as it is defined."""
    torch.set_num_threads(job.threads)
    network = job.module()

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return run
