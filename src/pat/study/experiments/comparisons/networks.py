"""Other networks: when to prune those that no claim is decided on."""

from dataclasses import dataclass, field
from typing import Any

from pat.study.experiments.comparisons.comparison import (
    DENSE,
    Comparison,
    Kind,
    algorithm1,
    at_a_third,
    by_epi,
    extents,
    moments,
    moments_of,
)
from pat.study.plan.profile import Profile
from pat.study.plan.spec import Spec

CRITERIA = ("gradient", "magnitude")
RATIO = 0.5


@dataclass(frozen=True)
class Network:
    """One of :mod:`pat.training.models`, and where its recipe is another than the profile's."""

    architecture: str
    recipe: dict[str, Any] = field(default_factory=dict)


NETWORKS = {
    "VGG": Network("vgg8-bn"),
    "MobileNetV3": Network("mobilenetv3-tiny"),
    "ConvNeXt": Network(
        "convnext-mini", {"optimizer": "adamw", "learning_rate": 0.004, "weight_decay": 0.05, "momentum": 0.9}
    ),
}
"""By panel."""


def specs(profile: Profile, panel: str, seed: int) -> dict[str, Spec]:
    """The runs of a network that lose half of its neurons."""
    chosen = NETWORKS[panel]
    recipe = profile.recipe.model_copy(update=chosen.recipe)
    dense = profile.spec(architecture=chosen.architecture, seed=seed, recipe=recipe)
    found = {DENSE: dense}
    for criterion in CRITERIA:
        found |= moments(profile, dense, criterion, RATIO)
    return found


OTHER_NETWORKS = Comparison(
    name="networks",
    extents=extents(NETWORKS, "MobileNetV3"),
    ways={
        DENSE: Kind.DENSE,
        **moments_of(CRITERIA, Kind.EPI, Kind.FIRST, Kind.THIRD),
    },
    specs=specs,
    reference=(algorithm1("gradient"), "Algorithm 1 in epoch 0 by the gradient criterion"),
    told={
        by_epi("gradient"): "waiting for EPI",
        at_a_third("gradient"): "a fixed third of the schedule",
        by_epi("magnitude"): "EPI with magnitude",
    },
    where="on {}",
)
