"""OpenVINO on the processor, for latency."""

from __future__ import annotations

import numpy as np
import openvino

from peers.job import Job, Program

OPTIONS = {
    # Without this it computes in bf16 where the processor can.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
}


def load(job: Job) -> Program:
    """A request of the exported network."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(job.onnx), "CPU", {**OPTIONS, "INFERENCE_NUM_THREADS": job.threads})
    request = model.create_infer_request()

    def run(x: np.ndarray) -> np.ndarray:
        return request.infer({0: x}, share_inputs=True)[0]

    return run
