"""Explorations on the command line: experiments that no profile names and no claim is decided from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pat.study.experiments.comparisons.catalogue import COMPARISONS

if TYPE_CHECKING:
    from pat.study.plan.profile import Profile
    from pat.study.plan.spec import Spec


def explored(
    name: str | None, profile: "Profile", preset: str, seeds: Sequence[int] | None = None
) -> "list[Spec] | None":
    """The runs of a comparison; None if the name is that of another experiment, or of none.

    Raises:
        ValueError: for a preset or a seed that it does not have.
    """
    return COMPARISONS[name].runs(profile, preset, seeds) if name in COMPARISONS else None
