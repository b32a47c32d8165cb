#!/usr/bin/env python3
"""Times kwc's CPU target beside PyTorch, ONNX Runtime and OpenVINO: see the README in this folder."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

EXAMPLES = """\
examples:
  cargo build --release -p kwc
  tests/bench/bench.py check
  tests/bench/bench.py run --json bench.json
  tests/bench/bench.py run resnet18 resnet50 --batch 1 --rounds 5
  tests/bench/bench.py run resnet18 --size 64 --peers eager,open_vino --rounds 2

The first command makes a virtual environment under `--work` and installs the packages of requirements.txt there.
"""


def main() -> int:
    """Does what the command line says; returns the exit code."""
    arguments = parser().parse_args()
    if not arguments.here:
        import environment

        environment.enter(arguments.work.resolve() / "environment")
    return arguments.command(arguments)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--work", type=Path, default=BUILT / "bench", metavar="DIR", help="folder for all that is made [%(default)s]"
    )
    common.add_argument(
        "--here", action="store_true", help="use this Python and its packages, make no virtual environment"
    )
    verbs = top.add_subparsers(required=True, metavar="COMMAND")

    check = verbs.add_parser("check", parents=[common], help="compare the PyTorch definition with golden data")
    check.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=ROOT / "tests" / "golden",
        help="folder that has layers/ and may have networks/ and full/ [the repository's]",
    )
    check.set_defaults(command=run_check)

    run = verbs.add_parser(
        "run", parents=[common], help="time all programs alternately", formatter_class=argparse.HelpFormatter
    )
    run.add_argument("networks", nargs="*", metavar="NETWORK", help="names of specs, of those that are defined [all]")
    run.add_argument("--batch", type=integers, default=(1, 8), metavar="N,...", help="samples at a time [1,8]")
    run.add_argument("--threads", type=positive, default=2, metavar="N", help="threads of each program [%(default)s]")
    run.add_argument("--peers", type=words, metavar="NAME,...", help="programs beside kwc [all]")
    run.add_argument("--rounds", type=positive, default=10, metavar="N", help="turns of each program [%(default)s]")
    run.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        metavar="S",
        help="time to fill in a turn, of three runs or more [%(default)s]",
    )
    run.add_argument(
        "--warm-up", type=positive, default=2, metavar="N", help="runs in a turn that don't count [%(default)s]"
    )
    run.add_argument("--size", type=positive, default=224, metavar="N", help="width and height of images [%(default)s]")
    run.add_argument("--seed", type=int, default=1, metavar="N", help="which random weights and images [%(default)s]")
    run.add_argument(
        "--tolerance",
        type=float,
        default=5e-3,
        metavar="X",
        help="largest difference of outputs from PyTorch's in f64, in standard deviations [%(default)s]",
    )
    run.add_argument(
        "--kwc", type=Path, default=BUILT / "release" / "kwc", metavar="FILE", help="the command [%(default)s]"
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    run.set_defaults(command=run_run)
    return top


def words(text: str) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(word for word in text.split(",") if word)


def positive(text: str) -> int:
    """A whole number above zero."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it is 1 or more")
    return value


def integers(text: str) -> tuple[int, ...]:
    """Whole numbers above zero, separated by commas."""
    return tuple(positive(word) for word in words(text))


def run_check(arguments: argparse.Namespace) -> int:
    """`check`: prints each distance from the golden data; 1 if one is too large."""
    import golden

    wrong = 0
    try:
        for found in golden.check(arguments.folder):
            wrong += not found.right
            mark = "" if found.right else "  WRONG"
            print(f"{found.case:28} {found.what:20} {found.distance:8.1e} of {found.bound:.1e}{mark}")
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("all are right" if wrong == 0 else f"{wrong} are wrong")
    return int(wrong > 0)


def run_run(arguments: argparse.Namespace) -> int:
    """`run`: measures, prints tables, writes JSON."""
    from importlib.metadata import version

    import compare
    import report
    import rounds
    from networks import NETWORKS
    from peers import MEASURED
    from programs import Failed, child

    networks = arguments.networks or list(NETWORKS)
    peers = tuple(MEASURED) if arguments.peers is None else arguments.peers
    for given, known in ((networks, NETWORKS), (peers, MEASURED)):
        unknown = [name for name in given if name not in known]
        if unknown:
            print(f"error: {', '.join(unknown)} is not defined; there are {', '.join(known)}", file=sys.stderr)
            return 2
    if not arguments.kwc.exists():
        print(f"error: there is no {arguments.kwc}: run `cargo build --release -p kwc`", file=sys.stderr)
        return 1
    effort = rounds.Effort(arguments.rounds, arguments.seconds, arguments.warm_up)
    options = compare.Options(
        command=arguments.kwc.resolve(),
        work=arguments.work.resolve(),
        peers=peers,
        threads=arguments.threads,
        size=arguments.size,
        seed=arguments.seed,
        tolerance=arguments.tolerance,
        effort=effort,
    )

    def machine() -> dict[str, float]:
        compare.note("measuring the machine")
        with child("machine", options.threads, compare.folder(options.work / "scratch")) as process:
            return process.ask(do="machine", threads=options.threads)

    results: list[report.Result] = []
    failed = False
    load = {"start": os.getloadavg()[0]}
    start = machine()
    for network in networks:
        try:
            results += compare.compare(network, arguments.batch, options)
        except Failed as error:
            # The other networks are measured all the same.
            print(f"error: {network}: {error}", file=sys.stderr)
            failed = True
    load["end"] = os.getloadavg()[0]
    if not results:
        return 1
    around = report.Machine(start, machine(), load)
    print(report.draw(results, around))
    if arguments.json is not None:
        packages = ("torch", "onnxruntime", "openvino", "numpy")
        versions = {name: version(name) for name in packages}
        commit = subprocess.run(
            ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
        )
        versions["kwc"] = commit.stdout.strip()
        described = {
            "batch": arguments.batch,
            "threads": options.threads,
            "rounds": effort.rounds,
            "seconds": effort.seconds,
            "warm_up": effort.warm_up,
            "size": options.size,
            "seed": options.seed,
        }
        arguments.json.write_text(json.dumps(report.as_json(results, around, described, versions), indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
