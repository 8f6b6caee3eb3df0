"""Rules at initialisation beside Algorithm 1 in epoch 0 and in EPI's."""

from pat.rivals.initialisation import FORCE, SNIP, GraSP, IterativeSNIP, RandomChannels, SynFlow
from pat.rivals.initialisation.mask import AtInitialisation
from pat.study.experiments.comparisons.comparison import (
    DENSE,
    RATIOS,
    Comparison,
    Kind,
    algorithm1,
    by_epi,
    extents_by_ratio,
    moments,
    moments_of,
)
from pat.study.plan.profile import Profile
from pat.study.plan.spec import Spec

RULES: tuple[type[AtInitialisation], ...] = (SNIP, IterativeSNIP, FORCE, GraSP, SynFlow, RandomChannels)
"""With the schedules of their authors, the defaults of their settings."""

CRITERIA = ("gradient", "magnitude")
"""By which Algorithm 1 ranks."""


def specs(profile: Profile, panel: str, seed: int) -> dict[str, Spec]:
    """The runs of a ratio on the profile's first network."""
    dense, ratio, found = profile.spec(seed=seed), RATIOS[panel], dict[str, Spec]()
    for criterion in CRITERIA:
        found |= moments(profile, dense, criterion, ratio)
    rules = {rule.title: dense.model_copy(update={"method": rule(ratio)}) for rule in RULES}
    return {DENSE: dense} | found | rules


AT_INITIALISATION = Comparison(
    name="at_initialisation",
    extents=extents_by_ratio(),
    ways={
        DENSE: Kind.DENSE,
        **moments_of(CRITERIA, Kind.EPI, Kind.FIRST),
        **{rule.title: Kind.OTHER for rule in RULES},
    },
    specs=specs,
    reference=(algorithm1("gradient"), "Algorithm 1 in epoch 0 by the gradient criterion"),
    told={
        FORCE.title: FORCE.title,
        IterativeSNIP.title: IterativeSNIP.title,
        RandomChannels.title: f"leaving {RandomChannels.title}",
        by_epi("gradient"): "waiting for EPI",
    },  # the paper's "Init.", chance, and waiting
    where="at {}",
    best_in="50 %",
)
