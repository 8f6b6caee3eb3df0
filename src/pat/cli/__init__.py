"""The command line: ``pat``. Thin: it reads arguments, calls the study, and prints."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from pat import paths
from pat.cli import measure
from pat.cli.options import FAILED, DataFolder, Jobs, Profile, StoreFolder, Workers, clear_errors

if TYPE_CHECKING:
    from pat.study.record import Record

app = typer.Typer(
    name="pat",
    help="Prune networks early in their training, and study when to do it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets: list, check, add your own.")
results_app = typer.Typer(no_args_is_help=True, help="Records of finished runs: list them, publish them.")
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.command()(measure.latency)
app.command()(measure.speed)


class Criterion(StrEnum):
    gradient = "gradient"
    magnitude = "magnitude"


class When(StrEnum):
    never = "never"
    epoch = "epoch"
    random = "random"
    epi = "epi"


@app.command()
def run(
    profile: Profile = "digits",
    architecture: Annotated[str | None, typer.Option(help="Network; the profile's first by default.")] = None,
    criterion: Annotated[Criterion, typer.Option(help="Importance of channels.")] = Criterion.gradient,
    ratio: Annotated[
        float | None, typer.Option(help="Share of neurons to remove, in [0, 1); without it the run is dense.")
    ] = None,
    policy: Annotated[
        When | None, typer.Option(help="When to prune; 'epoch' if --prune-epoch is given, else 'epi'.")
    ] = None,
    prune_epoch: Annotated[
        int | None, typer.Option(help="Epoch in which to prune, from 0 (= at initialisation).")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="EPI's tau; the profile's by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    store: StoreFolder = paths.STORE,
    data: DataFolder = paths.DATA,
    workers: Workers = 0,
) -> None:
    """Train one network, pruning it on the way, and keep its record.

    A finished run is not run again; an interrupted one goes on from its last checkpoint.
    """
    from pat.study import progress
    from pat.study.profile import load_profile
    from pat.study.run import check
    from pat.study.run import run as start
    from pat.study.spec import EPI, AtEpoch, PolicySpec, RandomEpoch
    from pat.study.store import Published, open_store

    with clear_errors():
        chosen = load_profile(profile)
        when = policy or (When.epoch if prune_epoch is not None else When.epi)
        dense = ratio is None or when == When.never
        if prune_epoch is not None and (dense or when != When.epoch):
            raise ValueError("--prune-epoch needs --ratio, and no other --policy than 'epoch'")
        if threshold is not None and (dense or when != When.epi):
            raise ValueError("--threshold needs --ratio, and no other --policy than 'epi'")
        if ratio is not None and when == When.never:
            raise ValueError("--policy never is a dense run: leave out --ratio")
        if ratio is None and policy not in (None, When.never):
            raise ValueError(f"--policy {when} needs --ratio, the share of neurons to remove")
        choice: PolicySpec
        if when == When.epoch:
            if prune_epoch is None:
                raise ValueError("--policy epoch needs --prune-epoch")
            choice = AtEpoch(epoch=prune_epoch)
        elif when == When.random:
            choice = RandomEpoch(high=chosen.recipe.epochs // 3)
        else:
            tau = chosen.tau[criterion.value] if threshold is None else threshold
            choice = EPI(threshold=tau, look_back=chosen.tracking.look_back, patience=chosen.patience)
            earliest = choice.look_back + choice.patience + 1
            if not dense and earliest >= chosen.recipe.epochs:
                raise ValueError(
                    f"EPI prunes in epoch {earliest} at the earliest (look-back {choice.look_back}, "
                    f"patience {choice.patience}), but {profile!r} ends with epoch {chosen.recipe.epochs - 1}"
                )
        if dense:
            spec = chosen.spec(architecture=architecture, seed=seed)
        else:
            spec = chosen.spec(
                architecture=architecture,
                seed=seed,
                criterion=criterion.value,
                ratio=ratio,
                policy=choice,
            )
        target = open_store(store)
        if isinstance(target, Published):
            raise ValueError(f"{store} holds published records; name another --store to train into")
        console = Console()
        if target.record(spec) is None:
            check(spec, data, workers)
            target.check_writable()
        with progress.of_run(spec, console) as watcher:
            record = start(spec, target, data=data, workers=workers, watcher=watcher)
        _print_record(record, console)
    if record.status == "failed":
        raise typer.Exit(FAILED)


@app.command()
def sweep(
    profile: Profile = "digits",
    preset: Annotated[
        str, typer.Option(help="Named sweep, or preset of experiments, of the profile.")
    ] = "study",
    experiment: Annotated[
        str | None,
        typer.Option(help="Another experiment than the oracle sweep, such as tickets; 'all' for each."),
    ] = None,
    store: StoreFolder = paths.STORE,
    data: DataFolder = paths.DATA,
    jobs: Jobs = 2,
    workers: Workers = 0,
) -> None:
    """Train all runs of an oracle sweep, or of another experiment, that the store lacks.

    Each dense run is trained once; runs that prune at epoch p continue its checkpoint.
    """
    from pat.study import experiments, progress
    from pat.study.profile import load_profile
    from pat.study.store import open_store
    from pat.study.sweep import RunsLost, WorkerLost
    from pat.study.sweep import sweep as start

    with clear_errors():
        chosen, target, console = load_profile(profile), open_store(store), Console()
        with progress.of_sweep(console) as bar:
            how: dict[str, Any] = {"jobs": jobs, "data": data, "workers": workers, "on_progress": bar}
            try:
                if experiment is None:
                    records = start(chosen.sweep(preset), target, **how)
                else:
                    names = experiments.names(chosen, preset) if experiment == "all" else [experiment]
                    runs = [experiments.run(name, chosen, preset, target, **how) for name in names]
                    records = list({r.id: r for part in runs for r in part}.values())
            except (RunsLost, WorkerLost) as error:
                typer.echo(f"pat: {error}", err=True)
                raise typer.Exit(FAILED) from None
        failed = [record for record in records if record.status == "failed"]
        console.print(f"{len(records)} runs in {store}, {bar.trained} trained now, {len(failed)} failed")
        for record in failed:
            console.print(f"  {record.spec.title}: {record.reason}", soft_wrap=True)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def status(store: StoreFolder = paths.STORE) -> None:
    """What a store holds: finished runs and those under way."""
    from pat.study.store import Store, open_store

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


@results_app.command("table")
def results_table(
    store: StoreFolder = paths.STORE,
    csv: Annotated[bool, typer.Option("--csv", help="All columns as CSV, for a program.")] = False,
) -> None:
    """One line a run: what it was, how it ended, what it cost."""
    from pat.study.store import open_store

    with clear_errors():
        records = open_store(store).records()
        if csv:
            from pat.study.analysis import runs_table

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


@results_app.command("publish")
def results_publish(
    store: StoreFolder = paths.STORE,
    profile: Annotated[str | None, typer.Option(help="Only this profile's runs.")] = None,
    target: Annotated[Path, typer.Option(help="Folder of published records.")] = paths.RESULTS,
) -> None:
    """Copy finished records, and what was measured beside them, to the folder that the book is built from."""
    from pat.study.publish import publish, publish_measurements
    from pat.study.store import open_store

    with clear_errors():
        records = open_store(store).records()
        chosen = [r for r in records if profile is None or r.spec.profile == profile]
        if not chosen:
            raise ValueError(f"{store} has no finished run" + (f" of profile {profile!r}" if profile else ""))
        new = publish(chosen, target)
        publish_measurements(store, target)
        typer.echo(f"{len(new)} records published to {target}, {len(chosen) - len(new)} were there")


@results_app.command("compare")
def results_compare(
    store: StoreFolder = paths.STORE,
    published: Annotated[Path, typer.Option(help="Folder of published records.")] = paths.RESULTS,
) -> None:
    """Compare a store's runs with the published ones: equal to the last digit, or how far apart."""
    from pat.study.compare import compare
    from pat.study.store import open_store

    with clear_errors():
        found = compare(open_store(store).records(), open_store(published))
        if not found.equal and not found.different:
            raise ValueError(f"{store} and {published} have no run in common")
        typer.echo(f"{found.equal} runs are equal to the published ones, {len(found.different)} are not")
        for known, own in found.different:
            both = [
                ("failed" if r.result is None else f"{r.result.test_accuracy:.2f} %") for r in (known, own)
            ]
            typer.echo(f"  {own.id[:12]} {own.spec.title}: published {both[0]}, here {both[1]}")
        if found.different:
            typer.echo(f"largest difference of test accuracy: {found.largest:.2f} points")


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(help="Id of a run, or its first digits.")],
    store: StoreFolder = paths.STORE,
) -> None:
    """Everything that a record says of one run."""
    from pat.study.store import open_store

    with clear_errors():
        found = [r for r in open_store(store).records() if r.id.startswith(run_id)]
        if len(found) != 1:
            problem = "no run" if not found else f"{len(found)} runs"
            raise ValueError(f"{problem} in {store} with an id that starts with {run_id!r}")
        _print_record(found[0], Console())


