"""Which detectors are trained: the sizes there are, and the runs of each."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pat.criteria import Criterion
from pat.files.sealed import checksum
from pat.policy import EPI, AtEpoch, NamedPolicy
from pat.study.plan.options import Frozen
from pat.training.data.manifest import SplitName
from pat.training.detection.scenes import Drawing
from pat.training.recipe import Recipe


class Scale(Frozen):
    """Data, network and schedule that runs have in common."""

    title: str
    """For people."""
    drawing: Drawing = Drawing()
    """How scenes are drawn."""
    scenes: dict[SplitName, Annotated[int, Field(ge=2)]]
    """How many of each split."""
    architecture: str = "resnet8-bottleneck"
    """The ResNet that the backbone is made of."""
    recipe: Recipe
    """Epochs are slices of a pass."""
    criteria: tuple[Criterion, ...] = ("gradient", "magnitude")
    """Pruned by."""
    ratio: float = Field(default=0.5, ge=0, lt=1)
    """Share of the backbone's neurons that goes."""
    fixed: tuple[int, ...]
    """Epochs that are tried as the pruning epoch."""
    fallback: int
    """Where EPI has not triggered before, it prunes in this one."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if not all(0 <= epoch < self.recipe.epochs for epoch in (*self.fixed, self.fallback)):
            raise ValueError(f"fixed and fallback must lie in [0, {self.recipe.epochs})")
        if len(self.scenes) < 3:
            raise ValueError("scenes: train, validation and test are needed")
        return self


class Run(Frozen):
    """One training."""

    scale: Scale
    seed: int = Field(ge=0)
    """Of the weights and of the order of the scenes."""
    kind: Literal["dense", "epoch", "epi"]
    """When it prunes: never, in a fixed epoch, or in the one after EPI triggers."""
    criterion: Criterion | None = None
    epoch: int | None = None
    """The fixed epoch, or EPI's fall-back."""
    threshold: float | None = None
    """EPI's."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        given = tuple(value is not None for value in (self.criterion, self.epoch, self.threshold))
        wanted = {"dense": (False, False, False), "epoch": (True, True, False), "epi": (True, True, True)}
        if given != wanted[self.kind]:
            raise ValueError(f"a run of kind {self.kind!r} with the wrong criterion, epoch or threshold")
        return self

    @property
    def id(self) -> str:
        """Checksum of all that the run depends on, 64 hex digits."""
        return checksum(self.model_dump(mode="json"))

    @property
    def title(self) -> str:
        """For people, and in the file's name."""
        if self.kind == "dense":
            return "dense"
        return f"{self.criterion}-{'epi' if self.kind == 'epi' else f'epoch-{self.epoch}'}"

    @property
    def file(self) -> str:
        """The name of the record's file."""
        return f"seed-{self.seed:03d}-{self.title}-{self.id[:12]}.json"

    def policy(self) -> NamedPolicy | None:
        """A policy that has seen nothing; None: dense."""
        if self.kind == "dense":
            return None
        assert self.epoch is not None
        if self.threshold is None:
            return AtEpoch(self.epoch)
        return EPI(self.threshold, fallback=self.epoch)


def _recipe(epochs: int, slices: int, batch: int, warmup: int) -> Recipe:
    return Recipe(
        epochs=epochs,
        slices=slices,
        batch_size=batch,
        learning_rate=0.1,
        warmup_epochs=warmup,
        weight_decay=2e-3,
        momentum=0.9,
        label_smoothing=0,
        channels_last=True,
    )


SCALES: Mapping[str, Scale] = {
    "small": Scale(
        title="Drawn scenes of digits, 64 x 64; SSD on the bottleneck ResNet of the digits; 90 epochs",
        scenes={"train": 1600, "validation": 300, "test": 500},
        recipe=_recipe(90, 10, 16, 8),
        fixed=(0, 30, 60),
        fallback=30,
    ),
    "smoke": Scale(
        title="The same in seconds, to see that it runs",
        scenes={"train": 24, "validation": 4, "test": 4},
        recipe=_recipe(14, 3, 4, 2),
        criteria=("gradient",),
        fixed=(0,),
        fallback=12,
    ),
}
"""By name. Schedule, noise and clutter were chosen once, on the dense precision of one seed."""


def planned(scale: Scale, tau: Mapping[str, float], seeds: Iterable[int]) -> list[Run]:
    """The runs of a scale, seed by seed: dense, each fixed epoch, EPI.

    Args:
        tau: EPI's threshold by criterion, as classification has it.

    Raises:
        ValueError: for a criterion without a threshold.
    """
    if missing := set(scale.criteria) - set(tau):
        raise ValueError(f"no threshold for {', '.join(sorted(missing))}")
    runs = []
    for seed in seeds:
        runs.append(Run(scale=scale, seed=seed, kind="dense"))
        for name in scale.criteria:
            fixed = [
                Run(scale=scale, seed=seed, kind="epoch", criterion=name, epoch=epoch)
                for epoch in scale.fixed
            ]
            epi = Run(
                scale=scale, seed=seed, kind="epi", criterion=name, epoch=scale.fallback, threshold=tau[name]
            )
            runs += [*fixed, epi]
    return runs
