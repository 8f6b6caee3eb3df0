"""Comparison: one's own runs against the published ones of the same specs."""

from collections.abc import Iterable
from dataclasses import dataclass

from pat.study.record import Record
from pat.study.store import AnyStore


@dataclass(frozen=True)
class Comparison:
    """How runs made here agree with published ones.

    Attributes:
        equal: how many have the same status, result and cost, to the last digit.
        different: pairs (published, own) that have not.
        unknown: own runs that nobody published.
    """

    equal: int
    different: list[tuple[Record, Record]]
    unknown: list[Record]

    @property
    def largest(self) -> float:
        """The largest difference of test accuracy, in points; 0 without any."""
        return max((_apart(*pair) for pair in self.different), default=0.0)


def compare(own: Iterable[Record], published: AnyStore) -> Comparison:
    """Compare runs with the published ones of the same ids.

    On the processor and with the versions that made them they are equal bit for bit; another processor
    rounds differently, and after some epochs of training that shows.

    Raises:
        DamagedRecord: if a published record was changed.
    """
    equal, different, unknown = 0, [], []
    for record in own:
        known = published.record(record.spec)
        if known is None:
            unknown.append(record)
        elif known.same_result(record):
            equal += 1
        else:
            different.append((known, record))
    return Comparison(equal, different, unknown)


def _apart(one: Record, two: Record) -> float:
    if one.result is None or two.result is None:
        return 0.0
    return abs(one.result.test_accuracy - two.result.test_accuracy)
