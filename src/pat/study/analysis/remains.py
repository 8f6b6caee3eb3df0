"""What Algorithm 1 leaves: channels per layer, layers that are empty, networks that collapsed."""

from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd

from pat.study.plan.spec import AtEpoch
from pat.study.store.record import Record


def kept_shares(
    records: Iterable[Record], architecture: str, criteria: Sequence[str], ratio: float, epochs: Sequence[int]
) -> pd.DataFrame:
    """Share of each layer's channels that Algorithm 1 keeps, by criterion and pruning epoch.

    Args:
        records: any runs; those of the oracle sweep count, but for collapsed and failed ones, which have no
            structure.
        architecture, criteria, ratio, epochs: which of them.

    Returns:
        Indexed by layer; of the dense layer ``channels`` and ``initial magnitude`` (Eq. 2, mean over its
        channels in a fresh network; layers that are coupled share it), and a column ``criterion, p = epoch``
        for each that there are runs of: mean share over seeds, in percent. Empty without any run.
    """
    found: dict[str, list[dict[str, int]]] = {
        f"{criterion}, p = {epoch}": [] for criterion in criteria for epoch in epochs
    }
    dataset = None
    for record in records:
        spec, structure = record.spec, structure_left(record)
        if structure is None or spec.experiment != "sweep" or spec.architecture != architecture:
            continue
        assert spec.pruning is not None
        column = f"{spec.pruning.criterion}, p = {spec.prune_epoch}"
        if spec.pruning.ratio == ratio and column in found:
            dataset = spec.dataset
            found[column].append(structure)
    if dataset is None:
        return pd.DataFrame()
    table = layers_at_start(dataset, architecture)
    shares = {
        column: 100 * pd.DataFrame(structures).mean() / table["channels"]
        for column, structures in found.items()
        if structures
    }
    return table.join(pd.DataFrame(shares), how="left").dropna()


def structure_left(record: Record) -> dict[str, int] | None:
    """Channels per layer after the pruning epoch, or None for a run that has none."""
    return next((epoch.structure for epoch in record.history if epoch.phase == "prune"), None)


@cache
def layers_at_start(dataset: str, architecture: str) -> pd.DataFrame:
    """The layers whose channels are neurons, in a fresh network.

    Returns:
        Indexed by layer: ``channels``, and ``initial magnitude``, mean score of Eq. 2 over them.
    """
    import torch  # only here: all other tables do without it

    from pat.channels import trace
    from pat.importance import magnitude_scores
    from pat.training import models
    from pat.training.data import load_manifest

    manifest = load_manifest(dataset)
    shape = (manifest.in_channels, manifest.image_size)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = models.build(
            architecture, num_classes=manifest.num_classes, in_channels=shape[0], image_size=shape[1]
        )
    groups = trace(model, torch.zeros(1, shape[0], shape[1], shape[1])).neurons(keep_stem=False)
    scores = magnitude_scores(model, groups)
    rows = [
        (layer, group.size, float(scores[name].sum()))
        for name, group in groups.items()
        for layer in group.layers
    ]
    table = pd.DataFrame(rows, columns=["layer", "channels", "initial magnitude"])
    sums = table.groupby("layer", sort=False).sum()
    return sums.assign(**{"initial magnitude": sums["initial magnitude"] / sums["channels"]})


def emptied_table(records: Iterable[Record]) -> pd.DataFrame:
    """Where pruning emptied layers, or left no path through the network.

    Returns:
        One row per network, pruning and epoch of the oracle sweep in which that happened: ``runs``,
        ``empty layers`` (mean over the runs that have a structure), ``collapsed`` (no path from input to
        output is left; the run counts with the accuracy of a constant prediction) and ``failed``.
    """
    rows = []
    for record in records:
        spec = record.spec
        if spec.experiment != "sweep" or spec.pruning is None or not isinstance(spec.pruning.policy, AtEpoch):
            continue
        structure = structure_left(record)
        empty = None if structure is None else sum(count == 0 for count in structure.values())
        rows.append(
            {
                "network": spec.architecture,
                "criterion": spec.pruning.criterion,
                "ratio": f"{100 * spec.pruning.ratio:g} %",
                "epoch": spec.prune_epoch,
                "runs": 1,
                "empty layers": empty,
                "collapsed": record.status == "collapsed",
                "failed": record.status == "failed",
            }
        )
    keys, counts = ["network", "criterion", "ratio", "epoch"], ["empty layers", "collapsed", "failed"]
    table = pd.DataFrame(rows, columns=[*keys, "runs", *counts]).astype({"empty layers": float})
    sums = {"runs": "sum", "empty layers": "mean", "collapsed": "sum", "failed": "sum"}
    found = table.groupby(keys, as_index=False, sort=True).agg(sums)
    return found[(found[counts] > 0).any(axis=1)].reset_index(drop=True)
