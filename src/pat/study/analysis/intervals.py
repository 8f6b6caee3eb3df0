"""A mean and how sure it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval (Student's t over independent values).

    Attributes:
        mean, low, high: in the values' unit; low and high are None for a single value.
        n: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    def plus_minus(self, digits: int = 1) -> str:
        """``mean ± half-width`` for wide tables."""
        mean = _written(self.mean, digits)
        return mean if self.high is None else f"{mean} ± {_written(self.high - self.mean, digits)}"

    def text(self, digits: int = 1, unit: str = "") -> str:
        """``mean [low, high]`` for tables."""
        mean = f"{_written(self.mean, digits)}{unit}"
        if self.low is None or self.high is None:
            return f"{mean} (one value)"
        return f"{mean} [{_written(self.low, digits)}, {_written(self.high, digits)}]"


def _written(value: float, digits: int) -> str:
    """A number with a real minus, none before what is rounded to zero."""
    return f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(values: Iterable[float]) -> Interval:
    """Mean and t-interval of some values.

    Raises:
        ValueError: if there is none, or one is not finite.
    """
    data = np.asarray(list(values), dtype=float)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"an interval needs finite values, got {data.tolist()}")
    mean = float(data.mean())
    if data.size == 1:
        return Interval(mean, None, None, 1)
    half = float(_quantile(data.size - 1) * data.std(ddof=1) / data.size**0.5)
    return Interval(mean, mean - half, mean + half, int(data.size))


@cache  # figures ask thousands of times
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
