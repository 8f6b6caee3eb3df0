"""What hangs on EPI's settings: threshold, look-back, patience, pruning steps, neurons, virtual epochs."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from pat.study import wording
from pat.study.analysis.grid import Cell, cells
from pat.study.analysis.intervals import interval
from pat.study.analysis.picks import at_threshold, pick, picks_by_threshold, picks_of_values
from pat.study.analysis.stability import epi
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.store.record import Record
from pat.study.store.rows import runs_table

Setting = Literal["steps", "count"]
"""What varies between runs: S of Algorithm 1, or what counts as a neuron."""

LOOK_BACKS = (1, 2, 3, 5, 8)
PATIENCES = (0, 1, 3, 5, 8)


def threshold_curve(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.DataFrame:
    """What EPI would lose with any other threshold, mean over the ratios of each seed.

    Each row stands for the thresholds from above those of the row before (of its seed) up to its own: no pick
    changes between.
    A pick between two epochs that were run counts linearly between them.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.

    Returns:
        Columns ``architecture``, ``criterion``, ``seed``, ``threshold``, ``regret`` (points of test accuracy
        against the oracle chosen on validation), ``triggered`` (share of the ratios) and ``epoch`` (mean).
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(records, profile, preset):
        groups.setdefault((cell.architecture, cell.criterion), []).append(cell)
    rows = []
    for (architecture, criterion), own in groups.items():
        picks = [picks_by_threshold(cell.dense, criterion, cell.ratio, profile=profile) for cell in own]
        for threshold in sorted({highest for by_threshold in picks for highest, _ in by_threshold}):
            chosen = [at_threshold(by_threshold, threshold) for by_threshold in picks]
            for cell, found in zip(own, chosen, strict=True):
                regret = cell.regret(found.epoch)
                rows.append(
                    (architecture, criterion, cell.seed, threshold, regret, found.triggered, found.epoch)
                )
    return _means(rows, ["architecture", "criterion", "seed", "threshold"])


def window_table(
    records: Iterable[Record],
    profile: Profile,
    preset: str = "full",
    look_backs: Sequence[int] = LOOK_BACKS,
    patiences: Sequence[int] = PATIENCES,
) -> pd.DataFrame:
    """What EPI with the paper's tau would lose with another look-back or patience, on the first network.

    Args:
        records, profile, preset: see :func:`~pat.study.analysis.grid.cells`.
        look_backs: values of r.
        patiences: how many earlier values EPI must not be under.

    Returns:
        Columns ``criterion``, ``seed``, ``look_back``, ``patience``, ``regret``, ``triggered`` and ``epoch``,
        as :func:`threshold_curve`.
    """
    rows = []
    for cell in cells(records, profile, preset, architecture=profile.architectures[0]):
        for look_back in look_backs:
            values = epi(cell.dense, cell.criterion, cell.ratio, look_back)
            for patience in patiences:
                by_threshold = picks_of_values(cell.dense, values, patience)
                found = at_threshold(by_threshold, profile.tau[cell.criterion])
                row = (cell.regret(found.epoch), found.triggered, found.epoch)
                rows.append((cell.criterion, cell.seed, look_back, patience, *row))
    return _means(rows, ["criterion", "seed", "look_back", "patience"])


def varied_picks(records: Iterable[Record], profile: Profile, preset: str = "full") -> pd.DataFrame:
    """When EPI triggers in dense runs that count neurons otherwise, or have virtual epochs.

    A virtual epoch is a slice of a pass over the data; look-back, patience and threshold are the same
    numbers, so that EPI looks back a shorter way.

    Args:
        records: the sweep's, and other dense runs of its first network.
        profile, preset: see :func:`~pat.study.analysis.grid.cells`.

    Returns:
        For the sweep's criteria, ratios and seeds: columns ``criterion``, ``ratio``, ``seed``, ``count``
        (what counts as a neuron), ``slices`` (1: whole passes), ``epoch`` (in which pruning starts, in the
        profile's epochs), ``triggered`` and ``regret`` of the sweep's runs that prune there, linear
        between the epochs that were run (NaN where neurons are counted otherwise, because the sweep's
        networks are then others).
    """
    records = _once(records)
    dense: dict[int, list[Record]] = {}
    for record in records:
        if record.result is not None and _varied(record.spec, profile):
            dense.setdefault(record.spec.seed, []).append(record)
    rows = []
    for cell in cells(records, profile, preset, architecture=profile.architectures[0]):
        tau = profile.tau[cell.criterion]
        for run in dense[cell.seed]:
            found = pick(run, cell.criterion, cell.ratio, threshold=tau, profile=profile)
            count, slices = run.spec.neurons.count, run.spec.recipe.slices
            epoch = found.epoch * profile.recipe.slices / slices
            regret = cell.regret(epoch) if count == profile.neurons.count else float("nan")
            row = (count, slices, epoch, found.triggered, regret)
            rows.append((cell.criterion, cell.ratio, cell.seed, *row))
    columns = ["criterion", "ratio", "seed", "count", "slices", "epoch", "triggered", "regret"]
    return pd.DataFrame(rows, columns=columns)


