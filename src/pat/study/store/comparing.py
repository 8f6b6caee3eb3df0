"""Comparison: one's own runs against the published ones of the same specs."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from pat.study.store import AnyStore
from pat.study.store.record import Provenance, Record


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


def differences(known: Record, own: Record) -> list[str]:
    """In what a run made anew differs from its record, times and provenance left out: a line each.

    A branch's record begins where it left its trunk, so only the epochs that both have are compared.
    """
    found = []
    for name in ("status", "reason"):
        one, two = getattr(known, name), getattr(own, name)
        if one != two:
            found.append(f"{name}: {one} in the record, {two} here")
    for name in ("result", "cost"):
        found += _fields(name, getattr(known, name), getattr(own, name))
    history = {epoch.epoch: epoch for epoch in own.history}
    for epoch in known.history:
        apart = _fields(f"epoch {epoch.epoch}", epoch, history.get(epoch.epoch), leave_out=("seconds",))
        if apart:  # what comes after it follows from it
            return found + apart
    return found


def _fields(
    what: str, known: BaseModel | None, own: BaseModel | None, leave_out: tuple[str, ...] = ()
) -> list[str]:
    if known is None or own is None:
        return [] if known == own else [f"{what}: {'none' if known is None else 'one'} in the record, "
                                        f"{'none' if own is None else 'one'} here"]  # fmt: skip
    one, two = known.model_dump(), own.model_dump()
    return [
        f"{what}, {name}: {_short(one[name])} in the record, {_short(two[name])} here"
        for name in one
        if name not in leave_out and one[name] != two[name]
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def surroundings(known: Provenance, own: Provenance) -> list[str]:
    """In what two runs' environments differ: a line each."""
    found = [
        f"{name}: {known.packages.get(name, 'none')} then, {own.packages.get(name, 'none')} now"
        for name in sorted({*known.packages, *own.packages})
        if known.packages.get(name) != own.packages.get(name)
    ]
    for name in ("commit", "hardware", "os", "python"):
        one, two = getattr(known, name), getattr(own, name)
        if one != two:
            found.append(f"{name}: {one} then, {two} now")
    return found
