"""Experiments: a name and a preset in, runs out; a later stage may hang on the records of an earlier one."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pat.rivals.prunetrain import PruneTrainSettings
from pat.study.analysis.picks import pick
from pat.study.analysis.regret import picks_specs
from pat.study.experiments.pretrained.runs import epochs_of_equal_time
from pat.study.experiments.window.tables import window_specs
from pat.study.plan.profile import Profile
from pat.study.plan.settings import Experiments
from pat.study.plan.spec import EPI, AtEpoch, LatencyAware, Neurons, Pruning, Spec, Variation
from pat.study.runs.latency_tables import table_of
from pat.study.runs.sweep import ALONE, How, sweep
from pat.study.store import AnyStore
from pat.study.store.measured import MissingTable
from pat.study.store.record import Record

Stage = Callable[[Profile, Experiments, Sequence[Record]], list[Spec]]

POOLED = {
    "policies": "its thresholds are tuned on all seeds",
    "pretrained": "its epochs of equal time are a mean over all seeds",
}
"""Experiments whose runs cannot be named from a part of the seeds."""


def names(profile: Profile, preset: str) -> list[str]:
    """The experiments that a preset has settings for.

    Raises:
        ValueError: for an unknown preset.
    """
    settings = profile.preset(preset)
    return [name for name in STAGES if name == "policies" or getattr(settings, name) is not None]


def specs(
    name: str,
    profile: Profile,
    preset: str,
    records: Sequence[Record] = (),
    store: AnyStore | None = None,
) -> list[Spec]:
    """All runs of an experiment that can be named, given the records so far: each once.

    Latency-aware runs are named by the table that the store has; none without it.

    Raises:
        ValueError: for an experiment that the preset does not have.
    """
    found: list[Spec] = []
    for stage in _stages(name, profile, preset, partial(_known_table, profile, store)):
        new = stage(profile, profile.preset(preset), records)
        found += new
        have = {record.id for record in records}
        if any(spec.id not in have for spec in new):
            break  # a later stage would hang on runs that are not there
    return list(dict.fromkeys(found))


def run(name: str, profile: Profile, preset: str, store: AnyStore, how: How = ALONE) -> list[Record]:
    """Records of all runs of an experiment, training what the store lacks, one stage after the other.

    Raises:
        ValueError: for an experiment that the preset does not have; and what
            :func:`~pat.study.runs.sweep.sweep` raises.
    """
    return run_together([name], profile, preset, store, how)[name]


def run_together(
    names: Sequence[str], profile: Profile, preset: str, store: AnyStore, how: How = ALONE
) -> dict[str, list[Record]]:
    """:func:`run` for several at once, one sweep for the same stage of all: a process waits once a stage.

    An error ends them all, where experiments that run one after the other may each come to an end.

    Args:
        names: of the experiments.
        profile, preset, store, how: as there.

    Returns:
        The records by experiment; what several of them need is trained once.
    """
    stages = {
        name: _stages(name, profile, preset, lambda: table_of(profile, store).checksum) for name in names
    }
    records: dict[str, dict[str, Record]] = {name: {} for name in names}
    for step in range(max(map(len, stages.values()), default=0)):
        wanted = {
            name: own[step](profile, profile.preset(preset), list(records[name].values()))
            for name, own in stages.items()
            if step < len(own)
        }
        specs = list(dict.fromkeys(spec for own in wanted.values() for spec in own))
        by_id = {record.id: record for record in sweep(specs, store, how)}
        for name, own_specs in wanted.items():
            records[name] |= {spec.id: by_id[spec.id] for spec in own_specs}
    return {name: list(own.values()) for name, own in records.items()}


def _stages(name: str, profile: Profile, preset: str, table: Callable[[], str | None]) -> tuple[Stage, ...]:
    known = names(profile, preset)
    if name not in known:
        raise ValueError(
            f"profile {profile.name!r} has no experiment {name!r} in preset {preset!r}; "
            f"it has {', '.join(known)}"
        )
    if name == "latency":
        return _latency_dense, partial(_latency_aware, table=table)
    return STAGES[name]


def _known_table(profile: Profile, store: AnyStore | None) -> str | None:
    """Checksum of the latency table that a store has, without measuring one."""
    try:
        return None if store is None else table_of(profile, store, measure=False).checksum
    except MissingTable:
        return None


def _dense(profile: Profile, settings: Experiments, seeds: Sequence[int]) -> list[Spec]:
    return [profile.spec(seed=seed) for seed in seeds]


def _sweep(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    return profile.sweep(settings.sweep)


def _picks(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    return picks_specs(records, profile, preset=settings.sweep)


def _window(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    assert settings.window is not None
    return window_specs(records, profile, settings.window, settings.sweep)


def _tickets(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    """Runs that prune and go on, and beside them their masks on earlier weights."""
    own = settings.tickets
    assert own is not None
    found = _dense(profile, settings, own.seeds)
    for seed in own.seeds:
        for ratio in own.ratios:
            for epoch in own.epochs:
                plain = Pruning(criterion=own.criterion, ratio=ratio, policy=AtEpoch(epoch=epoch))
                found.append(profile.spec(seed=seed, pruning=plain))
                found += [
                    profile.spec(seed=seed, pruning=plain.model_copy(update={"rewind": rewind}))
                    for rewind in own.rewind
                    if rewind < epoch or rewind == 0
                ]
    return found


def _variations(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.variations
    assert own is not None
    kinds: list[Variation | None] = [None]
    kinds += [Variation(kind="same", draw=draw) for draw in range(own.same)]
    kinds += [Variation(kind="other", draw=draw, similarity=own.similarity) for draw in range(own.other)]
    at = AtEpoch(epoch=own.epoch)
    return [
        profile.spec(
            seed=seed,
            pruning=Pruning(
                criterion=own.criterion, ratio=ratio, policy=at, rewind=own.epoch, variation=variation
            ),
        )
        for seed in own.seeds
        for ratio in own.ratios
        for variation in kinds
    ]


def _posttrained(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    """Train, prune, finetune: two schedules one after the other. EPI: one schedule of twice the length."""
    own = settings.pretrained
    assert own is not None
    found = _dense(profile, settings, own.seeds)
    for seed in own.seeds:
        for ratio in own.ratios:
            first = Pruning(criterion=own.criterion, ratio=ratio, policy=AtEpoch(epoch=0))
            found.append(profile.spec(seed=seed, pruning=first, pretrained=True))
            found.append(_by_epi(profile, seed, own.criterion, ratio, 2 * profile.recipe.epochs))
    return found


def _by_epi(profile: Profile, seed: int, criterion: str, ratio: float, epochs: int) -> Spec:
    """A run on a schedule of another length, pruned by EPI or else at a third of it."""
    recipe = profile.recipe.model_copy(update={"epochs": epochs})
    policy = EPI(
        threshold=profile.tau[criterion],
        look_back=profile.tracking.look_back,
        patience=profile.patience,
        fallback=epochs // 3,
    )
    pruning = Pruning(criterion=criterion, ratio=ratio, policy=policy)
    return profile.spec(seed=seed, pruning=pruning, recipe=recipe)


def _equal_time(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    """EPI on as many epochs as take the time of train, prune, finetune, by what the runs so far took."""
    own = settings.pretrained
    assert own is not None
    return [
        _by_epi(profile, seed, own.criterion, ratio, epochs_of_equal_time(records, ratio))
        for ratio in own.ratios
        for seed in own.seeds
    ]


def _rival(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.prunetrain
    assert own is not None
    return _dense(profile, settings, own.seeds) + [
        profile.spec(seed=seed, method=PruneTrainSettings(share, own.interval, own.threshold))
        for share in own.shares
        for seed in own.seeds
    ]


def _rival_picks(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.prunetrain
    assert own is not None
    return [spec for _, spec in _at_epi(profile, records, (own.ratio,), own.seeds)]


def _at_epi(
    profile: Profile, records: Sequence[Record], ratios: Sequence[float], seeds: Sequence[int]
) -> Iterator[tuple[Pruning, Spec]]:
    """The gradient criterion's run at EPI's epoch, for the first network."""
    dense = {r.spec.seed: r for r in records if r.spec == profile.spec(seed=r.spec.seed)}
    for seed in seeds:
        for ratio in ratios:
            found = pick(dense[seed], "gradient", ratio, threshold=profile.tau["gradient"], profile=profile)
            pruning = Pruning(criterion="gradient", ratio=ratio, policy=AtEpoch(epoch=found.epoch))
            yield pruning, profile.spec(seed=seed, pruning=pruning)


def _latency_dense(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    assert settings.latency is not None
    return _dense(profile, settings, settings.latency.seeds)


def _latency_aware(
    profile: Profile, settings: Experiments, records: Sequence[Record], table: Callable[[], str | None]
) -> list[Spec]:
    """At initialisation, at EPI's epoch, and there with the penalty."""
    own = settings.latency
    assert own is not None
    found, checksum = [], table()
    for plain, spec in _at_epi(profile, records, own.ratios, own.seeds):
        first = plain.model_copy(update={"policy": AtEpoch(epoch=0)})
        found += [profile.spec(seed=spec.seed, pruning=first), spec]
        if checksum is None:
            continue
        for weight in own.weights:
            aware = LatencyAware(weight=weight, table=checksum)
            found.append(profile.spec(seed=spec.seed, pruning=plain.model_copy(update={"latency": aware})))
    return found


