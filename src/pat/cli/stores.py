"""Commands on stores: what they hold, one run, tables, publishing, comparing, clearing."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pat.cli.options import AS_PATH, FAILED, FOLDER, StoreFolder, clear_errors
from pat.cli.show import print_methods, print_record
from pat.files import paths
from pat.files.plain import printable
from pat.study.runs.following.console import Console


def _tell_if_new(store: Path) -> None:
    if not store.exists():
        typer.echo(f"{store} is not there yet: no run has been kept in it", err=True)


def status(store: StoreFolder = paths.STORE) -> None:
    """What a store holds: finished runs and those under way."""
    from pat.study.store import Store, open_store

    _tell_if_new(store)
    with clear_errors():
        target = open_store(store)
        records = target.records()
        table = Table("profile", "architecture", "done", "collapsed", "failed")
        keys = sorted({(r.spec.profile, r.spec.architecture) for r in records})
        for profile, architecture in keys:
            own = [r for r in records if (r.spec.profile, r.spec.architecture) == (profile, architecture)]
            counts = [str(sum(r.status == state for r in own)) for state in ("done", "collapsed", "failed")]
            table.add_row(profile, architecture, *counts)
        console = Console()
        console.print(table)
        if isinstance(target, Store):
            for name, epochs in target.unfinished():
                console.print(f"unfinished: {name[:12]}, {epochs} epochs kept")


def table(
    store: StoreFolder = paths.STORE,
    csv: Annotated[bool, typer.Option("--csv", help="All columns as CSV, for a program.")] = False,
) -> None:
    """One line a run: what it was, how it ended, what it cost."""
    from pat.study.store import open_store

    _tell_if_new(store)
    with clear_errors():
        records = open_store(store).records()
        if csv:
            from pat.study.store.rows import runs_table

            typer.echo(runs_table(records).to_csv(index=False), nl=False)
            return
        shown = Table("run", "what", "status", "pruned in", "test %", "MACs", "training")
        for record in records:
            result, cost = record.result, record.cost
            epoch = None if result is None else result.prune_epoch
            shown.add_row(
                record.id[:12],
                record.spec.title,
                record.status,
                "" if epoch is None else str(epoch),
                "" if result is None else f"{result.test_accuracy:.2f}",
                "" if cost is None else f"{cost.macs / cost.dense_macs:.2f}",
                "" if cost is None else f"{cost.training_share:.2f}",
            )
        Console(width=None if sys.stdout.isatty() else 140).print(shown)


def publish(
    store: StoreFolder = paths.STORE,
    profile: Annotated[str | None, typer.Option(help="Only this profile's runs.")] = None,
    target: Annotated[Path, typer.Option(help="Folder of published records.", **FOLDER)] = paths.RESULTS,
    packed: Annotated[bool, typer.Option(help="Many records in one compressed file a seed.")] = False,
) -> None:
    """Copy finished records, and what was measured beside them, to the folder that the book is built from."""
    from pat.study.store import open_store
    from pat.study.store.publishing import publish, publish_measurements

    with clear_errors():
        records = open_store(store).records()
        chosen = [r for r in records if profile is None or r.spec.profile == profile]
        if not chosen:
            raise ValueError(f"{store} has no finished run" + (f" of profile {profile!r}" if profile else ""))
        new = publish(chosen, target, packed=packed)
        publish_measurements(store, target)
        typer.echo(f"{len(new)} records published to {target}, {len(chosen) - len(new)} were there")


def compare(
    store: StoreFolder = paths.STORE,
    published: Annotated[Path, typer.Option(help="Folder of published records.", **FOLDER)] = paths.RESULTS,
) -> None:
    """Compare a store's runs with the published ones: equal to the last digit, or how far apart."""
    from pat.study.store import open_store
    from pat.study.store.comparing import compare

    with clear_errors():
        records = open_store(store).records()
        found = compare(records, open_store(published))
        if not found.equal and not found.different:
            raise ValueError(f"{store} and {published} have no run in common")
        others = len(records) - found.equal - len(found.different)
        typer.echo(
            f"{found.equal} runs are equal to the published ones, {len(found.different)} are not"
            + (f"; {others} of {store} are not published" if others else "")
        )
        for known, own in found.different:
            both = [
                ("failed" if r.result is None else f"{r.result.test_accuracy:.2f} %") for r in (known, own)
            ]
            typer.echo(f"  {own.id[:12]} {own.spec.title}: published {both[0]}, here {both[1]}")
        if found.different:
            typer.echo(f"largest difference of test accuracy: {found.largest:.2f} points")


def show(
    run_id: Annotated[str, typer.Argument(help="Id of a run, or its first digits; or 'methods'.")],
    store: StoreFolder = paths.STORE,
    profile: Annotated[str | None, typer.Option(help="Load this profile's plugins.")] = None,
) -> None:
    """Everything that a record says of one run; or which criteria, policies and methods there are."""
    from pat.study.plan.profile import load_profile
    from pat.study.store import open_store

    with clear_errors():
        if profile is not None:
            load_profile(profile)
        if run_id == "methods":
            return print_methods(Console(width=None if sys.stdout.isatty() else 140))
        found = [r for r in open_store(store).records() if r.id.startswith(run_id)]
        if len(found) != 1:
            problem = "no run" if not found else f"{len(found)} runs"
            raise ValueError(f"{problem} in {store} with an id that starts with {run_id!r}")
        print_record(found[0], Console())


def merge(
    source: Annotated[Path, typer.Argument(help="Another store, of this machine or another one.", **AS_PATH)],
    store: StoreFolder = paths.STORE,
) -> None:
    """Copy into a store the runs that it lacks of another one; exit code 1 if some are there otherwise."""
    from pat.study.store import Store, open_store
    from pat.study.store.merging import merge as start

    with clear_errors():
        if not source.is_dir():
            raise ValueError(f"no store {source}")
        target = open_store(store)
        if not isinstance(target, Store):
            raise ValueError(f"{store} holds published records: publish {source} to it instead")
        found = start(open_store(source), target)
        for conflict in found.conflicts:
            typer.echo(f"conflict: {printable(conflict)}", err=True)
        typer.echo(
            f"{len(found.new)} runs and {found.unfinished} unfinished ones copied to {store}, {found.known} "
            f"were there, {len(found.conflicts)} conflicts"
        )
    if found.conflicts:
        raise typer.Exit(FAILED)


def gc(store: StoreFolder = paths.STORE) -> None:
    """Remove the checkpoints of finished runs.

    A sweep that still needs some of a finished dense run to branch from trains that one again.
    """
    from pat.study.store import Store, open_store

    _tell_if_new(store)
    with clear_errors():
        target = open_store(store)
        if not isinstance(target, Store):
            raise ValueError(f"{store} holds published records, which have no checkpoints")
        typer.echo(f"{target.collect_garbage() / 1e6:.1f} MB freed")
