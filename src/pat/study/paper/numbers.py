"""Numbers as the paper prints them, with the rounding of their last digit, and what several of them give."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from math import inf
from pathlib import Path
from typing import Any, Self

from pat.files import paths
from pat.files.errors import naming
from pat.files.plain_yaml import read_mapping

_SLACK = 1e-9  # binary rounding of decimal numbers


@dataclass(frozen=True)
class Span:
    """A number that is known between two ends.

    Attributes:
        value: best guess.
        low, high: ends; equal for a number that is known exactly.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Self:
        return cls(value, value, value)

    @classmethod
    def above(cls, bound: float) -> Self:
        """Anything above `bound`."""
        return cls(bound, bound, inf)

    @property
    def width(self) -> float:
        return self.high - self.low

    def meets(self, other: "Span") -> bool:
        """Whether both can be the same number: they share more than an end point, which rounding excludes."""
        shared = min(self.high, other.high) - max(self.low, other.low)
        return shared > _SLACK or (0 in (self.width, other.width) and shared > -_SLACK)

    def inside(self, other: "Span") -> bool:
        """Whether all of it lies strictly between the ends of `other`."""
        return other.low < self.low - _SLACK and self.high + _SLACK < other.high


@dataclass(frozen=True)
class Printed:
    """A number of the paper, as it is printed: ``73.50`` has two decimals.

    Raises:
        ValueError: for a text that is no number.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            finite = Decimal(self.text).is_finite()
        except InvalidOperation:
            finite = False
        if not finite:
            raise ValueError(f"expected a number of the paper, got {self.text!r}")

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        exponent = Decimal(self.text).as_tuple().exponent
        assert isinstance(exponent, int)
        return max(0, -exponent)

    @property
    def span(self) -> Span:
        """All numbers that round to this one."""
        half = 0.5 * 10.0**-self.decimals
        return Span(self.value, self.value - half, self.value + half)


class Paper:
    """What the paper prints: ``paper_values.yaml``, read with the digits that are in it.

    Args:
        content: nested mappings and lists whose leaves are texts.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    @classmethod
    def read(cls, book: Path = paths.BOOK) -> Self:
        """The paper's numbers of a book.

        Raises:
            ValueError: naming the file, if it is not there or holds no mapping.
        """
        file = book / "paper_values.yaml"
        with naming(str(file), storage=True):
            return cls(read_mapping(file, numbers_as_text=True))  # 73.50 is not 73.5

    def number(self, path: str) -> Printed:
        """The number at a dotted path.

        Raises:
            ValueError: naming the path, if there is none.
        """
        found = self.optional(path)
        if found is None:
            raise ValueError(f"the paper prints nothing at {path!r}")
        return found

    def optional(self, path: str) -> Printed | None:
        """The number at a dotted path, or None where the paper prints a dash.

        Raises:
            ValueError: naming the path, if it leads nowhere or to no number.
        """
        leaf = self._at(path)
        if leaf == "null":
            return None
        if not isinstance(leaf, str):
            raise ValueError(f"expected a number of the paper at {path!r}, got {leaf!r}")
        try:
            return Printed(leaf)
        except ValueError as error:
            raise ValueError(f"{error} at {path!r}") from None

    def text(self, path: str) -> str:
        """The text at a dotted path.

        Raises:
            ValueError: naming the path, if there is none.
        """
        leaf = self._at(path)
        if not isinstance(leaf, str):
            raise ValueError(f"expected a text of the paper at {path!r}, got {leaf!r}")
        return leaf

    def numbers(self, path: str) -> list[Printed]:
        """The list of numbers at a dotted path.

        Raises:
            ValueError: naming the path, if there is no list of numbers.
        """
        leaves = self._at(path)
        if not isinstance(leaves, list):
            raise ValueError(f"expected a list of the paper at {path!r}, got {leaves!r}")
        return [Printed(str(leaf)) for leaf in leaves]

    def names(self, path: str) -> list[str]:
        """The keys at a dotted path, in order.

        Raises:
            ValueError: naming the path, if there are none.
        """
        mapping = self._at(path)
        if not isinstance(mapping, dict):
            raise ValueError(f"expected a mapping of the paper at {path!r}, got {mapping!r}")
        return list(mapping)

    def _at(self, path: str) -> Any:
        at: Any = self._content
        for step in path.split("."):
            if not isinstance(at, dict) or step not in at:
                raise ValueError(f"{path!r} leads nowhere in the paper's values: no {step!r}")
            at = at[step]
        return at


def derived(function: Callable[..., float], *inputs: Printed | Span | float) -> Span:
    """What a formula gives for rounded inputs, from the lowest to the highest value that they allow.

    Args:
        function: of as many numbers; rising or falling in each of them, so that its ends lie at theirs.
        inputs: printed numbers, spans, and numbers that are known exactly.
    """
    spans = [_span(number) for number in inputs]
    corners = [function(*corner) for corner in product(*((span.low, span.high) for span in spans))]
    return Span(function(*(span.value for span in spans)), min(corners), max(corners))


def _span(number: Printed | Span | float) -> Span:
    if isinstance(number, Printed):
        return number.span
    return number if isinstance(number, Span) else Span.exact(number)