def _steps(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.steps
    assert own is not None
    at = AtEpoch(epoch=profile.contrast.reference)
    return [
        profile.spec(seed=seed, pruning=Pruning(criterion="gradient", ratio=ratio, policy=at, steps=value))
        for seed in own.seeds
        for ratio in own.ratios
        for value in own.values
    ]


def _units(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.units
    assert own is not None
    neurons = profile.neurons.model_copy(update={"count": "unit"})
    assert isinstance(neurons, Neurons)
    found = [profile.spec(seed=seed, neurons=neurons) for seed in own.seeds]
    for seed in own.seeds:
        for ratio in own.ratios:
            for epoch in own.epochs:
                pruning = Pruning(criterion="gradient", ratio=ratio, policy=AtEpoch(epoch=epoch))
                found.append(profile.spec(seed=seed, pruning=pruning, neurons=neurons))
    return found


def _virtual(profile: Profile, settings: Experiments, records: Sequence[Record]) -> list[Spec]:
    own = settings.virtual
    assert own is not None
    longer = {name: getattr(profile.recipe, name) * own.slices for name in ("epochs", "warmup_epochs")}
    recipe = profile.recipe.model_copy(update={**longer, "slices": own.slices})
    return [profile.spec(seed=seed, recipe=recipe) for seed in own.seeds]


STAGES: dict[str, tuple[Stage, ...]] = {
    "policies": (_sweep, _picks),
    "tickets": (_tickets,),
    "variations": (_variations,),
    "pretrained": (_posttrained, _equal_time),
    "prunetrain": (_rival, _rival_picks),
    "latency": (_latency_dense,),
    "window": (_sweep, _window),
    "steps": (_steps,),
    "units": (_units,),
    "virtual": (_virtual,),
}

NAMES = tuple(STAGES)
"""All experiments there are."""

EXPLORATORY = frozenset({"window"})
"""Experiments that were thought of after the results had been seen: no claim is decided from their runs."""
