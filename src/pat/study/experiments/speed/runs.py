"""Speed and cost (Sec. 4.3, Fig. 5): what a step of the pruned network takes, and what its training costs."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from pat.cost import training_share
from pat.criteria import Criterion
from pat.study.analysis.picks import pick
from pat.study.analysis.remains import layers_at_start
from pat.study.plan.profile import Profile
from pat.study.store.record import Record
from pat.study.store.speeds import Speeds, final_structure, with_step_times
from pat.training.data import load_manifest

Choice = Literal["init", "epi", "latency"]
"""Pruning at initialisation, in EPI's epoch, and there with the penalty on latency."""

CHOICES: tuple[Choice, ...] = ("init", "epi", "latency")

_COLUMNS = [
    "choice", "ratio", "seed", "weight", "id", "dense", "status", "prune_epoch", "triggered", "epochs",
    "test_accuracy", "macs_share", "training_share", "step_training_share",
    "step_share", "step_low", "step_high", "speedup", "step_seconds", "dense_step_seconds",
]  # fmt: skip


def speed_table(
    records: Iterable[Record], profile: Profile, speeds: Speeds | None, criterion: Criterion = "gradient"
) -> pd.DataFrame:
    """The runs of Fig. 5 with what they cost: the first network, one row a ratio, seed and choice.

    EPI's run is the one that prunes in the epoch that EPI picks in the dense run with the profile's
    threshold; where EPI stays silent, in the pre-defined epoch (``triggered`` is False then).

    Args:
        records: any runs of the profile, with those of the experiments ``policies`` and ``latency``; others
            are passed over.
        profile: their scale.
        speeds: measured step times; None if there are none.
        criterion: importance.

    Returns:
        ``choice``, ``ratio``, ``seed``, ``weight`` (lambda; NaN but for ``latency``), ids of the run and of
        the ``dense`` run, ``status``, ``prune_epoch``, ``triggered`` (None for ``init``), ``epochs`` of the
        schedule, ``test_accuracy`` (percent), ``macs_share``, ``training_share`` and ``step_training_share``
        (multiply-accumulates of the network and of the whole training, and time of all training steps, as
        shares of the dense run's), and the columns of :func:`~pat.study.store.speeds.with_step_times`. What a
        collapsed run or a missing measurement does not have is NaN.

    Raises:
        ValueError: if latency-aware runs were made with several latency tables.
    """
    runs = list({record.id: record for record in records}.values())
    _one_table(runs)
    rows = []
    for trunk in runs:
        if trunk.spec.experiment != "dense" or trunk.spec != profile.spec(seed=trunk.spec.seed):
            continue
        own = [r for r in runs if r.spec.trunk == trunk.spec and r.spec.pruning and r.result]
        own = [r for r in own if r.spec.experiment in ("sweep", "latency") and _of(r, criterion)]
        for ratio in sorted({r.spec.pruning.ratio for r in own if r.spec.pruning}):
            if ratio not in profile.tracking.ratios:
                continue
            tau = profile.tau[criterion]
            chosen = pick(trunk, criterion, ratio, threshold=tau, profile=profile)
            at = [r for r in own if r.spec.pruning and r.spec.pruning.ratio == ratio]
            rows += [_row("init", r, trunk, None) for r in at if _plain(r, 0)]
            rows += [_row("epi", r, trunk, chosen.triggered) for r in at if _plain(r, chosen.epoch)]
            aware = [r for r in at if r.spec.experiment == "latency" and r.spec.prune_epoch == chosen.epoch]
            rows += [_row("latency", r, trunk, chosen.triggered) for r in aware]
    known = [name for name in _COLUMNS if not rows or name in rows[0]]
    table = with_step_times(pd.DataFrame(rows, columns=known), runs, speeds)
    table["step_training_share"] = _training_by_steps(table)
    numbers = ["weight", "prune_epoch", "test_accuracy", "macs_share", "training_share"]
    table = table[_COLUMNS].astype(dict.fromkeys(numbers, float))
    order = table["choice"].map({choice: i for i, choice in enumerate(CHOICES)})
    return table.assign(order=order).sort_values(["ratio", "order", "weight", "seed"], ignore_index=True)[
        _COLUMNS
    ]


def _one_table(runs: Sequence[Record]) -> None:
    tables = {r.spec.pruning.latency.table for r in runs if r.spec.pruning and r.spec.pruning.latency}
    if len(tables) > 1:
        raise ValueError(
            f"latency-aware runs were made with {len(tables)} latency tables, "
            f"{', '.join(sorted(table[:12] for table in tables))}: take the runs of one"
        )


def _of(record: Record, criterion: str) -> bool:
    pruning = record.spec.pruning
    usual = type(pruning).model_fields["steps"].default if pruning else None
    return pruning is not None and pruning.criterion == criterion and pruning.steps == usual


def _plain(record: Record, epoch: int) -> bool:
    return record.spec.experiment == "sweep" and record.spec.prune_epoch == epoch


def _row(choice: Choice, record: Record, trunk: Record, triggered: bool | None) -> dict[str, object]:
    pruning, result, cost = record.spec.pruning, record.result, record.cost
    assert pruning is not None
    assert result is not None
    return {
        "choice": choice,
        "ratio": pruning.ratio,
        "seed": record.spec.seed,
        "weight": pruning.latency.weight if pruning.latency else None,
        "id": record.id,
        "dense": trunk.id,
        "status": record.status,
        "prune_epoch": result.prune_epoch,
        "triggered": triggered,
        "epochs": record.spec.recipe.epochs,
        "test_accuracy": result.test_accuracy,
        "macs_share": cost.macs / cost.dense_macs if cost else None,
        "training_share": cost.training_share if cost else None,
    }


