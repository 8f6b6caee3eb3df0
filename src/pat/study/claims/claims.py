"""Claims: what the paper says, and the rule that each statement is held against."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pat.files import paths
from pat.files.errors import explain
from pat.files.plain import shown
from pat.files.plain_yaml import read_mapping
from pat.study.analysis.significance import Region
from pat.study.claims import statistics
from pat.study.paper.numbers import Paper
from pat.study.plan.spec import Frozen

CONFIRMATORY = "full"
"""The preset that decides the claims: its seeds had not been run when the rules were written."""

RULES = ("greater", "less", "no_worse", "within")


class Part(Frozen):
    """One statement of a claim: a statistic, and the rule that its mean over seeds is held against."""

    name: str = Field(min_length=1)
    """For people."""
    statistic: str
    """A name in :data:`pat.study.claims.statistics.STATISTICS`."""
    arguments: dict[str, Any]
    """The statistic's arguments."""
    unit: Literal["points", "of dense", ""]
    """Percentage points of accuracy, a share of the dense network's value, or a plain number."""
    greater: float | None = None
    """Holds if the mean is above."""
    less: float | None = None
    """Holds if the mean is below."""
    no_worse: float | None = Field(default=None, ge=0)
    """Holds if the mean is above minus this."""
    within: float | None = Field(default=None, gt=0)
    """Holds if the mean is between minus this and this."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        given = [rule for rule in RULES if getattr(self, rule) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one rule of {', '.join(RULES)}, got {' and '.join(given) or 'none'}")
        statistics.check(self.statistic, self.arguments)
        return self

    @property
    def region(self) -> Region:
        """Where the mean lies if the part holds."""
        if self.greater is not None:
            return self.greater, float("inf")
        if self.less is not None:
            return float("-inf"), self.less
        if self.no_worse is not None:
            return -self.no_worse, float("inf")
        assert self.within is not None
        return -self.within, self.within


Family = Literal["primary", "secondary"]
"""Primary claims are those of the paper's abstract and contributions; all others are secondary."""


class Claim(Frozen):
    """A statement of the paper, in parts that are decided one by one, or the reason why it is not tested."""

    id: str = Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")
    """Names it in links."""
    where: str = Field(min_length=1)
    """Where the paper says so."""
    claim: str = Field(min_length=1)
    """What it says, in one sentence."""
    chapter: str = Field(pattern="^[a-z0-9_]{1,100}$")
    """The notebook that shows it."""
    family: Family = "primary"
    """How it is corrected for the number of claims."""
    because: str | None = Field(default=None, min_length=1)
    """Why the bounds are what they are."""
    paper: dict[str, str] = {}
    """The paper's own numbers: for each label, where it stands in the file of its values (``table1.x.y``)."""
    parts: tuple[Part, ...] = ()
    """All must hold."""
    untested: str | None = Field(default=None, min_length=1)
    """Why it is not tested."""

    @model_validator(mode="after")
    def _tested_or_not(self) -> Self:
        if bool(self.parts) == (self.untested is not None):
            raise ValueError("expected parts, or the reason why it is untested, and not both")
        return self


class Claims(Frozen):
    """The claims file."""

    level: float = Field(gt=0, lt=1)
    """Of primary claims the probability of any false decision, of secondary ones the false discovery rate."""
    looks: int = Field(default=1, ge=1)
    """How often primary claims may be decided, with more seeds each time; each look has its share of it."""
    corrected: Literal["claims", "parts"] = "parts"
    """What is counted: claims by family, or, as in the first round, all parts alike."""
    claims: tuple[Claim, ...] = Field(min_length=1)
    """In the paper's order."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.corrected == "parts" and any(claim.family == "secondary" for claim in self.claims):
            raise ValueError("claims: corrected by parts there is one family, primary")
        twice = [name for name, count in Counter(claim.id for claim in self.claims).items() if count > 1]
        if twice:
            raise ValueError(f"claims: the id {twice[0]!r} is there twice")
        return self

    def unit(self, claim: int, part: int) -> tuple[int, int]:
        """What a part, by the numbers of its claim and in it, is corrected together with."""
        return (claim, 0) if self.corrected == "claims" else (claim, part)

    def level_of(self, family: Family) -> float:
        """What a claim's adjusted p-value is held against."""
        return self.level / self.looks if family == "primary" else self.level

    def strictest(self, family: Family) -> float:
        """The level that a single claim of this family has to reach, to reckon power with.

        Of primary claims the one that decides it whatever the others' p-values are; of secondary ones the
        level that Benjamini and Hochberg leave it when half of the family is decided.
        """
        own = [claim for claim in self.claims if claim.family == family]
        n = len(own) if self.corrected == "claims" else sum(len(claim.parts) for claim in own)
        return self.level_of(family) / (n if family == "primary" else 2)


def load_claims(
    book: Path = paths.BOOK, notebooks: Path = paths.NOTEBOOKS, *, name: str = "claims"
) -> Claims:
    """The claims of a book, checked against what they name.

    Args:
        book: folder with the file of claims and ``paper_values.yaml``.
        notebooks: folder of the chapters.
        name: of the file; that of the first round is ``claims_first_round``.

    Raises:
        ValueError: naming the claim and what is wrong with it: an unknown statistic or argument, a rule too
            many or none, an id that is there twice, a path to no number, a chapter that is no notebook.
    """
    file = book / f"{name}.yaml"
    try:
        content = read_mapping(file)
        claims = Claims.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{file}: {_explain(error, content)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    values = Paper.read(book)
    for claim in claims.claims:
        if not (notebooks / f"{claim.chapter}.py").is_file():
            raise ValueError(f"{file}: claim {claim.id!r}: no notebook {claim.chapter!r} in {notebooks}")
        for label, path in claim.paper.items():
            try:
                values.number(path)
            except ValueError as error:
                raise ValueError(f"{file}: claim {claim.id!r}: paper: {label}: {error}") from None
    return claims


def _explain(error: ValidationError, content: dict[str, Any]) -> str:
    """The error in one line, with the claim's id where the place has its number."""
    text, claims = explain(error), content.get("claims")
    if not isinstance(claims, list):
        return text
    for number in sorted(range(len(claims)), reverse=True):
        if isinstance(claims[number], dict) and "id" in claims[number]:
            name = shown(claims[number]["id"])
            text = text.replace(f"claims.{number}.", f"claim {name}: ")
            text = text.replace(f"claims.{number}:", f"claim {name}:")
    return text
