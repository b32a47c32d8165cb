"""Times programs alternately: in each round every program has a turn of some runs, and each round starts with another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from programs import Program

FEWEST_RUNS = 3
MOST_RUNS = 199


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    """What a turn aims at; slow programs take longer, as a turn has `FEWEST_RUNS`."""
    warm_up: int
    """Runs at the start of a turn that don't count."""


@dataclass
class Times:
    """Of one program: the median run of each of its turns, in seconds, in the order of the rounds."""

    turns: list[float] = field(default_factory=list)
    runs: int = FEWEST_RUNS

    def summary(self) -> dict[str, float]:
        """Over the turns, in milliseconds."""
        return {
            "median": 1e3 * median(self.turns),
            "p10": 1e3 * percentile(self.turns, 10),
            "p90": 1e3 * percentile(self.turns, 90),
        }


def percentile(values: list[float], percent: float) -> float:
    """By nearest rank: the least of the values that so many percent of all don't exceed."""
    rank = max(1, ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def measure(programs: Mapping[str, Program], effort: Effort) -> dict[str, Times]:
    """Times of all programs, by their names."""
    times = {name: Times() for name in programs}
    for name, program in programs.items():
        once = program.turn(effort.warm_up, 1)
        # An odd number, so that the median is a run.
        times[name].runs = min(max(int(effort.seconds / once), FEWEST_RUNS), MOST_RUNS) | 1
    names = list(programs)
    for turn in range(effort.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].turns.append(programs[name].turn(effort.warm_up, times[name].runs))
    return times


def ratios(times: Times, unit: Times) -> dict[str, float]:
    """How many times longer a program took than another, round by round: a drifting machine slows both."""
    each = [a / b for a, b in zip(times.turns, unit.turns, strict=True)]
    return {"median": median(each), "p10": percentile(each, 10), "p90": percentile(each, 90)}
