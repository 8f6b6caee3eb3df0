"""The oracle sweep: what the pruning epoch does, too early, too late, at its best."""

from typing import Any

import pandas as pd

from pat.study.analysis.intervals import Interval, interval
from pat.study.analysis.runs import paired_difference
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Contrast, Profile


def contrasts(table: pd.DataFrame, contrast: Contrast) -> list[tuple[str, str, str, Interval]]:
    """What pruning at initialisation and late costs against a few epochs in, paired over seeds.

    The three epochs stand in the profile; they are not chosen from the runs in the table.

    Returns:
        Network, pruning, side (``first`` or ``last``) and difference in percentage points, over the seeds
        that have both runs; nothing where none has.
    """
    found = []
    pruned = table[table["policy"] == "epoch"].dropna(subset=["test_accuracy"])
    for (network, pruning), part in pruned.groupby(["architecture", "pruning"], sort=True):
        seeds = {epoch: set(runs["seed"]) for epoch, runs in part.groupby("prune_epoch")}
        for side, epoch in (("first", contrast.first), ("last", contrast.last)):
            if seeds.get(epoch, set()) & seeds.get(contrast.reference, set()):
                by = paired_difference(part, {"prune_epoch": epoch}, {"prune_epoch": contrast.reference})
                found.append((str(network), str(pruning), side, by))
    return found


def early_and_late(table: pd.DataFrame, contrast: Contrast) -> pd.DataFrame:
    """:func:`contrasts` as text.

    Returns:
        Columns ``network``, ``pruning``, ``first`` and ``last``; empty text where no seed has both runs, and
        words in place of a difference where all networks of both epochs collapsed.
    """
    pruned = table[table["policy"] == "epoch"]
    fallen = pruned.groupby(["architecture", "pruning", "prune_epoch"])["status"].agg(
        lambda states: bool((states == "collapsed").all())
    )
    found = {}
    for network, pruning, side, by in contrasts(table, contrast):
        both = [fallen.get((network, pruning, e)) for e in (getattr(contrast, side), contrast.reference)]
        found[network, pruning, side] = "both collapsed" if all(both) else by.text()
    rows = []
    for key in sorted({(str(r["architecture"]), str(r["pruning"])) for r in pruned.to_dict("records")}):
        rows.append((*key, found.get((*key, "first"), ""), found.get((*key, "last"), "")))
    return pd.DataFrame(rows, columns=["network", "pruning", "first", "last"])


def oracle(table: pd.DataFrame) -> pd.DataFrame:
    """The grid's best epoch, chosen on validation, and beside it the paper's way, the best on test.

    A maximum over noisy values is biased upwards; ``bias`` is how much higher the second way comes out.

    Returns:
        One row per network and pruning: ``chosen`` (epoch), ``accuracy`` (its mean test accuracy),
        ``best on test`` (epoch), ``its accuracy`` and ``bias``, in percentage points.
    """
    rows = []
    pruned = table[table["policy"] == "epoch"].dropna(subset=["validation_accuracy", "test_accuracy"])
    for (network, pruning), part in pruned.groupby(["architecture", "pruning"], sort=True):
        means = part.groupby("prune_epoch")[["validation_accuracy", "test_accuracy"]].mean()
        accuracy = {float(str(epoch)): value for epoch, value in means["test_accuracy"].items()}
        chosen = float(str(means["validation_accuracy"].idxmax()))
        best = max(accuracy, key=lambda epoch: accuracy[epoch])
        rows.append(
            {
                "network": network,
                "pruning": pruning,
                "chosen": f"p = {chosen:g}",
                "accuracy": accuracy[chosen],
                "best on test": f"p = {best:g}",
                "its accuracy": accuracy[best],
                "bias": accuracy[best] - accuracy[chosen],
            }
        )
    columns = ["network", "pruning", "chosen", "accuracy", "best on test", "its accuracy", "bias"]
    return pd.DataFrame(rows, columns=columns)


def beside_the_paper(table: pd.DataFrame, profile: Profile, paper: Paper) -> pd.DataFrame:
    """The accuracies of the sweep that the paper prints, and what stands in for them here.

    Args:
        table: of :func:`~pat.study.store.rows.runs_table`.
        profile, paper: their scale, and what to set beside.

    Returns:
        Columns ``quantity``, ``paper`` (ImageNet) and ``here`` (mean over seeds with its interval), as text:
        the dense networks, and what pruning half of ResNet50 by gradients a few epochs in loses against them.
    """
    rows = []
    for name, architecture in zip(LABELS, profile.architectures, strict=False):
        dense = table[(table["policy"] == "dense") & (table["architecture"] == architecture)]
        accuracies = dense["test_accuracy"].dropna()
        here = interval(accuracies).text() if len(accuracies) else ""
        printed = paper.number(f"setup.dense_top1.{name}").text
        rows.append((f"{LABELS[name]} ({architecture}), dense, accuracy in percent", printed, here))
    dense_top1 = paper.number("setup.dense_top1.resnet50")
    pruned_top1 = paper.number("similar_structure.original_mask_top1")
    lost = f"{dense_top1.value - pruned_top1.value:.{min(dense_top1.decimals, pruned_top1.decimals)}f}"
    own = table[table["architecture"] == profile.architectures[0]]
    half: dict[str, Any] = {
        "policy": "epoch", "criterion": "gradient", "ratio": 0.5, "prune_epoch": profile.contrast.reference
    }  # fmt: skip
    try:
        here = paired_difference(own, {"policy": "dense"}, half).text()
    except ValueError:  # no seed has both
        here = ""
    what = f"{LABELS['resnet50']} ({profile.architectures[0]}), half pruned by gradients, points lost"
    rows.append((what, lost, here))
    return pd.DataFrame(rows, columns=["quantity", "paper", "here"])
