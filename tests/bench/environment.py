"""A virtual environment with the packages of `requirements.txt`, for this script alone."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def enter(folder: Path) -> None:
    """Continues in the environment: makes it if need be, and starts this program again there with the same arguments."""
    python = folder / "bin" / "python"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    wanted = REQUIREMENTS.read_text()
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing PyTorch, ONNX Runtime and OpenVINO into {folder}: some gigabytes, once", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        stamp.write_text(wanted)
    os.execv(python, [str(python), *sys.argv])
