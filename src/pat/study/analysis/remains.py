"""What Algorithm 1 leaves: channels per layer, layers that are empty, networks that collapsed."""

from collections.abc import Iterable, Sequence
from functools import cache

import pandas as pd

from pat.study.record import Record
from pat.study.spec import AtEpoch


def kept_shares(
    records: Iterable[Record], architecture: str, criteria: Sequence[str], ratio: float, epochs: Sequence[int]
) -> pd.DataFrame:
    """Share of each layer's channels that Algorithm 1 keeps, by criterion and pruning epoch.

    Args:
        records: any runs; those of the oracle sweep count, but for collapsed and failed ones, which have no
            structure.
        architecture, criteria, ratio, epochs: which of them.

    Returns:
        Indexed by layer; ``channels`` of the dense layer and a column ``criterion, p = epoch`` for each that
        there are runs of: mean share over seeds, in percent.
    """
    found: dict[str, list[dict[str, int]]] = {
        f"{criterion}, p = {epoch}": [] for criterion in criteria for epoch in epochs
    }
    widths: dict[str, int] = {}
    for record in records:
        spec, structure = record.spec, structure_left(record)
        if structure is None or spec.experiment != "sweep" or spec.architecture != architecture:
            continue
        assert spec.pruning is not None
        column = f"{spec.pruning.criterion}, p = {spec.prune_epoch}"
        if spec.pruning.ratio == ratio and column in found:
            widths = layer_widths(spec.dataset, architecture)
            found[column].append(structure)
    table = pd.DataFrame(index=pd.Index([name for name in widths if _watched(found, name)], name="layer"))
    table["channels"] = [widths[str(name)] for name in table.index]
    for column, structures in found.items():
        if structures:
            means = pd.DataFrame(structures).mean()
            table[column] = [100 * means[name] / widths[str(name)] for name in table.index]
    return table


def _watched(found: dict[str, list[dict[str, int]]], layer: str) -> bool:
    return any(layer in structure for structures in found.values() for structure in structures)


def structure_left(record: Record) -> dict[str, int] | None:
    """Channels per layer after the pruning epoch, or None for a run that has none."""
    return next((epoch.structure for epoch in record.history if epoch.phase == "prune"), None)


@cache
def layer_widths(dataset: str, architecture: str) -> dict[str, int]:
    """Output channels of each convolution of a dense network; builds it without memory for its weights."""
    import torch  # only here: all other tables do without it

    from pat import models
    from pat.data import load_manifest

    manifest = load_manifest(dataset)
    with torch.device("meta"):
        model = models.build(
            architecture,
            num_classes=manifest.num_classes,
            in_channels=manifest.in_channels,
            image_size=manifest.image_size,
        )
    return {
        name: module.out_channels
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    }


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
