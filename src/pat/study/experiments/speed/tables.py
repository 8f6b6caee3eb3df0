"""Speed and cost as text: Fig. 5's runs, their differences, what training costs beside the paper's prices."""

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.audit.expense import sparse_epoch, start_epoch
from pat.study.experiments.policies.tables import POLICY_NAMES
from pat.study.experiments.speed.runs import (
    CHOICES,
    Choice,
    by_seed,
    cost_ratio,
    finetuned_share,
    training_saving,
)
from pat.study.paper.numbers import Paper

CHOICE_NAMES: dict[str, str] = {choice: POLICY_NAMES[choice] for choice in CHOICES}
"""Names of the choices for people."""


def speedup_table(table: pd.DataFrame) -> pd.DataFrame:
    """The runs behind Fig. 5, mean over seeds ± half the 95 % interval.

    Args:
        table: of :func:`~pat.study.experiments.speed.runs.speed_table`.

    Returns:
        Indexed by ratio and choice (with lambda where there are several): ``pruned in``
        (:func:`~pat.study.wording.epochs`), ``accuracy`` (test, percent), multiply-accumulates and measured
        step as shares of the dense network's, ``speed-up`` (the step's inverse), ``runs``, ``collapsed``.
    """
    rows, index = [], []
    several = table["weight"].nunique() > 1
    for (ratio, choice, weight), runs in _groups(table):
        rows.append(
            {
                "pruned in": wording.epochs(zip(runs["prune_epoch"], runs["triggered"], strict=True)),
                "accuracy": _mean(runs["test_accuracy"], 1),
                "multiply-accumulates": _mean(runs["macs_share"], 3),
                "step": _mean(runs["step_share"], 3),
                "speed-up": _mean(runs["speedup"], 2),
                "runs": len(runs),
                "collapsed": int((runs["status"] == "collapsed").sum()),
            }
        )
        name = CHOICE_NAMES[choice] + (f", λ = {weight:g}" if several and choice == "latency" else "")
        index.append((f"{100 * ratio:g} %", name))
    names = pd.MultiIndex.from_tuples(index, names=["ratio", "pruned"]) if index else None
    columns = ["pruned in", "accuracy", "multiply-accumulates", "step", "speed-up", "runs", "collapsed"]
    return pd.DataFrame(rows, names, columns)


def _groups(table: pd.DataFrame) -> list[tuple[tuple[float, Choice, float], pd.DataFrame]]:
    """By ratio, choice and lambda, in that order."""
    keys = table[["ratio", "choice", "weight"]].drop_duplicates().itertuples(index=False)
    found = []
    for ratio, choice, weight in keys:  # sorted as the table is
        same = table["weight"].isna() if pd.isna(weight) else table["weight"] == weight
        runs = table[(table["ratio"] == ratio) & (table["choice"] == choice) & same]
        found.append(((ratio, choice, weight), runs))
    return found


def _mean(values: pd.Series, digits: int) -> str:
    known = values.dropna()
    return "" if known.empty else interval(known).plus_minus(digits)


def differences_table(table: pd.DataFrame, weight: float | None = None) -> pd.DataFrame:
    """The paper's two statements about speed as differences, paired over seeds.

    Args:
        table: of :func:`~pat.study.experiments.speed.runs.speed_table`.
        weight: lambda of ``latency``, where there are several.

    Returns:
        Indexed by ratio and comparison: differences of multiply-accumulates and measured steps, as shares of
        the dense network's, and of test accuracy in points, each with its 95 % interval; ``n`` seeds.
    """
    rows, index = [], []
    pairs: list[tuple[Choice, Choice]] = [("init", "epi"), ("epi", "latency")]
    for ratio in sorted(table["ratio"].unique()):
        for first, second in pairs:
            found = {
                name: (
                    by_seed(table, ratio, first, value, weight) - by_seed(table, ratio, second, value, weight)
                ).dropna()
                for name, value in (
                    ("multiply-accumulates", "macs_share"),
                    ("step", "step_share"),
                    ("accuracy", "test_accuracy"),
                )
            }
            if found["accuracy"].empty:
                continue
            digits = {"multiply-accumulates": 3, "step": 3, "accuracy": 1}
            texts = {
                name: interval(values).text(digits[name]) if len(values) else ""
                for name, values in found.items()
            }
            rows.append({**texts, "n": len(found["accuracy"])})
            index.append((f"{100 * ratio:g} %", f"{CHOICE_NAMES[first]} − {CHOICE_NAMES[second]}"))
    names = pd.MultiIndex.from_tuples(index, names=["ratio", "difference"]) if index else None
    return pd.DataFrame(rows, names, ["multiply-accumulates", "step", "accuracy", "n"])


def cost_shares(table: pd.DataFrame) -> pd.DataFrame:
    """What training costs in dense trainings, for every seed.

    Args:
        table: of :func:`~pat.study.experiments.speed.runs.speed_table`.

    Returns:
        Columns ``ratio``, ``seed``, ``way`` (``pat``, ``finetune``), ``measure`` (``macs``, ``step``) and
        ``share``.
    """
    rows = []
    for ratio in sorted(table["ratio"].unique()):
        for measure, pruned, training in (
            ("macs", "macs_share", "training_share"),
            ("step", "step_share", "step_training_share"),
        ):
            ways = {
                "pat": 1 - training_saving(table, ratio, training),
                "finetune": finetuned_share(table, ratio, pruned),
            }
            for way, values in ways.items():
                rows += [(ratio, int(str(seed)), way, measure, share) for seed, share in values.items()]
    return pd.DataFrame(rows, columns=["ratio", "seed", "way", "measure", "share"]).astype({"share": float})


