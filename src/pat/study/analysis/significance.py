"""A mean against a region: how sure it is that it lies inside, or outside."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from pat.study.analysis.intervals import Interval

# Where a mean has to lie, an open interval; an end may be infinite.
Region = tuple[float, float]


def p_values(values: Sequence[float], region: Region) -> tuple[float, float]:
    """One-sided t-tests of the mean: that it lies inside the region, and that it lies outside.

    Inside a region with two ends is the equivalence test, two one-sided tests of which the weaker counts
    (Schuirmann 1987). Outside of one is below or above it, so the stronger counts, doubled. Values without
    any spread are decided by where they lie; one value alone decides nothing.

    Args:
        values: independent, one a seed.
        region: its two ends, the lower first.

    Returns:
        The p-values for inside and for outside, in [0, 1].

    Raises:
        ValueError: if there is no value, one is not finite, or the region is empty or everything.
    """
    low, high = region
    data = np.asarray(values, dtype=float)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"a test needs finite values, got {data.tolist()}")
    if not low < high or (math.isinf(low) and math.isinf(high)):
        raise ValueError(f"expected a region with its lower end first, and one end finite, got {region}")
    if data.size == 1:
        return 1.0, 1.0
    inside = [_above(sign * data, sign * end) for sign, end in ((1, low), (-1, high)) if math.isfinite(end)]
    outside = [_above(sign * data, sign * end) for sign, end in ((-1, low), (1, high)) if math.isfinite(end)]
    return max(inside), min(1.0, len(outside) * min(outside))


def _above(data: np.ndarray, bound: float) -> float:
    """p-value of Student's t-test for a mean above the bound."""
    spread = float(stats.sem(data)) if np.ptp(data) > 0 else 0.0
    if spread == 0:
        return 0.0 if data[0] > bound else 1.0
    return float(stats.t.sf((data.mean() - bound) / spread, data.size - 1))


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, step down (Holm 1979), in the order given."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted


def lies(interval: Interval, region: Region) -> bool | None:
    """Whether an interval lies inside a region as a whole (True) or outside (False); None if neither."""
    low, high = region
    if interval.low is None or interval.high is None:
        return None
    if low < interval.low and interval.high < high:
        return True
    return False if interval.high < low or high < interval.low else None
