"""Pruning along the way: rivals that remove channels while they train, beside Algorithm 1 in one epoch."""

from pat.rivals.gpwp import GradualPruningSettings
from pat.rivals.lfpc import LearnedCriteriaSettings
from pat.study.experiments.comparisons.comparison import (
    DENSE,
    RATIOS,
    Comparison,
    Kind,
    at_a_third,
    by_epi,
    extents_by_ratio,
    moments,
    moments_of,
)
from pat.study.plan.profile import Profile
from pat.study.plan.spec import Spec

STEPS = 6
"""Of GPWP, evenly over the first two thirds of the schedule."""


def specs(profile: Profile, panel: str, seed: int) -> dict[str, Spec]:
    """The runs of a ratio on the profile's first network; LFPC prunes where the pre-defined epoch is."""
    dense, ratio, epochs = profile.spec(seed=seed), RATIOS[panel], profile.recipe.epochs
    interval = max(1, 2 * epochs // 3 // STEPS)
    methods = (
        GradualPruningSettings(ratio, interval=interval, until=min(STEPS * interval, epochs)),
        LearnedCriteriaSettings(ratio, epoch=epochs // 3),
    )
    return {
        DENSE: dense,
        **moments(profile, dense, "gradient", ratio),
        **{method.title: dense.model_copy(update={"method": method}) for method in methods},
    }


ALONG_THE_WAY = Comparison(
    name="along_the_way",
    extents=extents_by_ratio(),
    ways={
        DENSE: Kind.DENSE,
        **moments_of(["gradient"], Kind.EPI, Kind.THIRD),
        GradualPruningSettings.title: Kind.OTHER,
        LearnedCriteriaSettings.title: Kind.OTHER,
    },
    specs=specs,
    reference=(by_epi("gradient"), "Algorithm 1 in the epoch that EPI picks"),
    told={
        GradualPruningSettings.title: "GPWP",
        LearnedCriteriaSettings.title: "LFPC",
        at_a_third("gradient"): "a fixed third of the schedule",
    },
    where="at {}",
)
