"""One check: a number or a statement of the paper, beside what its own inputs give."""

from dataclasses import dataclass
from typing import Literal, get_args

from pat.study.paper.numbers import Span

Verdict = Literal[
    "comes out", "only with another input", "does not come out", "cannot be recomputed", "implied"
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Check:
    """A printed number or statement, recomputed.

    Attributes:
        part: the chapter's section.
        where: where the paper has it.
        quantity: what it is.
        printed: what the paper prints, as text; empty for what its numbers imply.
        expected: what the recomputed value is held against; None for what is only implied.
        inputs: from what it was recomputed, as text.
        found: the value recomputed; None if an input is missing.
        follows: what follows from the outcome, one or two sentences.
        other, other_inputs: the value from another input or another reading, and which.
        decimals: digits of the recomputed value to show.
        interval: whether the ends of the value are a 95 % interval, to be shown, and not rounding.
        unit: of the value.
    """

    part: str
    where: str
    quantity: str
    printed: str
    expected: Span | None
    inputs: str
    found: Span | None
    follows: str
    other: Span | None = None
    other_inputs: str = ""
    decimals: int = 2
    interval: bool = False
    unit: str = ""

    @property
    def verdict(self) -> Verdict:
        """A printed number comes out if the rounding of both sides allows it; a statement ("higher") if the
        rounding of the inputs cannot undo it."""
        if self.found is None:
            return "cannot be recomputed"
        if self.expected is None:
            return "implied"
        if _agrees(self.found, self.expected):
            return "comes out"
        if self.other is not None and _agrees(self.other, self.expected):
            return "only with another input"
        return "does not come out"

    @property
    def recomputed(self) -> str:
        """The recomputed value as text, with the other one behind it."""
        if self.found is None:
            return "–"
        text = self._text(self.found)
        return text if self.other is None else f"{text}; {self._text(self.other)} {self.other_inputs}"

    def _text(self, span: Span) -> str:
        value, low, high = (
            f"{number:.{self.decimals}f}".replace("-", "−") for number in (span.value, span.low, span.high)
        )
        ends = f" [{low}, {high}]" if self.interval else ""
        return f"{value}{ends} {self.unit}".rstrip()


def _agrees(found: Span, expected: Span) -> bool:
    statement = expected.width == float("inf")
    return found.inside(expected) if statement else found.meets(expected)
