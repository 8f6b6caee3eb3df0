"""Records as one tidy table, a row per run."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from pat.study.store.record import Record

_COLUMNS = [
    "id", "profile", "dataset", "architecture", "criterion", "ratio", "pruning", "policy",
    "prune_epoch", "seed", "status", "test_accuracy", "validation_accuracy", "macs", "macs_share",
    "parameters_share", "training_share", "seconds", "hardware", "commit",
]  # fmt: skip


def runs_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a run: what it was, how it ended, what it cost."""
    return pd.DataFrame([_row(record) for record in records], columns=_COLUMNS)


def _row(record: Record) -> dict[str, Any]:
    spec, pruning, result, cost = record.spec, record.spec.pruning, record.result, record.cost
    return {
        "id": record.id,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "architecture": spec.architecture,
        "criterion": pruning.criterion if pruning else None,
        "ratio": pruning.ratio if pruning else None,
        "pruning": f"{pruning.criterion} {100 * pruning.ratio:g} %" if pruning else spec.experiment,
        "policy": pruning.policy.kind if pruning and spec.experiment == "sweep" else spec.experiment,
        "prune_epoch": result.prune_epoch if result else spec.prune_epoch,
        "seed": spec.seed,
        "status": record.status,
        "test_accuracy": result.test_accuracy if result else None,
        "validation_accuracy": result.validation_accuracy if result else None,
        "macs": cost.macs if cost else None,
        "macs_share": cost.macs / cost.dense_macs if cost else None,
        "parameters_share": cost.parameters / cost.dense_parameters if cost else None,
        "training_share": cost.training_share if cost else None,
        "seconds": record.provenance.seconds,
        "hardware": record.provenance.hardware,
        "commit": record.provenance.commit,
    }
