"""Other masks on one checkpoint (Sec. 4.5): is it the structure that counts, or the channels?"""

from collections.abc import Iterable
from itertools import combinations
from statistics import fmean, stdev
from typing import Literal

import pandas as pd

from pat.stability import similarity
from pat.study.analysis.intervals import interval
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Spec
from pat.study.store.record import Record

Kind = Literal["same", "other"]
"""Masks of the same structure, or of other structures."""

KIND_NAMES = {
    "same": "same structure, other channels",
    "other": "other structure",
    "trained": "same mask, pruned in training",
}
"""What is compared with the original mask's run, for people."""

_PAPER = {"same": "same_structure", "other": "different_structure"}
_CELL = ["architecture", "criterion", "ratio", "epoch", "seed"]


def variations_table(records: Iterable[Record]) -> pd.DataFrame:
    """Runs from one checkpoint that differ in their masks alone, and what came of them.

    Args:
        records: of the experiment, and of runs that prune in training, which are compared where they fit.

    Returns:
        One row a run: ``kind`` (``original`` for Algorithm 1's mask, ``same``, ``other``, or ``trained`` for
        the run in which Algorithm 1 found the mask and which went on with the weights that it had), ``draw``,
        ``test_accuracy`` in percent (NaN for a failed run), ``difference`` to the original mask's run of the
        same seed in points, and ``psi``, the similarity (Eq. 5) of the structure to the original mask's. Runs
        without an original beside them are left out.
    """
    rows = [row for record in records if (row := _row(record)) is not None]
    table = pd.DataFrame(
        rows, columns=[*_CELL, "kind", "draw", "status", "test_accuracy", "structure"]
    ).astype({"test_accuracy": float})
    originals = table[table["kind"] == "original"].set_index(_CELL)[["test_accuracy", "structure"]]
    both = table.join(originals.add_suffix("_original"), on=_CELL, how="inner").reset_index(drop=True)
    both["difference"] = both["test_accuracy"] - both["test_accuracy_original"]
    pairs = zip(both["structure"], both["structure_original"], strict=True)
    both["psi"] = [similarity(a, b) if a and b else float("nan") for a, b in pairs]
    columns = [*_CELL, "kind", "draw", "status", "test_accuracy", "difference", "psi"]
    return both[columns].astype({"psi": float})


def trained_beside(records: Iterable[Record]) -> list[Spec]:
    """The runs in which Algorithm 1 found the masks and that went on with their weights, each once."""
    found = []
    for record in records:
        pruning = record.spec.pruning
        if pruning is not None and pruning.rewind is not None:
            plain = pruning.model_copy(update={"rewind": None, "variation": None})
            found.append(record.spec.model_copy(update={"pruning": plain}))
    return list(dict.fromkeys(found))


def _row(record: Record) -> dict[str, object] | None:
    spec, pruning = record.spec, record.spec.pruning
    if pruning is None or not isinstance(pruning.policy, AtEpoch):
        return None
    if spec.experiment == "variation" and pruning.variation:
        kind, draw = str(pruning.variation.kind), pruning.variation.draw
    elif spec.experiment == "ticket" and pruning.rewind == pruning.policy.epoch:
        kind, draw = "original", 0
    elif spec.experiment == "sweep":
        kind, draw = "trained", 0
    else:
        return None
    found = (epoch.structure for epoch in record.history if epoch.structure is not None)
    return {
        "architecture": spec.architecture,
        "criterion": pruning.criterion,
        "ratio": pruning.ratio,
        "epoch": pruning.policy.epoch,
        "seed": spec.seed,
        "kind": kind,
        "draw": draw,
        "status": record.status,
        "test_accuracy": record.result.test_accuracy if record.result else None,
        "structure": next(found, None),
    }


def variation_summary(table: pd.DataFrame) -> pd.DataFrame:
    """What other masks change, one row a ratio, seed and kind.

    Args:
        table: of :func:`variations_table`.

    Returns:
        ``distance``, mean over the draws of the absolute difference to the original's accuracy, in points;
        ``spread``, its standard deviation over the draws; ``gain``, the mean signed difference; ``between``,
        the mean absolute difference of two draws, and ``excess``, ``distance`` minus ``between``; ``psi``,
        mean similarity; ``draws``, how many count (failed runs do not). NaN where one draw is too few.
    """
    rows = []
    runs = table[table["kind"] != "original"].dropna(subset=["difference"])
    for key, part in runs.groupby([*_CELL, "kind"], sort=True):
        distances = part["difference"].abs().tolist()
        pairs = [abs(a - b) for a, b in combinations(part["test_accuracy"], 2)]
        between = fmean(pairs) if pairs else float("nan")
        rows.append(
            {
                **dict(zip([*_CELL, "kind"], key, strict=True)),
                "distance": fmean(distances),
                "spread": stdev(distances) if pairs else float("nan"),
                "gain": part["difference"].mean(),
                "between": between,
                "excess": fmean(distances) - between,
                "psi": part["psi"].mean(),
                "draws": len(part),
            }
        )
    numbers = ["distance", "spread", "gain", "between", "excess", "psi"]
    columns = [*_CELL, "kind", *numbers, "draws"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(numbers, float))


