"""Profiles: a data set, architectures and a recipe as one scale; YAML in, specs out."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from pat.criteria import Criterion
from pat.files import paths
from pat.files.errors import explain, naming
from pat.files.plain_yaml import read_mapping
from pat.policy import POLICIES, NamedPolicy
from pat.registry import load
from pat.study.plan.options import validated
from pat.study.plan.settings import Experiments, Window
from pat.study.plan.spec import (
    METHOD_VERSION,
    NAME,
    AtEpoch,
    Frozen,
    Neurons,
    PolicySpec,
    Pruning,
    Spec,
    Tracking,
)
from pat.training.architectures import ARCHITECTURES
from pat.training.data import load_manifest
from pat.training.recipe import Recipe

Ratio = Annotated[float, Field(ge=0, lt=1)]


class Cells(Frozen):
    """A block of an oracle sweep: every combination of what it lists."""

    architecture: str
    """Name in :mod:`pat.training.models`."""
    criterion: Criterion
    """Importance."""
    ratios: tuple[Ratio, ...]
    """Pruning ratios."""
    epochs: tuple[Annotated[int, Field(ge=0)], ...]
    """Pruning epochs."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    """Seeds."""


class Contrast(Frozen):
    """The pruning epochs that the paper's statements are held against: the same for all runs of a profile."""

    first: int = Field(default=0, ge=0)
    """Pruning at initialisation."""
    reference: int = Field(ge=0)
    """A few epochs later."""
    last: int = Field(ge=0)
    """So late that little time is left to recover."""
    early: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    """"After a few epochs", from one epoch to another, where no single one is meant."""


class Thresholds(dict[str, float]):
    """EPI's threshold of each criterion that has one."""

    def __missing__(self, criterion: str) -> float:
        known = ", ".join(self) or "none"
        raise ValueError(f"EPI has no threshold for {criterion!r}: the profile's tau has {known}")


class _Plugins(BaseModel):
    """What of a profile is read first."""

    plugins: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...] = ()


