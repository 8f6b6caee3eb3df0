"""Sentences with a number in them: what differs from what, by how much, and how sure that is."""

import math
from collections.abc import Iterable, Sequence

from pat.study.analysis.intervals import Interval, interval

_FEW = 5
"""So many epochs are told one by one."""
NOT_RUN = "The store has no runs that this chapter's finding could be drawn from."


def difference(values: Iterable[float], more: str, less: str, unit: str = " points", digits: int = 1) -> str:
    """Which way a difference goes: ``gains 1.2 points [0.4, 2.0]``, and whether it may be none.

    Args:
        values: one a seed.
        more, less: what is said where the mean is above and below zero, with a place for the number (``{}``),
            which is positive in both.
        unit: with its space, as it follows the number.
        digits: after the point.

    Raises:
        ValueError: without values.
    """
    found = interval(values)
    side = found if found.mean >= 0 else _turned(found)
    text = (more if found.mean >= 0 else less).format(amount(side, unit, digits))
    if found.low is not None and found.high is not None and found.low <= 0 <= found.high:
        text += " (or nothing)"
    return text


def amount(found: Interval, unit: str = " points", digits: int = 1) -> str:
    """``1.2 points [0.4, 2.0]``, as :meth:`Interval.text`, with brackets that do not break."""
    return found.text(digits, unit).replace(", ", ",\N{NO-BREAK SPACE}")


def known(values: Iterable[float], digits: int = 1) -> str:
    """:func:`amount` of the values that are there, without a unit; a dash where there is none."""
    own = [value for value in values if not math.isnan(value)]
    return amount(interval(own), "", digits) if own else "–"


def epochs(found: Iterable[tuple[float | None, bool | None]]) -> str:
    """Epochs over some seeds: each of a few, mean and range of many.

    Args:
        found: by seed an epoch (None or NaN: nothing was pruned), and whether EPI fired (None: not asked);
            where it stayed silent the epoch is the pre-defined one.

    Returns:
        Of a few seeds ``12, –, (30)``, of many ``17 (14 to 21), silent in 3``; the silent ones are not in
        the mean.
    """
    own = [(math.nan if epoch is None else epoch, fired is not False) for epoch, fired in found]
    if len(own) <= _FEW:
        texts = ["–" if math.isnan(e) else f"{e:g}" if fired else f"({e:g})" for e, fired in own]
        return ", ".join(texts)
    known = [epoch for epoch, fired in own if fired and not math.isnan(epoch)]
    low, high = min(known, default=0), max(known, default=0)
    text = f"{low:g}" if low == high else f"{sum(known) / len(known):.0f} ({low:g} to {high:g})"
    parts = [text] if known else []
    if silent := sum(not fired for _, fired in own):
        parts.append(f"silent in {silent}")
    if none := sum(fired and math.isnan(epoch) for epoch, fired in own):
        parts.append(f"none in {none}")
    return ", ".join(parts)


def seeds(samples: Iterable[Sequence[int] | Iterable[int]]) -> str:
    """``12 seeds``: the fewest behind any of the numbers."""
    return many(min((len(set(sample)) for sample in samples), default=0), "seed")


def many(n: int, what: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def listed(texts: Sequence[str]) -> str:
    """``a, b and c``."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def percent(ratio: float) -> str:
    return f"{100 * ratio:g} %"


def _turned(found: Interval) -> Interval:
    low, high = (None if end is None else -end for end in (found.high, found.low))
    return Interval(-found.mean, low, high, found.n)
