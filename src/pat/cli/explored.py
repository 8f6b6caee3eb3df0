"""Explorations on the command line: experiments that no profile names and no claim is decided from."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pat.study.experiments.at_initialisation.cells import NAME, initialisation_specs

if TYPE_CHECKING:
    from pat.study.plan.profile import Profile
    from pat.study.plan.spec import Spec

Runs = Callable[["Profile", str, Sequence[int] | None], list["Spec"]]

EXPLORED: dict[str, Runs] = {NAME: initialisation_specs}
"""By the experiment's name: its runs of a profile and a preset, with all or some of their seeds."""


def explored(
    name: str | None, profile: "Profile", preset: str, seeds: Sequence[int] | None = None
) -> "list[Spec] | None":
    """The runs of an exploration; None if the name is that of another experiment, or of none.

    Raises:
        ValueError: for a preset or a seed that it does not have.
    """
    return EXPLORED[name](profile, preset, seeds) if name in EXPLORED else None
