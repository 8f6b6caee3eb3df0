"""A mean against a region: how sure it is that it lies inside, or outside."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from pat.study.analysis.intervals import Interval

# Where a mean has to lie, an open interval; an end may be infinite.
Region = tuple[float, float]

_ENUMERABLE = 13
"""Values whose signs the signed-rank test goes through: scipy's own limit where ranks are tied."""


def p_values(
    values: Sequence[float], region: Region, above: "Callable[[np.ndarray, float], float] | None" = None
) -> tuple[float, float]:
    """One-sided tests of the centre of some values: that it lies inside the region, and that it lies outside.

    Inside a region with two ends is the equivalence test, two one-sided tests of which the weaker counts
    (Schuirmann 1987). Outside of one is below or above it, so the stronger counts, doubled. Values without
    any spread are decided by where they lie; one value alone decides nothing.

    Args:
        values: independent, one a seed.
        region: its two ends, the lower first.
        above: p-value for a centre above a bound; by default Student's t-test of the mean. See
            :func:`signed_rank`.

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
    test = above or t_test
    inside = [test(sign * data, sign * end) for sign, end in ((1, low), (-1, high)) if math.isfinite(end)]
    outside = [test(sign * data, sign * end) for sign, end in ((-1, low), (1, high)) if math.isfinite(end)]
    return max(inside), min(1.0, len(outside) * min(outside))


def t_test(data: np.ndarray, bound: float) -> float:
    """p-value of Student's t-test for a mean above the bound."""
    spread = float(stats.sem(data)) if np.ptp(data) > 0 else 0.0
    if spread == 0:
        return 0.0 if data[0] > bound else 1.0
    return float(stats.t.sf((data.mean() - bound) / spread, data.size - 1))


def signed_rank(data: np.ndarray, bound: float) -> float:
    """p-value of Wilcoxon's signed-rank test for a centre above the bound: blind to how far outliers lie.

    Collapsed runs make values bimodal, and a mean of those rests on how many of them there are.
    Exact for up to :data:`_ENUMERABLE` values, as scipy is, which calls a function for each choice of signs.
    """
    beyond = data - bound
    if not beyond.any():
        return 1.0
    if beyond.size > _ENUMERABLE:
        return float(stats.wilcoxon(beyond, alternative="greater").pvalue)
    kept = beyond[beyond != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = np.zeros(1)
    for rank in ranks:  # of the positive ones, for every choice of signs
        sums = np.concatenate([sums, sums + rank])
    return float(np.mean(sums >= ranks[kept > 0].sum()))


def directional(inside: float, outside: float) -> float:
    """Two-sided p-value of the direction that :func:`p_values` favours."""
    return min(1.0, 2 * min(inside, outside))


def resolvable(values: Sequence[float], level: float, power: float = 0.9) -> float:
    """How far a mean has to lie from a bound for a t-test of so many values to decide, with some power.

    Args:
        values: one per seed, two or more; their spread is taken for the true one.
        level: two-sided.
        power: probability of a decision.

    Returns:
        A distance, in the values' unit.
    """
    data = np.asarray(values, dtype=float)
    quantiles = stats.t.ppf([1 - level / 2, power], data.size - 1)
    return float(quantiles.sum() * stats.sem(data))


def seeds_needed(values: Sequence[float], bound: float, level: float, power: float = 0.9) -> int | None:
    """How many values of this mean and spread decide against a bound; None if the mean lies on it.

    Args and power as in :func:`resolvable`; normal quantiles, so that few values make it a little too small.
    """
    data = np.asarray(values, dtype=float)
    distance = abs(float(data.mean()) - bound)
    if distance == 0:
        return None
    quantiles = float(stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power))
    return max(2, math.ceil((quantiles * float(data.std(ddof=1)) / distance) ** 2))


def false_discovery(p: Sequence[float]) -> list[float]:
    """p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995), in the order given."""
    return [float(q) for q in stats.false_discovery_control(list(p))] if p else []


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
