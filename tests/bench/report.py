"""What was measured, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import floor
from peers import MEASURED
from rounds import Times, ratios

OURS = "kwc"


@dataclass(frozen=True)
class Result:
    """Times of one network at one batch size, and how far each program's outputs are from PyTorch's in f64."""

    network: str
    batch: int
    distances: dict[str, float]
    times: dict[str, Times]
    plan: dict[str, Any]

    def peers(self) -> list[str]:
        """Names of the programs beside kwc."""
        return [name for name in self.times if name != OURS]

    def ratio(self, name: str) -> dict[str, float]:
        """How many times longer that program takes than kwc."""
        return ratios(self.times[name], self.times[OURS])

    def best(self) -> str | None:
        """The fastest of the peers."""
        return min(self.peers(), key=lambda name: self.ratio(name)["median"], default=None)


@dataclass(frozen=True)
class Machine:
    """What the machine did around the measurement: see `machine.py`. `load` is the average of a minute before."""

    start: dict[str, float]
    end: dict[str, float]
    load: dict[str, float]

    def peak(self) -> float:
        """GFLOP/s: the better of both."""
        return max(self.start["gflops"], self.end["gflops"])

    def bandwidth(self) -> float:
        """GB/s: the better of both."""
        return max(self.start["gbytes"], self.end["gbytes"])


def title(name: str) -> str:
    """A program's name for people."""
    return MEASURED.get(name, name)


def least_time(result: Result, machine: Machine) -> float:
    """The floor of a result, in milliseconds."""
    return floor.milliseconds(result.plan, result.batch, machine.peak(), machine.bandwidth())


def as_json(
    results: list[Result], machine: Machine, options: dict[str, Any], versions: dict[str, str]
) -> dict[str, Any]:
    """Everything, with single turns. Times are in milliseconds."""
    return {
        "machine": asdict(machine),
        "options": options,
        "versions": versions,
        "results": [
            {
                "network": result.network,
                "batch": result.batch,
                "floor": least_time(result, machine),
                "best_peer": result.best(),
                "programs": {
                    name: {
                        **times.summary(),
                        "runs_per_turn": times.runs,
                        "turns": [1e3 * turn for turn in times.turns],
                        "distance": result.distances[name],
                        "ratio_to_kwc": result.ratio(name),
                    }
                    for name, times in result.times.items()
                },
            }
            for result in results
        ],
    }


def draw(results: list[Result], machine: Machine) -> str:
    """Tables of times and of ratios."""
    names = list(dict.fromkeys(name for result in results for name in result.times))
    head = ["network", "batch", *(f"{title(name)} ms" for name in names), "floor ms"]
    times = [
        [
            result.network,
            str(result.batch),
            *(spread(result.times.get(name)) for name in names),
            number(least_time(result, machine)),
        ]
        for result in results
    ]
    peers = [name for name in names if name != OURS]
    against = ["network", "batch", *(f"{title(name)} / kwc" for name in peers), "best peer / kwc", "kwc / floor"]
    relative = []
    for result in results:
        best = result.best()
        cells = [f"{result.ratio(name)['median']:.2f}" if name in result.times else "" for name in peers]
        cells.append("" if best is None else f"{result.ratio(best)['median']:.2f}, {title(best)}")
        cells.append(f"{result.times[OURS].summary()['median'] / least_time(result, machine):.2f}")
        relative.append([result.network, str(result.batch), *cells])
    lines = [
        f"machine: {machine.start['gflops']:.0f} and at the end {machine.end['gflops']:.0f} GFLOP/s, "
        f"{machine.start['gbytes']:.0f} and {machine.end['gbytes']:.0f} GB/s; "
        f"load before {machine.load['start']:.1f}, at the end {machine.load['end']:.1f}",
        "",
        "Medians over the rounds, with percentiles 10 and 90:",
        "",
        *table([head, *times]),
        "",
        "Ratios, medians over the rounds:",
        "",
        *table([against, *relative]),
    ]
    return "\n".join(lines)


def spread(times: Times | None) -> str:
    """A median and its spread."""
    if times is None:
        return ""
    of = times.summary()
    return f"{number(of['median'])} ({number(of['p10'])} to {number(of['p90'])})"


def number(milliseconds: float) -> str:
    """Three digits or more."""
    if milliseconds >= 100:
        return f"{milliseconds:.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.2f}"


def table(rows: list[list[str]]) -> Iterable[str]:
    """Rows as a Markdown table that can be read as it is; the first row is the head, the first column text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in [rows[0], rule, *rows[1:]]:
        numbers = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield f"| {' | '.join([row[0].ljust(widths[0]), *numbers])} |"
