"""What a comparison is: panels, and in each the same ways to train, with every seed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.runs.sweep import ALONE, How, sweep
from pat.study.store import AnyStore
from pat.study.store.record import Record

SEEDS = tuple(range(300, 310))
"""In no sweep of any profile: what these runs show decides no claim."""

DENSE = "dense"
"""The way without pruning, in every panel."""


class Kind(StrEnum):
    """What ways have in common; those of a kind have a colour."""

    DENSE = "dense"
    EPI = "Algorithm 1 in EPI's epoch"
    FIRST = "Algorithm 1 in epoch 0"
    THIRD = "Algorithm 1 at a third of the schedule"
    OTHER = "other methods"


@dataclass(frozen=True)
class Extent:
    """How much is trained: every way in each of these panels with every seed."""

    panels: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Cell:
    """One run, and where it stands. A run may stand in several panels, as a dense one does at all ratios."""

    panel: str
    way: str
    spec: Spec


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        name: on the command line.
        extents: by preset.
        ways: the kind of each way, in the order of tables and figures.
        specs: the runs of a panel with a seed, by way, from a profile, the panel and the seed; those of other
            ways are left out.
        reference: the way that the others are held against, and what it is called in a sentence.
        told: the ways that the finding tells of, chosen before any run, and what they are called there.
        where: how a sentence names a panel, with a place for it.
        best_in: the panel in which the finding also names the best of the other methods, if any.
    """

    name: str
    extents: Mapping[str, Extent]
    ways: Mapping[str, Kind]
    specs: Callable[[Profile, str, int], Mapping[str, Spec]]
    reference: tuple[str, str]
    told: Mapping[str, str]
    where: str
    best_in: str | None = None

    def extent(self, preset: str) -> Extent:
        """What a preset trains.

        Raises:
            ValueError: for an unknown preset, listing the known ones.
        """
        if preset not in self.extents:
            raise ValueError(f"{self.name} has no preset {preset!r}; it has {', '.join(self.extents)}")
        return self.extents[preset]

    def cells(self, profile: Profile, preset: str, seeds: Iterable[int] | None = None) -> list[Cell]:
        """All cells of a preset, seed by seed.

        Args:
            profile: the scale.
            preset: one of ``extents``.
            seeds: a part of the preset's, for one machine of several; all by default.

        Raises:
            ValueError: for an unknown preset, a seed that it does not have, or a profile whose schedule is
                too short for EPI or that has no threshold for it.
        """
        own = self.extent(preset)
        wanted = own.seeds if seeds is None else tuple(seeds)
        if unknown := [seed for seed in wanted if seed not in own.seeds]:
            names = ", ".join(map(str, unknown))
            raise ValueError(f"{self.name} has no seed {names} in preset {preset!r}")
        return [
            Cell(panel, way, specs[way])
            for seed in wanted
            for panel in own.panels
            for specs in (self.specs(profile, panel, seed),)
            for way in self.ways
            if way in specs
        ]

    def runs(self, profile: Profile, preset: str, seeds: Iterable[int] | None = None) -> list[Spec]:
        """Their runs, each once.

        Raises:
            ValueError: as :meth:`cells`.
        """
        return list(dict.fromkeys(cell.spec for cell in self.cells(profile, preset, seeds)))

    def records(self, profile: Profile, preset: str, store: AnyStore, how: How = ALONE) -> list[Record]:
        """Their records: all of them, trained if need be, where a store trains; of a published one those that
        it has.

        Raises:
            ValueError: as :meth:`cells`; and what :func:`~pat.study.runs.sweep.sweep` raises.
        """
        specs = self.runs(profile, preset)
        return sweep(specs, store, how) if store.trains else recorded(specs, store)


def recorded(specs: Iterable[Spec], store: AnyStore) -> list[Record]:
    """The records that a store has of some runs; nothing is trained."""
    return [found for spec in specs if (found := store.record(spec)) is not None]


def algorithm1(criterion: str) -> str:
    """The name of Algorithm 1 in epoch 0."""
    return f"epoch 0, {criterion}"


def at_a_third(criterion: str) -> str:
    """The name of Algorithm 1 in the pre-defined epoch, a third of the schedule."""
    return f"a third, {criterion}"


def by_epi(criterion: str) -> str:
    """The name of Algorithm 1 in the epoch that EPI picks."""
    return f"EPI, {criterion}"


MOMENTS = {Kind.EPI: by_epi, Kind.FIRST: algorithm1, Kind.THIRD: at_a_third}
"""What Algorithm 1's moments are called, by kind."""


def moments_of(criteria: Iterable[str], *kinds: Kind) -> dict[str, Kind]:
    """Ways of Algorithm 1 with their kinds, kind by kind."""
    named = tuple(criteria)
    return {MOMENTS[kind](criterion): kind for kind in kinds for criterion in named}


def extents(panels: Iterable[str], smallest: str) -> dict[str, Extent]:
    """The usual presets: all seeds, two in the same panels, and one in the panel that costs least.

    Args:
        panels: of the large presets.
        smallest: the panel of ``study``.
    """
    own = tuple(panels)
    return {
        "full": Extent(own, SEEDS),
        "quick": Extent(own, SEEDS[:2]),
        "study": Extent((smallest,), SEEDS[:1]),
    }


RATIOS = {"50 %": 0.5, "80 %": 0.8}
"""Of comparisons whose panels are ratios; the quick ones have the first."""


def extents_by_ratio() -> dict[str, Extent]:
    """The presets of a comparison whose panels are ratios."""
    first = next(iter(RATIOS))
    return extents(RATIOS, first) | {"quick": Extent((first,), SEEDS[:2])}


def moments(profile: Profile, dense: Spec, criterion: str, ratio: float) -> dict[str, Spec]:
    """A dense run pruned at initialisation, at a third of its schedule and by EPI, which waits until there.

    Args:
        profile: says EPI's settings.
        dense: the run without pruning.
        criterion, ratio: of the pruning.

    Raises:
        ValueError: if EPI cannot prune within the schedule, or has no threshold.
    """
    third = dense.recipe.epochs // 3
    scaled = profile.model_copy(update={"recipe": dense.recipe})
    policies = {
        Kind.EPI: scaled.policy("epi", criterion, {"fallback": third}),
        Kind.FIRST: AtEpoch(epoch=0),
        Kind.THIRD: AtEpoch(epoch=third),
    }
    return {
        MOMENTS[kind](criterion): dense.model_copy(
            update={"pruning": Pruning(criterion=criterion, ratio=ratio, policy=policy)}
        )
        for kind, policy in policies.items()
    }