@app.command()
def profiles() -> None:
    """The scales that the study knows."""
    from pat.study.profile import list_profiles, load_profile

    with clear_errors():
        names = [Column(name, no_wrap=True) for name in ("profile", "data set", "networks")]
        table = Table(*names, "machine")
        for name in list_profiles():
            found = load_profile(name)
            table.add_row(name, found.dataset, "\n".join(found.architectures), found.machine)
        Console().print(table)


@app.command()
def gc(store: StoreFolder = paths.STORE) -> None:
    """Remove the checkpoints of finished runs.

    A sweep that still needs some of a finished dense run to branch from trains that one again.
    """
    from pat.study.store import Store, open_store

    with clear_errors():
        target = open_store(store)
        if not isinstance(target, Store):
            raise ValueError(f"{store} holds published records, which have no checkpoints")
        typer.echo(f"{target.collect_garbage() / 1e6:.1f} MB freed")


@data_app.command("list")
def data_list() -> None:
    """The data sets that have a manifest."""
    from pat.data import list_manifests, load_manifest

    with clear_errors():
        table = Table(
            Column("data set", no_wrap=True), "title", "train", "validation", "test", "classes", "pixels"
        )
        for name in list_manifests():
            found = load_manifest(name)
            counts = [str(found.splits[split].count) for split in ("train", "validation", "test")]
            table.add_row(name, found.title, *counts, str(found.num_classes), str(found.image_size))
        Console().print(table)