def _varied(spec: Spec, profile: Profile) -> bool:
    """Whether it is a dense run of the first network, but for the neurons' count and virtual epochs."""
    recipe = profile.recipe
    usual = {"slices": recipe.slices, "epochs": recipe.epochs, "warmup_epochs": recipe.warmup_epochs}
    neurons = spec.neurons.model_copy(update={"count": profile.neurons.count})
    given = (spec.profile, spec.architecture, neurons, spec.recipe.model_copy(update=usual))
    same_length = spec.recipe.epochs * recipe.slices == recipe.epochs * spec.recipe.slices
    wanted = (profile.recorded, profile.architectures[0], profile.neurons, recipe)
    return spec.experiment == "dense" and same_length and given == wanted


def varied_picks_table(picks: pd.DataFrame, by: Literal["count", "slices"]) -> pd.DataFrame:
    """:func:`varied_picks` as text, over the seeds that have a run of each value.

    Args:
        picks: of :func:`varied_picks`.
        by: what to set beside each other.

    Returns:
        Indexed by criterion and ratio; for each value of ``by`` the pruning epochs
        (:func:`~pat.study.wording.epochs`), and for slices the mean regret with its interval. Empty
        if there is one value alone.
    """
    usual = picks["slices"] == picks["slices"].min() if by == "count" else picks["regret"].notna()
    own = picks[usual]
    values = sorted(own[by].unique())
    whole = own.groupby("seed")[by].nunique() == len(values)
    own = own[own["seed"].isin(whole[whole].index)].sort_values("seed")
    rows, index = [], []
    for (criterion, ratio), part in own.groupby(["criterion", "ratio"], sort=True):
        row = {}
        for value in values if len(values) > 1 else ():
            at = part[part[by] == value]
            name = f"by {value}" if by == "count" else _slices(int(value))
            row[name] = wording.epochs(zip(at["epoch"], at["triggered"], strict=True))
            if by == "slices":
                row[f"regret, {name}"] = interval(at["regret"]).text()
        rows.append(row)
        index.append((criterion, f"{100 * float(str(ratio)):g} %"))
    if not rows or not rows[0]:
        return pd.DataFrame()
    return pd.DataFrame(rows, index=pd.MultiIndex.from_tuples(index, names=["criterion", "ratio"]))


def _once(records: Iterable[Record]) -> list[Record]:
    """Experiments share runs."""
    return list({record.id: record for record in records}.values())


def _slices(slices: int) -> str:
    return "whole passes" if slices == 1 else f"{slices} slices a pass"


def _means(rows: Sequence[tuple[object, ...]], keys: list[str]) -> pd.DataFrame:
    values = ["regret", "triggered", "epoch"]
    table = pd.DataFrame(rows, columns=[*keys, *values]).astype(dict.fromkeys(values, float))
    return table.groupby(keys, as_index=False, sort=False)[values].mean()


def settings_table(records: Iterable[Record], profile: Profile, setting: Setting) -> pd.DataFrame:
    """Runs that differ in one setting alone, beside those with the profile's value of it.

    Args:
        records: any runs of the profile; those of other experiments are passed over.
        profile: their scale.
        setting: ``steps`` (S of Algorithm 1) or ``count`` (what counts as a neuron).

    Returns:
        One row per network, pruning, epoch and value, over the seeds that have all values: how many
        ``seeds``, ``accuracy`` (test, in percent) and ``difference`` to the profile's value, in points, as
        text, and ``MACs left`` (mean share of the dense network's). Prunings and epochs that have the
        profile's value alone are left out.
    """
    usual = {"steps": Pruning.model_fields["steps"].default, "count": profile.neurons.count}
    kept = []
    for record in _once(records):
        settings = _settings(record.spec)
        others = {name: value for name, value in settings.items() if name != setting}
        if (
            settings
            and record.result is not None
            and others.items() <= usual.items()
            and record.spec.recipe == profile.recipe
        ):
            kept.append((record, settings[setting]))
    table = runs_table(record for record, _ in kept)
    table[setting] = [value for _, value in kept]
    rows = []
    for key, cell in table.groupby(["architecture", "pruning", "prune_epoch"], sort=True):
        accuracy, macs = (
            cell.pivot(index="seed", columns=setting, values=name).dropna()
            for name in ("test_accuracy", "macs_share")
        )
        if accuracy.empty or set(accuracy.columns) == {usual[setting]}:
            continue
        for value in accuracy.columns:
            told = ""
            if usual[setting] in accuracy and value != usual[setting]:
                told = wording.amount(interval(accuracy[value] - accuracy[usual[setting]]), "")
            own = (len(accuracy), interval(accuracy[value]).plus_minus(), told, float(macs[value].mean()))
            rows.append((*key, value, *own))
    columns = ["network", "pruning", "epoch", setting, "seeds", "accuracy", "difference", "MACs left"]
    return pd.DataFrame(rows, columns=columns)


def _settings(spec: Spec) -> dict[str, str | int]:
    """The settings of a run that Algorithm 1 pruned at a fixed epoch; nothing of others."""
    if spec.experiment != "sweep" or spec.pruning is None or not isinstance(spec.pruning.policy, AtEpoch):
        return {}
    return {"steps": spec.pruning.steps, "count": spec.neurons.count}
