"""How a run is shown."""

from typing import TYPE_CHECKING

from rich.table import Table

from pat.study.runs.following.console import Console

if TYPE_CHECKING:
    from pat.study.store.record import Record


def print_methods(console: Console) -> None:
    """Criteria, policies and methods: name, settings with their defaults, source."""
    from pat.criteria import CRITERIA
    from pat.methods import METHODS
    from pat.policy import POLICIES

    table = Table("", "name", "settings", "source")
    for name, criterion in CRITERIA.items():
        table.add_row("criterion", name, f"reads {criterion.reads}", criterion.source)
    for registry in (POLICIES, METHODS):
        for name, entry in registry.items():
            table.add_row(registry.kind, name, ", ".join(entry.takes()), entry.source)
    console.print(table)


def print_record(record: "Record", console: Console) -> None:
    result, cost, origin = record.result, record.cost, record.provenance
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("run", record.id)
    table.add_row("what", record.spec.title)
    table.add_row("profile", f"{record.spec.profile} ({record.spec.dataset})")
    table.add_row("status", record.status + (f": {record.reason}" if record.reason else ""))
    if record.trunk:
        table.add_row("continues", record.trunk)
    if result is not None:
        when = "never" if result.prune_epoch is None else f"in epoch {result.prune_epoch}"
        if record.spec.method is not None and record.history and record.history[0].phase == "sparse":
            when = "before the first epoch"
        policy = record.spec.pruning.policy if record.spec.pruning else None
        if result.prune_epoch is None and policy is not None and policy.watches:
            when = f"never: {policy.silent()}"
        table.add_row("pruned", when)
        table.add_row("test accuracy", f"{result.test_accuracy:.2f} %")
        table.add_row("validation", f"{result.validation_accuracy:.2f} %")
    if cost is not None:
        table.add_row("MACs", f"{cost.macs:,} of {cost.dense_macs:,} ({cost.macs / cost.dense_macs:.1%})")
        table.add_row("parameters", f"{cost.parameters:,} of {cost.dense_parameters:,}")
        table.add_row("training MACs", f"{cost.training_share:.1%} of the dense run's")
    table.add_row("took", f"{origin.seconds:.1f} s on {origin.hardware}")
    table.add_row("commit", origin.commit or "installed package")
    console.print(table, soft_wrap=True)
