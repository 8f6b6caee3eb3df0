"""Other recipes and data: is the moment that EPI finds one of the optimizer, the schedule, or the images?"""

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

RATIO = 0.5
CRITERION = "gradient"

RECIPES: dict[str, dict[str, Any]] = {
    "as in the paper": {},
    "AdamW": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.5, "momentum": 0.9},
    "one cycle": {"warmup_epochs": 27},
    "constant rate": {"schedule": "constant", "learning_rate": 0.02},
    "half of the images": {"slices": 8},
}
"""What differs from the profile's recipe, by panel. One cycle rises over three tenths of the schedule; half
of the images make a training half as long, cut into as many epochs."""

OTHER_DATA = {"digits of 8 pixels": "digits"}
"""Data sets by panel, with the profile's recipe."""

PANELS = (*RECIPES, *OTHER_DATA)


def specs(profile: Profile, panel: str, seed: int) -> dict[str, Spec]:
    """The runs of a recipe, or on other data, that lose half of their neurons."""
    changes: dict[str, Any] = {"recipe": _recipe(profile, RECIPES.get(panel, {}))}
    if panel in OTHER_DATA:
        changes = {"recipe": _recipe(profile, {"slices": 1}), "dataset": OTHER_DATA[panel]}
    dense = profile.spec(seed=seed, **changes)
    return {DENSE: dense} | moments(profile, dense, CRITERION, RATIO)


def _recipe(profile: Profile, changes: dict[str, Any]) -> Any:
    """The profile's with changes; a warm-up that a short schedule has no room for becomes a third of it."""
    recipe = profile.recipe.model_copy(update=changes)
    room = recipe.epochs // 3
    return recipe.model_copy(update={"warmup_epochs": min(recipe.warmup_epochs, room)})


OTHER_RECIPES = Comparison(
    name="recipes",
    extents=extents(PANELS, "AdamW"),
    ways={
        DENSE: Kind.DENSE,
        **moments_of([CRITERION], Kind.EPI, Kind.FIRST, Kind.THIRD),
    },
    specs=specs,
    reference=(algorithm1(CRITERION), "Algorithm 1 in epoch 0 by the gradient criterion"),
    told={
        by_epi(CRITERION): "waiting for EPI",
        at_a_third(CRITERION): "a fixed third of the schedule",
    },
    where="({})",
)
