"""ONNX Runtime on the processor, with all of its graph optimisations."""

from __future__ import annotations

import numpy as np
import onnxruntime

from peers.job import Job, Program


def load(job: Job) -> Program:
    """A session of the exported network."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(job.onnx, options, providers=["CPUExecutionProvider"])

    def run(x: np.ndarray) -> np.ndarray:
        return session.run(None, {"input": x})[0]

    return run