class Profile(Frozen):
    """One scale of the study."""

    name: str = Field(pattern=NAME)
    """The file's name."""
    recorded_as: str | None = Field(default=None, pattern=NAME)
    """The profile's name when its records were made, where that was another: it is a part of their ids."""
    plugins: tuple[str, ...] = ()
    """Modules that register criteria, policies or methods: installed ones, or files beside the profile's."""
    title: str
    """For people."""
    purpose: str
    """What it is good for, and what not."""
    machine: str
    """Where it was meant to run."""
    dataset: str
    """Name of a manifest."""
    architectures: tuple[str, ...] = Field(min_length=1)
    """The first one is the profile's stand-in for the paper's ResNet50."""
    recipe: Recipe
    """Shared by all runs."""
    neurons: Neurons = Neurons()
    """What counts as a neuron."""
    tracking: Tracking
    """What is watched in dense epochs."""
    tau: Annotated[dict[Criterion, Annotated[float, Field(ge=0, le=1)]], AfterValidator(Thresholds)]
    """The EPI threshold of each criterion that EPI is to decide by; tables have these criteria."""
    patience: int = Field(default=5, ge=0)
    """Earlier values that EPI must not be under (5 in Algorithm 2)."""
    contrast: Contrast
    """What "too early" and "too late" are compared with."""
    random_epochs: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] | None = None
    """The first and last epoch that a random policy draws from, each as likely as the others.

    Without it: the grid's epochs up to the pre-defined one.
    """
    threads: int = 1
    """CPU threads of a run."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Kind of device."""
    claims: str = Field(default="claims", pattern=r"^[a-z0-9_]{1,100}$")
    """The book's file of claims that its runs are held against."""
    sweeps: dict[str, tuple[Cells, ...]] = {}
    """Named oracle sweeps."""
    experiments: dict[str, Experiments] = {}
    """Named presets of the other experiments."""

    @field_validator("architectures")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            check_architecture(name)
        return value

    @model_validator(mode="after")
    def _named_sweeps(self) -> Self:
        for name, settings in self.experiments.items():
            if settings.sweep not in self.sweeps:
                known = ", ".join(self.sweeps) or "none"
                raise ValueError(
                    f"experiments.{name}.sweep: {settings.sweep!r} is no sweep; known are {known}"
                )
            watched = [*(settings.latency.ratios if settings.latency else ())]
            watched += [settings.prunetrain.ratio] if settings.prunetrain else []
            if odd := sorted(set(watched) - set(self.tracking.ratios)):
                raise ValueError(f"experiments.{name}: EPI is not tracked at ratio {odd[0]:g}")
            own = Window(look_back=self.tracking.look_back, patience=self.patience)
            if settings.window == own:
                raise ValueError(
                    f"experiments.{name}.window: {own.look_back} and {own.patience} are the profile's own "
                    "look-back and patience; expected others"
                )
        return self

    def policy(self, kind: str, criterion: str, given: Mapping[str, Any]) -> NamedPolicy:
        """A policy for this profile's runs.

        Args:
            kind: its name in :data:`pat.policy.POLICIES`.
            criterion: what the runs are pruned by.
            given: settings; of the others some have a usual value here, see
                :class:`~pat.policy.NamedPolicy`.

        Raises:
            ValueError: for an unknown policy, settings that it does not take, or one that cannot prune
                within the schedule.
        """
        entry, epochs = POLICIES.find(kind), self.recipe.epochs
        usual: dict[str, Callable[[], Any]] = {
            "threshold": lambda: self.tau[criterion],
            "look_back": lambda: self.tracking.look_back,
            "patience": lambda: self.patience,
            "high": lambda: epochs // 3,
        }
        chosen = validated(entry, {n: usual[n]() for n in entry.usual if n not in given} | {**given})
        if chosen.earliest >= epochs:
            raise ValueError(
                f"{chosen.title} prunes in epoch {chosen.earliest} at the earliest, but {self.name!r} ends "
                f"with epoch {epochs - 1}"
            )
        return chosen

    @property
    def recorded(self) -> str:
        """What its runs say that their profile is, and what folders of records are named after."""
        return self.recorded_as or self.name

    @property
    def first_trigger(self) -> int:
        """The first epoch after which EPI can trigger: r epochs before it, and as many values as patience."""
        return self.tracking.look_back + self.patience

    def spec(
        self,
        *,
        architecture: str | None = None,
        seed: int = 0,
        criterion: Criterion | None = None,
        ratio: float | None = None,
        policy: PolicySpec | None = None,
        **changes: Any,
    ) -> Spec:
        """One run of this profile; without a policy the dense one.

        Args:
            architecture: one of :mod:`pat.training.models`; the profile's first by default.
            seed: of everything random.
            criterion, ratio, policy: what to prune and when; all three or none.
            changes: further fields of :class:`~pat.study.plan.spec.Spec` (``recipe``, ``device``, ...).

        Raises:
            ValueError: naming the field, what was given and what was expected.
        """
        given = [name for name, v in zip(("criterion", "ratio", "policy"), (criterion, ratio, policy),
                                         strict=True) if v is not None]  # fmt: skip
        if given and len(given) < 3:
            raise ValueError(f"a pruned run needs criterion, ratio and policy, got only {', '.join(given)}")
        name = self.architectures[0] if architecture is None else architecture
        check_architecture(name)
        try:
            pruning = Pruning(criterion=criterion, ratio=ratio, policy=policy) if policy else None  # type: ignore[arg-type]
            fields = {
                "profile": self.recorded,
                "dataset": self.dataset,
                "architecture": name,
                "recipe": self.recipe,
                "neurons": self.neurons,
                "tracking": self.tracking,
                "pruning": pruning,
                "seed": seed,
                "threads": self.threads,
                "device": self.device,
                "method_version": METHOD_VERSION,
                **changes,
            }
            if "data_checksum" not in fields:
                fields["data_checksum"] = load_manifest(fields["dataset"]).checksum
            return Spec(**fields)
        except ValidationError as error:
            raise ValueError(explain(error)) from None

    def sweep(self, preset: str) -> list[Spec]:
        """All runs of a named oracle sweep, dense ones included.

        Raises:
            ValueError: for an unknown preset, listing the known ones.
        """
        if preset not in self.sweeps:
            known = ", ".join(self.sweeps) or "none"
            raise ValueError(f"profile {self.name!r} has no sweep {preset!r}; it has {known}")
        return self.grid(self.sweeps[preset])

    def preset(self, name: str) -> Experiments:
        """The settings of a preset of experiments.

        Raises:
            ValueError: for an unknown preset, listing the known ones.
        """
        if name not in self.experiments:
            known = ", ".join(self.experiments) or "none"
            raise ValueError(f"profile {self.name!r} has no experiments {name!r}; it has {known}")
        return self.experiments[name]

    def of_seeds(self, seeds: Iterable[int]) -> Self:
        """The profile with no other seeds than these: a part of its runs, for one machine of several.

        Raises:
            ValueError: for a seed that none of its sweeps has.
        """
        wanted = tuple(seeds)
        known = {seed for blocks in self.sweeps.values() for block in blocks for seed in block.seeds}
        if unknown := [seed for seed in wanted if seed not in known]:
            raise ValueError(f"no sweep of profile {self.name!r} has seed {', '.join(map(str, unknown))}")

        def left(block: Any) -> Any:
            own = tuple(seed for seed in block.seeds if seed in wanted)
            return block.model_copy(update={"seeds": own}) if own else None

        sweeps = {
            name: tuple(kept for block in blocks if (kept := left(block)))
            for name, blocks in self.sweeps.items()
        }
        experiments = {
            name: preset.model_copy(update={key: left(own) for key, own in preset if hasattr(own, "seeds")})
            for name, preset in self.experiments.items()
        }
        return self.model_copy(update={"sweeps": sweeps, "experiments": experiments})

    def grid(self, blocks: Iterable[Cells]) -> list[Spec]:
        """All runs of some blocks, each once, dense runs first."""
        specs: list[Spec] = []
        same: dict[str, Any] = {"data_checksum": load_manifest(self.dataset).checksum}  # read once
        for cells in blocks:
            for seed in cells.seeds:
                specs.append(self.spec(architecture=cells.architecture, seed=seed, **same))
                specs += [
                    self.spec(
                        **same,
                        architecture=cells.architecture,
                        seed=seed,
                        criterion=cells.criterion,
                        ratio=ratio,
                        policy=AtEpoch(epoch=epoch),
                    )
                    for ratio in cells.ratios
                    for epoch in cells.epochs
                ]
        return sorted(dict.fromkeys(specs), key=lambda spec: spec.pruning is not None)


def check_architecture(name: str) -> None:
    """Refuse a network that there is not.

    Raises:
        ValueError: listing the known ones.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")


def list_profiles() -> list[str]:
    """Names of the profiles that come with the package or lie in ./profiles, sorted."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.yaml")})


def load_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ValueError: for an unknown name, listing the known ones, or a file that is not a profile.
    """
    for folder in _folders():
        file = folder / f"{name}.yaml"
        if name in list_profiles() and file.is_file():
            return _read(file)
    raise ValueError(f"unknown profile {name!r}; known are {', '.join(list_profiles())}")


def _folders() -> list[Path]:
    return [paths.PROFILES, Path("profiles").resolve()]


def _read(file: Path) -> Profile:
    with naming(f"profile {file}", storage=True):
        content = read_mapping(file)
        load(_Plugins.model_validate(content).plugins, file.parent)  # what follows may name what they have
        profile = Profile.model_validate({"name": file.stem, **content})
        if profile.name != file.stem:
            raise ValueError(f"name: {profile.name!r} is not the file's name")
    return profile