def cost_table(table: pd.DataFrame, steps: int) -> pd.DataFrame:
    """What training costs: dense, pruned in training at EPI's epoch, and train-prune-finetune.

    Args:
        table: of :func:`~pat.study.experiments.speed.runs.speed_table`.
        steps: training steps of the dense run.

    Returns:
        Indexed by ratio and way: multiply-accumulates and measured time of all training steps in dense
        trainings, the time in seconds, and the factor by which train-prune-finetune is dearer; means over
        seeds ± half the 95 % interval.
    """
    shares = cost_shares(table)
    rows, index = [], []
    for ratio in sorted(table["ratio"].unique()):
        own = table[(table["ratio"] == ratio) & (table["choice"] == "epi")].set_index("seed")
        dense = own["dense_step_seconds"] * steps
        rows.append(["1", "1", _mean(dense, 1), "", ""])
        index.append((f"{100 * ratio:g} %", "dense"))
        at = shares[shares["ratio"] == ratio]
        for way, name in (("pat", "PaT at EPI's epoch"), ("finetune", "train, prune, finetune")):
            part = at[at["way"] == way]
            by = {m: part[part["measure"] == m].set_index("seed")["share"] for m in ("macs", "step")}
            factors = ["", ""]
            if way == "finetune":
                factors = [_mean(cost_ratio(table, ratio, v), 2) for v in ("macs_share", "step_share")]
            rows.append([_mean(by["macs"], 3), _mean(by["step"], 3), _mean(by["step"] * dense, 1), *factors])
            index.append((f"{100 * ratio:g} %", name))
    columns = [
        "multiply-accumulates",
        "time of steps",
        "seconds",
        "factor over PaT, multiply-accumulates",
        "factor over PaT, time",
    ]
    names = pd.MultiIndex.from_tuples(index, names=["ratio", "training"]) if index else None
    return pd.DataFrame(rows, names, columns)


def price_table(table: pd.DataFrame, paper: Paper, ratio: float) -> pd.DataFrame:
    """The paper's example in dollars, recomputed, and with what was measured here at the paper's price.

    Args:
        table: of :func:`~pat.study.experiments.speed.runs.speed_table`.
        paper: with the prices.
        ratio: of pruning, the paper's example's.

    Returns:
        One row a quantity: ``printed``; ``recomputed`` from the paper's other numbers; ``ours, by multiply-
        accumulates`` and ``ours, by measured steps``, mean over seeds ± half the 95 % interval, in dollars if
        the dense training cost the paper's.
    """
    dense, ours, theirs = (paper.number(f"cost.{n}_usd") for n in ("dense", "pat", "train_prune_finetune"))
    saved, factor = paper.number("cost.time_reduction_pct"), paper.number("cost.cost_ratio")
    epochs = paper.number("setup.epochs").value
    epoch = sparse_epoch(dense.value, theirs.value)
    implied = start_epoch(saved.value / 100, dense.value, theirs.value, int(epochs))
    macs, step = ("training_share", "macs_share"), ("step_training_share", "step_share")

    def both(values: list[pd.Series], digits: int, unit: str = "") -> list[str]:
        return [f"{unit}{text}" if (text := _mean(v, digits)) else "" for v in values]

    pruned_in = by_seed(table, ratio, "epi", "prune_epoch") / table["epochs"].max()
    rows = {
        "dense training": [f"${dense.text}", "", f"${dense.text}", f"${dense.text}"],
        "PaT": [
            f"${ours.text}",
            f"${dense.value * (1 - saved.value / 100):.0f}",
            *both([dense.value * (1 - training_saving(table, ratio, v)) for v, _ in (macs, step)], 0, "$"),
        ],
        "train, prune, finetune": [
            f"${theirs.text}",
            "",
            *both([dense.value * finetuned_share(table, ratio, v) for _, v in (macs, step)], 0, "$"),
        ],
        "train, prune, finetune over PaT": [
            f"{factor.text}",
            f"{theirs.value / ours.value:.2f}",
            *both([cost_ratio(table, ratio, v) for _, v in (macs, step)], 2),
        ],
        "share of the training saved": [
            f"{saved.text} %",
            f"{100 * (1 - ours.value / dense.value):.0f} %",
            *(
                f"{t} %" if t else ""
                for t in both([100 * training_saving(table, ratio, v) for v, _ in (macs, step)], 1)
            ),
        ],
        "sparse epoch, in dense epochs": [
            "",
            f"{epoch:.3f}",
            *both([by_seed(table, ratio, "epi", v) for _, v in (macs, step)], 3),
        ],
        "pruning epoch, share of the schedule": [
            "",
            f"{implied / epochs:.2f}",
            *both([pruned_in, pruned_in], 2),
        ],
    }
    columns = ["printed", "recomputed", "ours, by multiply-accumulates", "ours, by measured steps"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
