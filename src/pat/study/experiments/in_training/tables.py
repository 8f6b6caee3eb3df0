"""Table 2 as text: our runs, what they differ in, and the literature's rows."""

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.in_training.runs import nearest_share, rival_differences
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper
from pat.study.plan.settings import Rival

_METHODS = ("dense", "epi", "prunetrain")
_KEYS = ["architecture", "method", "ratio", "share"]
_COLUMNS = [
    "test accuracy", "MACs (millions)", "MACs left", "start epoch", "training MACs saved",
    "by the paper's formula", "filters removed", "parameters left",
]  # fmt: skip


def method_name(method: str, ratio: float, share: float) -> str:
    """A row's name for people; ratio and share as
    :func:`~pat.study.experiments.in_training.runs.rivals_table`."""
    if method == "epi":
        return f"PaT, EPI, {100 * ratio:g} %"
    return f"PruneTrain, ρ = {share:g}" if method == "prunetrain" else method


def rival_accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and cost of every method.

    Args:
        table: of :func:`~pat.study.experiments.in_training.runs.rivals_table`.

    Returns:
        Indexed by network and method: means over seeds ± half the 95 % interval, accuracy in percent,
        the others but the multiply-accumulates of one image as shares in percent; the starting epochs
        (:func:`~pat.study.wording.epochs`).
    """
    rows, index = [], []
    networks = list(dict.fromkeys(table["architecture"]))
    parts = [part for _, part in table.groupby(_KEYS, dropna=False)]
    for runs in sorted(parts, key=lambda part: _place(part, networks)):
        own = runs.sort_values("seed")
        starts = wording.epochs(zip(own["start"], own["triggered"], strict=True))
        cells = [
            _mean(own["test_accuracy"]),
            _mean(own["macs"] / 1e6, 2),
            _mean(100 * own["macs_share"]),
            "" if own["method"].iloc[0] == "dense" else starts,
            *(_mean(100 * own[name]) for name in ("saving", "paper_saving", "removed", "parameters_share")),
        ]
        rows.append(cells)
        index.append((own["architecture"].iloc[0], _name(own)))
    names = pd.MultiIndex.from_tuples(index, names=["network", "method"]) if index else None
    return pd.DataFrame(rows, names, _COLUMNS)


def rival_gaps(table: pd.DataFrame, settings: Rival, architecture: str) -> pd.DataFrame:
    """Pruning by EPI minus PruneTrain, with their 95 % intervals over paired seeds, as text.

    Args:
        table, settings, architecture: see :func:`~pat.study.experiments.in_training.runs.rival_differences`.

    Returns:
        One row, named by the two; columns in percentage points. No row while PruneTrain's runs are missing.
    """
    share = nearest_share(table, settings, architecture)
    found = rival_differences(table, settings, architecture)
    names = {
        "accuracy": "test accuracy",
        "saving": "training MACs saved",
        "macs_share": "MACs left",
        "removed": "filters removed",
    }
    if share is None or found.empty:
        return pd.DataFrame(columns=list(names.values()))
    cells = []
    for name in names:
        known = found[name].dropna() * (1 if name == "accuracy" else 100)
        cells.append(interval(known).text() if len(known) else "")
    title = f"{method_name('epi', settings.ratio, share)} minus {method_name('prunetrain', 0, share)}"
    return pd.DataFrame([cells], [title], list(names.values()))


def literature_table(paper: Paper) -> pd.DataFrame:
    """Table 2 as the paper prints it: the literature's numbers on ImageNet, a dash where it has one.

    Returns:
        Indexed by network and method; texts.
    """
    columns = {
        "top1": "top-1 (%)",
        "gflops": "GFLOPs",
        "start_epoch": "start epoch",
        "train_flops_red": "training FLOPs saved (%)",
    }
    rows, index = [], []
    for network in (name for name in paper.names("table2") if name in LABELS):
        for method in paper.names(f"table2.{network}"):
            found = [paper.optional(f"table2.{network}.{method}.{column}") for column in columns]
            rows.append(["–" if number is None else number.text for number in found])
            index.append((LABELS[network], method))
    names = pd.MultiIndex.from_tuples(index, names=["network", "method"])
    return pd.DataFrame(rows, names, list(columns.values()))


def _place(runs: pd.DataFrame, networks: list[str]) -> tuple[int, int]:
    return networks.index(runs["architecture"].iloc[0]), _METHODS.index(runs["method"].iloc[0])


def _name(runs: pd.DataFrame) -> str:
    return method_name(*(runs[column].iloc[0] for column in ("method", "ratio", "share")))


def _mean(values: pd.Series, digits: int = 1) -> str:
    known = values.dropna()
    return "" if known.empty else interval(known).plus_minus(digits)
