"""Lottery tickets (Sec. 4.1, Fig. 3 in grey): pruning in training against its masks on earlier weights."""

from collections.abc import Callable, Iterable
from typing import Literal

import pandas as pd

from pat.study.analysis.intervals import interval
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch
from pat.study.store.record import Record

_COLUMNS = [
    "architecture", "criterion", "ratio", "epoch", "rewind", "seed", "status", "test_accuracy",
    "training_share",
]  # fmt: skip
_CELL = ["architecture", "criterion", "ratio", "epoch", "seed"]

At = Literal["reference", "later"]
"""The pruning epochs whose tickets are compared, see :func:`ticket_difference`."""


def tickets_table(records: Iterable[Record]) -> pd.DataFrame:
    """Runs that prune in an epoch and go on, and those that put the same mask on earlier weights.

    Args:
        records: of the experiment; runs of other kinds are passed over.

    Returns:
        One row a run: ``epoch`` in which Algorithm 1 found the mask, ``rewind``, the epochs after which the
        weights are taken (0: the original initialisation; NaN: pruned in training, with the weights that it
        had), ``test_accuracy`` in percent (NaN for a failed run) and ``training_share``, this training's
        multiply-accumulates as a share of the dense run's, without what it took to find a ticket's mask.
    """
    rows = []
    for record in records:
        spec, pruning = record.spec, record.spec.pruning
        if spec.experiment not in ("sweep", "ticket") or not isinstance(pruning and pruning.policy, AtEpoch):
            continue
        assert pruning is not None
        rows.append(
            {
                "architecture": spec.architecture,
                "criterion": pruning.criterion,
                "ratio": pruning.ratio,
                "epoch": spec.prune_epoch,
                "rewind": pruning.rewind,
                "seed": spec.seed,
                "status": record.status,
                "test_accuracy": record.result.test_accuracy if record.result else None,
                "training_share": record.cost.training_share if record.cost else None,
            }
        )
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.astype({"rewind": float, "test_accuracy": float, "training_share": float})


def ticket_differences(table: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy of pruning in training minus that of its mask on earlier weights, in points.

    Args:
        table: of :func:`tickets_table`.

    Returns:
        Columns ``architecture``, ``criterion``, ``ratio``, ``epoch``, ``seed``, ``rewind`` and
        ``difference``; one row a ticket with the run beside it, without failed ones.
    """
    runs = table.dropna(subset=["test_accuracy"])
    trained = runs[runs["rewind"].isna()].set_index(_CELL)["test_accuracy"].rename("trained")
    tickets = runs[runs["rewind"].notna()]
    both = tickets.join(trained, on=_CELL, how="inner")
    both["difference"] = both["trained"] - both["test_accuracy"]
    return both[[*_CELL, "rewind", "difference"]].reset_index(drop=True)


def ticket_difference(
    records: Iterable[Record],
    profile: Profile,
    preset: str,
    ratio: float,
    rewind: int,
    at: At = "reference",
) -> pd.Series:
    """Pruning in training minus its mask on earlier weights, test accuracy in points, by seed.

    Epochs whose mask is put on their own or later weights never count.

    Args:
        records: of the experiment ``tickets``, or none.
        profile, preset: have its settings.
        ratio: alpha.
        rewind: epochs after which the weights are taken; 0 is the original initialisation.
        at: the pruning epochs; ``reference`` is the profile's reference epoch, if masks of that epoch are
            taken, and otherwise the same as ``later``: the mean over all after the first.

    Returns:
        Indexed by seed, without the seeds that lack a run of those epochs.

    Raises:
        ValueError: for a ratio or rewinding that the experiment does not have.
    """
    records = list(records)
    empty = pd.Series(dtype=float, name="difference", index=pd.Index([], name="seed", dtype=int))
    if not records:
        return empty
    own = profile.preset(preset).tickets
    if own is None or ratio not in own.ratios or rewind not in own.rewind:
        has = "none" if own is None else f"ratios {list(own.ratios)}, rewound to {list(own.rewind)}"
        raise ValueError(f"no tickets of ratio {ratio:g}, rewound to {rewind}; preset {preset!r} has {has}")
    later = [epoch for epoch in own.epochs if epoch > max(rewind, profile.contrast.first)]
    reference = profile.contrast.reference
    epochs = [reference] if at == "reference" and reference in later else later
    found = ticket_differences(tickets_table(records))
    found = found[
        (found["architecture"] == profile.architectures[0])
        & (found["criterion"] == own.criterion)
        & (found["ratio"] == ratio)
        & (found["rewind"] == rewind)
        & found["epoch"].isin(epochs)
    ]
    if found.empty:
        return empty
    seeds = found.groupby("seed")["difference"].agg(["mean", "size"])
    return seeds.loc[seeds["size"] == len(epochs), "mean"].rename("difference")


def ticket_table(table: pd.DataFrame) -> pd.DataFrame:
    """What pruning in training gains over each ticket, as text.

    Args:
        table: of :func:`tickets_table`.

    Returns:
        Indexed by ``ratio`` and ``weights`` (where the mask is put), one column per pruning epoch: difference
        in points, mean over paired seeds with its 95 % interval; empty where there is no run.
    """
    found = ticket_differences(table)
    return _wide(found, lambda part: interval(part["difference"]).text())


def ticket_means(table: pd.DataFrame, value: str, digits: int) -> pd.DataFrame:
    """A column's mean ± half the 95 % interval over seeds, as text; indexed as :func:`ticket_table`.

    Args:
        table: of :func:`tickets_table`.
        value: ``test_accuracy`` or ``training_share``.
        digits: behind the point.
    """
    return _wide(table.dropna(subset=[value]), lambda part: interval(part[value]).plus_minus(digits))


def _wide(table: pd.DataFrame, text: Callable[[pd.DataFrame], str]) -> pd.DataFrame:
    rows = [
        (f"{100 * float(str(ratio)):g} %", weights_of(float(str(rewind))), epoch, text(part))
        for (ratio, rewind, epoch), part in table.groupby(["ratio", "rewind", "epoch"], dropna=False)
    ]
    long = pd.DataFrame(rows, columns=["ratio", "weights", "epoch", "text"])
    order = pd.MultiIndex.from_frame(long[["ratio", "weights"]].drop_duplicates())
    wide = long.pivot(index=["ratio", "weights"], columns="epoch", values="text").reindex(order)
    return wide.fillna("").rename(columns=lambda epoch: f"p = {epoch:g}").rename_axis(columns=None)


def weights_of(rewind: float) -> str:
    """Which weights a mask was put on, for people; NaN: pruned in training."""
    if pd.isna(rewind):
        return "those of its epoch (pruned in training)"
    if rewind == 0:
        return "original initialisation"
    return f"after {rewind:g} epoch{'s' if rewind > 1 else ''}"
