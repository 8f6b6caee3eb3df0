"""Rounds: sides that take turns in, a ratio with its spread out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

Clock = Callable[[], float]
"""Seconds since some moment."""
Side = Callable[[], float]
"""What does the work once and says what it took."""
Times = dict[str, list[float]]
"""By side, one value a round."""


def take_turns(sides: Mapping[str, Side], rounds: int, warm_up: int = 1) -> Times:
    """Each side once a round, the first of them another one each time.

    A machine that is busy for a while slows all of them down, so that the ratio within a round stays.

    Args:
        sides: by name.
        rounds: that count.
        warm_up: rounds before them that do not.
    """
    names, taken = list(sides), Times({name: [] for name in sides})
    for i in range(warm_up + rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            value = sides[name]()
            if i >= warm_up:
                taken[name].append(value)
    return taken


def timed(work: Callable[[], object], now: Clock = time.perf_counter) -> Side:
    """A side that is this work on a clock."""

    def side() -> float:
        begin = now()
        work()
        return now() - begin

    return side


@dataclass(frozen=True)
class Ratio:
    """One side's value to another's, round by round.

    Attributes:
        what: the sides, ``"on / off"``.
        values: one a round.
        aim: what it should be, for people; nothing fails by it.
        beside: what else is to be known of it, by name.
    """

    what: str
    values: list[float]
    aim: str = ""
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def spread(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile over rounds."""
        if len(self.values) == 1:
            return (self.values[0],) * 3
        low, _, high = quantiles(self.values, n=4, method="inclusive")
        return low, median(self.values), high

    def content(self) -> dict[str, Any]:
        """For a record."""
        low, middle, high = (float(f"{value:.6g}") for value in self.spread)
        return {
            "what": self.what,
            "aim": self.aim,
            "rounds": len(self.values),
            "median": middle,
            "quartiles": [low, high],
            "values": [float(f"{value:.6g}") for value in self.values],
            "beside": self.beside,
        }

    def line(self) -> str:
        """For people."""
        low, middle, high = self.spread
        beside = "".join(f"; {name} {value}" for name, value in self.beside.items())
        return f"{self.what}: {middle:.4g} ({low:.4g} to {high:.4g}, {len(self.values)} rounds){beside}"


def ratio(times: Times, over: str, under: str, aim: str = "", **beside: Any) -> Ratio:
    """Of two sides that took turns, with the median seconds of both beside it."""
    values = [a / b for a, b in zip(times[over], times[under], strict=True)]
    seconds = {f"seconds {name}": float(f"{median(times[name]):.3g}") for name in (over, under)}
    return Ratio(f"{over} / {under}", values, aim, beside | seconds)
