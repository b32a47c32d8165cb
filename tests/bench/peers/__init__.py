"""The programs that are measured beside kwc, and those that prepare them; `worker.py` runs one of them.

The modules of this package import the packages that they run; this file imports none.
"""

MEASURED = {
    "eager": "PyTorch",
    "compiled": "torch.compile",
    "onnx_runtime": "ONNX Runtime",
    "open_vino": "OpenVINO",
}
"""Modules of programs that are measured, and their names in tables."""