def variation_distance(
    records: Iterable[Record], profile: Profile, preset: str, ratio: float, kind: Kind
) -> pd.Series:
    """Mean absolute difference of other masks' test accuracy to the original's, in points, by seed.

    Args:
        records: of the experiment ``variations``, or none.
        profile, preset: have its settings.
        ratio: alpha.
        kind: which masks.

    Returns:
        Indexed by seed, without the seeds that lack the original or a draw; a failed run has been drawn, but
        has no accuracy.

    Raises:
        ValueError: for a ratio that the experiment does not have, or an unknown kind.
    """
    if kind not in _PAPER:
        raise ValueError(f"unknown kind of mask {kind!r}; known are {', '.join(_PAPER)}")
    records = list(records)
    empty = pd.Series(dtype=float, name="distance", index=pd.Index([], name="seed", dtype=int))
    if not records:
        return empty
    own = profile.preset(preset).variations
    if own is None or ratio not in own.ratios:
        has = "none" if own is None else str(list(own.ratios))
        raise ValueError(f"no masks were varied at ratio {ratio:g}; preset {preset!r} has ratios {has}")
    table = variations_table(records)
    table = table[
        (table["architecture"] == profile.architectures[0])
        & (table["criterion"] == own.criterion)
        & (table["ratio"] == ratio)
        & (table["epoch"] == own.epoch)
        & (table["kind"] == kind)
    ]
    draws = table.groupby("seed")["draw"].nunique()
    complete = draws.index[draws == getattr(own, kind)]
    if complete.empty:
        return empty
    found = variation_summary(table[table["seed"].isin(complete)])
    return found.set_index("seed")["distance"]


def variation_contrast(records: Iterable[Record], profile: Profile, preset: str, ratio: float) -> pd.Series:
    """:func:`variation_distance` of other structures minus that of the same structure, in points, by seed."""
    records = list(records)
    other, same = (variation_distance(records, profile, preset, ratio, kind) for kind in ("other", "same"))
    return (other - same).dropna().rename("distance")


def variation_table(table: pd.DataFrame, paper: Paper) -> pd.DataFrame:
    """The comparison as text, ours over seeds and under it the paper's.

    Args:
        table: of :func:`variations_table`.
        paper: what to set beside; it prints one ratio.

    Returns:
        Indexed by ``ratio`` and ``masks``; the columns of :func:`variation_summary` with names for people,
        each a mean over seeds, in points, with its 95 % interval where it is compared.
    """
    found = variation_summary(table)
    rows, index = [], []
    for ratio, at_ratio in found.groupby("ratio", sort=True):
        for kind, name in KIND_NAMES.items():
            part = at_ratio[at_ratio["kind"] == kind]
            if part.empty:
                continue
            rows.append(
                [
                    interval(part["distance"]).text(2),
                    _mean(part["spread"]),
                    interval(part["gain"]).text(2),
                    _mean(part["between"]),
                    interval(part["excess"].dropna()).text(2) if part["excess"].notna().any() else "",
                    _mean(part["psi"]),
                    f"{part['draws'].sum()} ({len(part)})",
                ]
            )
            index.append((f"{100 * float(str(ratio)):g} %", name))
    for kind, entry in _PAPER.items():
        at = f"similar_structure.{entry}"
        mean, spread, n = (paper.number(f"{at}.{name}").text for name in ("diff_mean", "diff_std", "n"))
        psi = paper.number(f"{at}.similarity").text if kind == "other" else ""
        rows.append([mean, spread, "", "", "", psi, n])
        percent = paper.number("similar_structure.ratio").text
        index.append((f"{percent} %", f"{KIND_NAMES[kind]} (paper: ResNet50, ImageNet)"))
    columns = ["|difference|", "its SD", "difference", "between draws", "excess", "Ψ", "runs (seeds)"]
    return pd.DataFrame(rows, pd.MultiIndex.from_tuples(index, names=["ratio", "masks"]), columns)


def _mean(values: pd.Series) -> str:
    known = values.dropna()
    return "" if known.empty else f"{known.mean():.2f}"