def _training_by_steps(table: pd.DataFrame) -> list[float]:
    """As ``training_share``, with the measured step's time in the place of multiply-accumulates."""
    columns = zip(table["step_share"], table["epochs"], table["prune_epoch"], strict=True)
    return [training_share(1, share, epochs, epoch + 1) for share, epochs, epoch in columns]


def by_seed(
    table: pd.DataFrame, ratio: float, choice: Choice, value: str, weight: float | None = None
) -> pd.Series:
    """A column's value of one choice at one ratio, indexed by seed; without the seeds that have none.

    Args:
        table: of :func:`speed_table`.
        ratio, choice, value: what.
        weight: lambda, of ``latency``; None: the only one there is.

    Raises:
        ValueError: if there are runs of several weights and none is named.
    """
    part = table[(table["ratio"] == ratio) & (table["choice"] == choice)].dropna(subset=[value])
    if choice == "latency":
        weights = sorted(part["weight"].unique())
        if weight is None and len(weights) > 1:
            raise ValueError(f"name one of the weights {', '.join(f'{w:g}' for w in weights)}")
        part = part if weight is None else part[part["weight"] == weight]
    return part.set_index("seed")[value].sort_index()


def macs_difference(table: pd.DataFrame, ratio: float) -> pd.Series:
    """By seed, multiply-accumulates of the network that pruning at initialisation leaves minus EPI's.

    As shares of the dense network's; above 0: initialisation leaves the slower one.

    Args:
        table: of :func:`speed_table`.
        ratio: of pruning.
    """
    return (by_seed(table, ratio, "init", "macs_share") - by_seed(table, ratio, "epi", "macs_share")).dropna()


def step_difference(
    table: pd.DataFrame, ratio: float, first: Choice, second: Choice, weight: float | None = None
) -> pd.Series:
    """By seed, measured time of a training step of ``first`` minus that of ``second``, in dense steps.

    Args:
        table: of :func:`speed_table`.
        ratio: of pruning.
        first, second: choices.
        weight: lambda of ``latency``, where there are several.

    Raises:
        ValueError: for an unknown choice, or a weight that is not named.
    """
    for choice in (first, second):
        if choice not in CHOICES:
            raise ValueError(f"expected a choice of {', '.join(CHOICES)}, got {choice!r}")
    sides = [by_seed(table, ratio, choice, "step_share", weight) for choice in (first, second)]
    return (sides[0] - sides[1]).dropna()


def training_saving(table: pd.DataFrame, ratio: float, value: str = "training_share") -> pd.Series:
    """By seed, the share of the dense training that EPI's run saves.

    In multiply-accumulates, or by the measured step with ``value="step_training_share"``.

    Args:
        table: of :func:`speed_table`.
        ratio: of pruning.
    """
    return 1 - by_seed(table, ratio, "epi", value)


def finetuned_share(table: pd.DataFrame, ratio: float, value: str = "macs_share") -> pd.Series:
    """By seed, what train-prune-finetune costs in dense trainings.

    One, and a second schedule of the network that EPI leaves, whose pruning epoch counts as dense. With the
    same network on both sides the comparison is of the ways and not of structures, as in the paper.

    Args:
        table: of :func:`speed_table`.
        ratio: of pruning.
        value: ``macs_share`` or ``step_share``, the cost of the pruned network.
    """
    part = table.set_index("seed")
    epochs = part[(part["ratio"] == ratio) & (part["choice"] == "epi")]["epochs"]
    shares = by_seed(table, ratio, "epi", value)
    return shares.map(lambda share: 1 + training_share(1, share, int(epochs.max()), 1)).astype(float)


def cost_ratio(table: pd.DataFrame, ratio: float, value: str = "macs_share") -> pd.Series:
    """By seed, cost of train-prune-finetune divided by that of pruning in training at EPI's epoch.

    Args:
        table: of :func:`speed_table`.
        ratio: of pruning.
        value: ``macs_share`` or ``step_share``, the cost of the pruned network.
    """
    ours = by_seed(table, ratio, "epi", "training_share" if value == "macs_share" else "step_training_share")
    return (finetuned_share(table, ratio, value) / ours).dropna()


def training_steps(profile: Profile) -> int:
    """Training steps of one run of a profile; an epoch's incomplete last batch is dropped."""
    images, recipe = load_manifest(profile.dataset).splits["train"].count, profile.recipe
    return recipe.epochs * (max(1, images // recipe.batch_size) // recipe.slices)


def kept_by_choice(
    table: pd.DataFrame,
    records: Iterable[Record],
    profile: Profile,
    ratio: float,
    weight: float | None = None,
) -> pd.DataFrame:
    """Share of each layer's channels that a choice keeps, in percent, mean over seeds.

    Args:
        table: of :func:`speed_table`.
        records: with the table's runs among them.
        profile: their scale.
        ratio: of pruning.
        weight: lambda of ``latency``; by default the first.

    Returns:
        Indexed by layer in the trace's order, a column a choice that has runs with a structure.
    """
    by_id = {record.id: record for record in records}
    channels = layers_at_start(profile.dataset, profile.architectures[0])["channels"]
    found = {}
    for choice in CHOICES:
        part = table[(table["ratio"] == ratio) & (table["choice"] == choice)]
        if choice == "latency" and len(part):
            part = part[part["weight"] == (part["weight"].iloc[0] if weight is None else weight)]
        structures = [s for run in part["id"] if (s := final_structure(by_id[run])) is not None]
        if structures:
            found[choice] = 100 * pd.DataFrame(structures).mean() / channels
    return pd.DataFrame(found, index=channels.index).dropna(how="all")
