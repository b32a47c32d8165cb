"""PyTorch's compiler, with parameters frozen into the program, for a fixed batch size."""

from __future__ import annotations

import numpy as np
import torch

from peers.job import Job, Program


def load(job: Job) -> Program:
    """The compiled network; compiling takes tens of seconds."""
    import torch._inductor.config as inductor

    torch.set_num_threads(job.threads)
    inductor.freezing = True
    network = torch.compile(job.module(), dynamic=False)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(x)).numpy()

    run(np.zeros((job.batch, 3, job.size, job.size), np.float32))
    return run
