"""Table 3 as text: accuracies beside the paper's, and what each method spent."""

import pandas as pd

from pat.study import wording
from pat.study.analysis.intervals import interval
from pat.study.experiments.pretrained.runs import METHODS, over_ratios, pretrained_differences
from pat.study.paper.numbers import Paper

_PAPER = {"finetuned": "post_trained", "epochs": "epi_equal_epochs", "time": "epi_equal_time"}


def pretrained_accuracies(table: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """Table 3 as text, ours by ratio and as the mean over ratios, and under it the paper's.

    Args:
        table: of :func:`pretrained_table`.
        paper: what to set beside.

    Returns:
        Indexed by source and ratio: test accuracy of each method in percent, mean over seeds ± half the 95 %
        interval, and for each budget EPI minus the finetuned in points, with its 95 % interval; the paper's
        as printed, and their differences.
    """
    runs = table.dropna(subset=["test_accuracy"])
    gaps = pretrained_differences(table)
    rows, index = [], []
    for ratio in sorted(runs["ratio"].unique()):
        at = runs[runs["ratio"] == ratio].groupby("method")["test_accuracy"]
        texts = {str(method): interval(values).plus_minus() for method, values in at}
        found = gaps[gaps["ratio"] == ratio].groupby("budget")["difference"]
        differences = {str(budget): interval(values).text() for budget, values in found}
        rows.append(_cells(texts, differences))
        index.append((f"{100 * ratio:g} %", "ours"))
    ratios = list(runs["ratio"].unique())
    whole = {budget: over_ratios(table, ratios, budget) for budget in ("epochs", "time")}
    if len(ratios) > 1:
        rows.append(_cells({}, {b: interval(v).text() for b, v in whole.items() if len(v)}))
        index.append(("all of these", "ours"))
    theirs = paper_differences(paper).set_index(["ratio", "budget"])["difference"]
    for percent in _printed_ratios(paper):
        printed = {m: paper.number(f"table3.{percent}.{entry}") for m, entry in _PAPER.items()}
        digits = printed["finetuned"].decimals
        differences = {b: f"{theirs[int(percent) / 100, b]:.{digits}f}" for b in ("epochs", "time")}
        rows.append(_cells({method: number.text for method, number in printed.items()}, differences))
        index.append((f"{percent} %", "paper: ResNet50, ImageNet"))
    columns = [*METHODS.values(), *(f"{METHODS[budget]}: difference" for budget in ("epochs", "time"))]
    return pd.DataFrame(rows, pd.MultiIndex.from_tuples(index, names=["ratio", "source"]), columns)


def paper_differences(paper: Paper) -> pd.DataFrame:
    """EPI minus finetuning as Table 3 has it, in points of top-1.

    Returns:
        Columns ``ratio``, ``budget`` and ``difference``.
    """
    rows = []
    for percent in _printed_ratios(paper):
        base = paper.number(f"table3.{percent}.{_PAPER['finetuned']}")
        for budget in ("epochs", "time"):
            other = paper.number(f"table3.{percent}.{_PAPER[budget]}")
            rows.append((int(percent) / 100, budget, round(other.value - base.value, base.decimals)))
    return pd.DataFrame(rows, columns=["ratio", "budget", "difference"])


def _printed_ratios(paper: Paper) -> list[str]:
    """Ratios of Table 3 in percent."""
    return [name for name in paper.names("table3") if name.isdigit()]


def _cells(texts: dict[str, str], differences: dict[str, str]) -> list[str]:
    return [texts.get(name, "") for name in METHODS] + [differences.get(b, "") for b in ("epochs", "time")]


def spent_table(table: pd.DataFrame) -> pd.DataFrame:
    """What each method spent, and when it pruned, as text.

    Args:
        table: of :func:`pretrained_table`.

    Returns:
        Indexed by ratio and method: ``epochs``; ``minutes`` (:func:`training_seconds`) and ``dense runs``
        (multiply-accumulates of the training as a multiple of one dense run's), means over seeds ± half the
        95 % interval; ``pruned in epoch`` (:func:`~pat.study.wording.epochs`).
    """
    rows, index = [], []
    for ratio in sorted(table["ratio"].unique()):
        for method, name in METHODS.items():
            runs = table[(table["ratio"] == ratio) & (table["method"] == method)].sort_values("seed")
            if runs.empty:
                continue
            epochs = wording.epochs(zip(runs["prune_epoch"], runs["triggered"], strict=True))
            rows.append(
                {
                    "epochs": ", ".join(f"{n}" for n in sorted(runs["epochs"].unique())),
                    "minutes": interval(runs["seconds"] / 60).plus_minus(2),
                    "dense runs": _known(runs["training"]),
                    "pruned in epoch": "after the dense run" if method == "finetuned" else epochs,
                }
            )
            index.append((f"{100 * ratio:g} %", name))
    names = pd.MultiIndex.from_tuples(index, names=["ratio", "method"]) if index else None
    return pd.DataFrame(rows, names, ["epochs", "minutes", "dense runs", "pruned in epoch"])


def _known(values: pd.Series) -> str:
    known = values.dropna()
    return "" if known.empty else interval(known).plus_minus(2)
