"""Methods that prune in training (Sec. 4.4, Table 2): pruning-aware training by EPI against PruneTrain."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from pat.cost import paper_training_reduction
from pat.study.analysis.grid import pruned_in
from pat.study.analysis.picks import Pick, pick
from pat.study.analysis.remains import layers_at_start
from pat.study.plan.profile import Profile
from pat.study.plan.settings import Rival
from pat.study.plan.spec import Spec
from pat.study.store.record import Record

Value = Literal["accuracy", "saving"]
"""What is compared: test accuracy in points, or the share of the training's multiply-accumulates saved."""

_CRITERION: Literal["gradient"] = "gradient"  # of the paper's own rows of Table 2
_COLUMNS = [
    "architecture", "method", "ratio", "share", "seed", "status", "test_accuracy", "macs", "macs_share",
    "parameters_share", "removed", "start", "triggered", "saving", "paper_saving",
]  # fmt: skip
_NUMBERS = ["ratio", "share", "test_accuracy", "macs", "macs_share", "parameters_share", "removed", "start",
            "saving", "paper_saving"]  # fmt: skip


def rivals_table(records: Iterable[Record], profile: Profile) -> pd.DataFrame:
    """Dense runs, the runs that EPI's pick beside each of them names, and PruneTrain's, one row a run.

    Args:
        records: of the experiment, and of further networks with the runs at EPI's picks.
        profile: their scale.

    Returns:
        ``method`` (``dense``, ``epi`` or ``prunetrain``), ``ratio`` (EPI's alpha) or ``share`` (PruneTrain's
        rho), ``test_accuracy`` in percent (NaN for a failed run), ``macs`` of the network that is left and
        ``macs_share``, ``parameters_share`` of the dense network's, ``removed``, the share of filters that
        are gone, ``start``, the epoch of pruning or of PruneTrain's first removal, ``triggered`` (None where
        nothing can trigger), ``saving``, the share of the training's multiply-accumulates that was saved, and
        ``paper_saving``, the same by Table 2's formula, which knows one removal (NaN for the others).
    """
    records = list(records)
    by_spec = {record.spec: record for record in records}
    rows = []
    for record in records:
        if record.spec.experiment in ("dense", "prunetrain"):
            rows.append(_row(record, record.spec.experiment))
        if record.spec.experiment == "dense":
            for ratio in profile.tracking.ratios:
                chosen = _pick(record, ratio, profile)
                found = by_spec.get(pruned_in(record, _CRITERION, ratio, chosen.epoch))
                rows += [] if found is None else [{**_row(found, "epi"), "triggered": chosen.triggered}]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.astype(dict.fromkeys(_NUMBERS, float))


def at_epi(dense: Iterable[Record], profile: Profile, ratio: float) -> list[Spec]:
    """The runs that prune dense ones in the epochs that EPI picks; none at a ratio that is not watched."""
    if ratio not in profile.tracking.ratios:
        return []
    return [pruned_in(r, _CRITERION, ratio, _pick(r, ratio, profile).epoch) for r in dense]


def _pick(dense: Record, ratio: float, profile: Profile) -> Pick:
    return pick(dense, _CRITERION, ratio, threshold=profile.tau[_CRITERION], profile=profile)


def _row(record: Record, method: str) -> dict[str, object]:
    spec, cost, result = record.spec, record.cost, record.result
    removals = [epoch.epoch for epoch in record.history if epoch.phase == "prune"]
    by_formula = None
    if method == "epi" and cost and result and result.prune_epoch is not None:
        epochs = spec.recipe.epochs
        by_formula = paper_training_reduction(cost.dense_macs, cost.macs, epochs, result.prune_epoch)
    return {
        "architecture": spec.architecture,
        "method": method,
        "ratio": spec.pruning.ratio if spec.pruning else None,
        "share": spec.prunetrain.share if spec.prunetrain else None,
        "seed": spec.seed,
        "status": record.status,
        "test_accuracy": result.test_accuracy if result else None,
        "macs": cost.macs if cost else None,
        "macs_share": cost.macs / cost.dense_macs if cost else None,
        "parameters_share": cost.parameters / cost.dense_parameters if cost else None,
        "removed": removed_share(record),
        "start": min(removals, default=None),
        "saving": 1 - cost.training_share if cost else None,
        "paper_saving": by_formula,
    }