@data_app.command("verify")
def data_verify(
    name: Annotated[str, typer.Argument(help="Name of a data set, or its manifest's path.")],
    data: DataFolder = paths.DATA,
) -> None:
    """Check a data set's counts and checksums, and say which file is wrong."""
    from pat.data import load_manifest, verify

    with clear_errors():
        problems = verify(load_manifest(name), data)
        for problem in problems:
            typer.echo(f"{problem.path}: {problem.message}", err=True)
        if problems:
            raise ValueError(f"{name}: {len(problems)} problems")
        typer.echo(f"{name}: all files are as the manifest says")


@data_app.command("add")
def data_add(
    folder: Annotated[Path, typer.Argument(help="Folder with train/ and val/ or test/, or of classes.")],
    name: Annotated[str | None, typer.Option(help="Name of the data set; the folder's by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write the manifest to.")] = Path("data_manifests"),
    image_size: Annotated[int | None, typer.Option(help="Pixels that the network sees.")] = None,
) -> None:
    """Write a manifest for a folder of images in ImageFolder layout."""
    from pat.data import add_folder

    with clear_errors():
        written = add_folder(folder, name or folder.resolve().name.lower(), out, image_size=image_size)
        typer.echo(
            f"{written} written; name it as the dataset of a profile, "
            f"and train with --data {folder.resolve().parent}"
        )


def _print_record(record: "Record", console: Console) -> None:
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
        policy = record.spec.pruning.policy if record.spec.pruning else None
        if result.prune_epoch is None and policy is not None and policy.kind == "epi":
            when = f"never: EPI did not trigger (threshold {policy.threshold:g})"
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


def main() -> None:
    """Entry point of the ``pat`` script."""
    app()
