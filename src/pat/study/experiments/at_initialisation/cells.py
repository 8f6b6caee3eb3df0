"""Which runs are compared: rules at initialisation, Algorithm 1 in epoch 0 and in EPI's, and dense ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from pat.rivals.initialisation import FORCE, SNIP, GraSP, IterativeSNIP, RandomChannels, SynFlow
from pat.rivals.initialisation.mask import AtInitialisation
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.runs.sweep import ALONE, How, sweep
from pat.study.store import AnyStore
from pat.study.store.record import Record
from pat.training.data import load_manifest

NAME = "at_initialisation"
"""The experiment's, on the command line."""

RULES: tuple[type[AtInitialisation], ...] = (SNIP, IterativeSNIP, FORCE, GraSP, SynFlow, RandomChannels)
"""With the schedules of their authors, the defaults of their settings."""

CRITERIA = ("gradient", "magnitude")
"""By which Algorithm 1 ranks."""

DENSE = "dense"


@dataclass(frozen=True)
class Extent:
    """How much is trained: every method at every ratio with every seed, and a dense run for each seed."""

    ratios: tuple[float, ...]
    seeds: tuple[int, ...]


EXTENTS = {
    "full": Extent(ratios=(0.5, 0.8), seeds=tuple(range(300, 310))),
    "quick": Extent(ratios=(0.5,), seeds=(300, 301)),
    "study": Extent(ratios=(0.5,), seeds=(300,)),
}
"""By preset. The seeds are in no sweep of any profile: what these runs show decides no claim."""


def extent(preset: str) -> Extent:
    """What a preset trains.

    Raises:
        ValueError: for an unknown preset, listing the known ones.
    """
    if preset not in EXTENTS:
        raise ValueError(f"{NAME} has no preset {preset!r}; it has {', '.join(EXTENTS)}")
    return EXTENTS[preset]


def initialisation_specs(profile: Profile, preset: str, seeds: Iterable[int] | None = None) -> list[Spec]:
    """All runs of the comparison on a profile's first network, seed by seed, the dense one first.

    Args:
        profile: the scale.
        preset: one of :data:`EXTENTS`.
        seeds: a part of the preset's, for one machine of several; all by default.

    Raises:
        ValueError: for an unknown preset, a seed that it does not have, or a profile whose schedule is too
            short for EPI or that has no threshold for it.
    """
    own = extent(preset)
    wanted = own.seeds if seeds is None else tuple(seeds)
    if unknown := [seed for seed in wanted if seed not in own.seeds]:
        raise ValueError(f"{NAME} has no seed {', '.join(map(str, unknown))} in preset {preset!r}")
    data = load_manifest(profile.dataset).checksum
    found = []
    for seed in wanted:
        found.append(profile.spec(seed=seed, data_checksum=data))
        for ratio in own.ratios:
            for criterion in CRITERIA:
                epi = profile.policy("epi", criterion, {"fallback": profile.recipe.epochs // 3})
                found += [
                    profile.spec(
                        seed=seed, criterion=criterion, ratio=ratio, policy=policy, data_checksum=data
                    )
                    for policy in (AtEpoch(epoch=0), epi)
                ]
            found += [profile.spec(seed=seed, method=rule(ratio), data_checksum=data) for rule in RULES]
    return found


def initialisation_records(profile: Profile, preset: str, store: AnyStore, how: How = ALONE) -> list[Record]:
    """Records of :func:`initialisation_specs`: all of them, trained if need be, where a store trains; of a
    published one those that it has.

    Raises:
        ValueError: as there; and what :func:`~pat.study.runs.sweep.sweep` raises.
    """
    specs = initialisation_specs(profile, preset)
    if store.trains:
        return sweep(specs, store, how)
    return recorded(specs, store)


def recorded(specs: Iterable[Spec], store: AnyStore) -> list[Record]:
    """The records that a store has of some runs; nothing is trained."""
    return [found for spec in specs if (found := store.record(spec)) is not None]


def way_of(spec: Spec) -> str:
    """What a run is called in tables: a rule's title, Algorithm 1 or EPI with the criterion, or dense."""
    if spec.method is not None:
        return spec.method.title
    if spec.pruning is None:
        return DENSE
    return (algorithm1 if spec.prune_epoch == 0 else by_epi)(spec.pruning.criterion)


def algorithm1(criterion: str) -> str:
    """The name of Algorithm 1 in epoch 0."""
    return f"epoch 0, {criterion}"


def by_epi(criterion: str) -> str:
    """The name of Algorithm 1 in the epoch that EPI picks."""
    return f"EPI, {criterion}"


WAYS = (
    DENSE,
    *map(by_epi, CRITERIA),
    *map(algorithm1, CRITERIA),
    *(rule.title for rule in RULES),
)
"""All names, in the order of tables and figures."""


def ratio_of(spec: Spec) -> float | None:
    """The share of neurons that a run is to remove; None for a dense one."""
    if isinstance(spec.method, AtInitialisation):
        return spec.method.ratio
    return spec.pruning.ratio if spec.pruning else None