def removed_share(record: Record) -> float | None:
    """Share of the filters that can go that a run has removed at its end; None if it has no cost (failed).

    Every layer's channel counts, as alpha of a run that counts filters does.
    """
    if record.cost is None:
        return None
    structures = [epoch.structure for epoch in record.history if epoch.structure is not None]
    if not structures:
        return 0.0
    widths = layers_at_start(record.spec.dataset, record.spec.architecture)["channels"]
    left = structures[-1]
    return 1 - sum(left.values()) / float(widths[list(left)].sum())


def nearest_share(table: pd.DataFrame, settings: Rival, architecture: str) -> float | None:
    """The rho with which PruneTrain removed most nearly as many filters as EPI's run, mean over all seeds.

    Args:
        table: of :func:`rivals_table`.
        settings: of the experiment.
        architecture: the network.

    Returns:
        Of equally near ones the smaller; None until all runs of PruneTrain are there.
    """
    runs = table[(table["architecture"] == architecture) & (table["method"] == "prunetrain")]
    have = set(zip(runs["share"], runs["seed"], strict=True))
    if any((share, seed) not in have for share in settings.shares for seed in settings.seeds):
        return None
    own = runs[runs["share"].isin(settings.shares) & runs["seed"].isin(settings.seeds)]
    distances = (own.dropna(subset=["removed"]).groupby("share")["removed"].mean() - settings.ratio).abs()
    return float(str(distances.round(9).idxmin())) if len(distances) else None


def rival_differences(table: pd.DataFrame, settings: Rival, architecture: str) -> pd.DataFrame:
    """Pruning by EPI minus PruneTrain at :func:`nearest_share`, over the seeds that have both.

    Args:
        table, settings, architecture: as there.

    Returns:
        Indexed by seed: ``accuracy`` in points, and ``saving``, ``macs_share`` and ``removed`` as shares.
    """
    values = {
        "accuracy": "test_accuracy",
        "saving": "saving",
        "macs_share": "macs_share",
        "removed": "removed",
    }
    share = nearest_share(table, settings, architecture)
    own = table[(table["architecture"] == architecture) & table["seed"].isin(settings.seeds)]
    ours = own[(own["method"] == "epi") & (own["ratio"] == settings.ratio)].set_index("seed")
    theirs = own[(own["method"] == "prunetrain") & (own["share"] == share)].set_index("seed")
    seeds = ours.index.intersection(theirs.index).sort_values()
    gaps = {name: ours.loc[seeds, column] - theirs.loc[seeds, column] for name, column in values.items()}
    return pd.DataFrame(gaps, index=pd.Index(seeds, name="seed", dtype=int), dtype=float)


def rival_difference(records: Sequence[Record], profile: Profile, preset: str, value: Value) -> pd.Series:
    """Pruning by EPI minus PruneTrain, by seed, where both leave about as many filters.

    PruneTrain has no ratio to set. Of its rho the one counts whose removed filters come nearest to EPI's
    ratio, mean over all seeds (:func:`nearest_share`): chosen by size, never by accuracy.

    Args:
        records: of the experiment ``prunetrain``, or none.
        profile, preset: have its settings.
        value: ``accuracy`` in points, or ``saving``, a share of the dense training's multiply-accumulates.

    Returns:
        Indexed by seed, without the seeds that lack a run or a value; empty until all of PruneTrain's runs
        are there.

    Raises:
        ValueError: for an unknown value, or if the preset does not have the experiment.
    """
    if value not in ("accuracy", "saving"):
        raise ValueError(f"unknown value {value!r}; known are accuracy, saving")
    if not records:
        return pd.Series(dtype=float, name=value, index=pd.Index([], name="seed", dtype=int))
    own = profile.preset(preset).prunetrain
    if own is None:
        raise ValueError(f"preset {preset!r} has no runs of PruneTrain")
    found = rival_differences(rivals_table(records, profile), own, profile.architectures[0])
    return found[value].dropna().rename(value)
