"""Commands that train: one run, or a sweep of many."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pat.cli.options import (
    FAILED,
    FOLDER,
    Budget,
    DataFolder,
    Graphs,
    Jobs,
    OnDevice,
    Profile,
    StoreFolder,
    Workers,
    clear_errors,
)
from pat.cli.show import print_record
from pat.files import paths
from pat.study.runs.console import Console

if TYPE_CHECKING:
    from pat.study.plan.profile import Profile as Scale
    from pat.study.plan.spec import Spec


class Log(StrEnum):
    tensorboard = "tensorboard"


NEVER = "never"
"""As a policy: the dense run."""
FLAGS = {"epoch": "--prune-epoch", "threshold": "--threshold"}
"""Settings of policies that have an option of their own."""
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the policy or method; may be repeated."),
]


def run(
    profile: Profile = "digits",
    architecture: Annotated[str | None, typer.Option(help="Network; the profile's first by default.")] = None,
    criterion: Annotated[
        str, typer.Option(help="Importance of channels; 'pat show methods' lists all, as for the next two.")
    ] = "gradient",
    ratio: Annotated[
        float | None, typer.Option(help="Share of neurons to remove, in [0, 1); without it the run is dense.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="When to prune: 'never', or 'epoch' if --prune-epoch is given, else 'epi'."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="Another method that prunes while it trains.")] = None,
    prune_epoch: Annotated[
        int | None, typer.Option(help="Epoch in which to prune, from 0 (= at initialisation).")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="EPI's tau; the profile's by default.")] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    store: StoreFolder = paths.STORE,
    data: DataFolder = paths.DATA,
    workers: Workers = 0,
    device: OnDevice = None,
    budget: Budget = None,
    log: Annotated[
        Log | None,
        typer.Option(help="Write the curves of every epoch, into the store, for this program too."),
    ] = None,
    graphs: Graphs = True,
) -> None:
    """Train one network, pruning it on the way, and keep its record.

    A finished run is not run again; an interrupted one goes on from its last checkpoint.
    """
    from pat.study.runs import curves, progress
    from pat.study.runs.budget import OutOfTime
    from pat.study.runs.building import check
    from pat.study.runs.run import run as start
    from pat.study.store import Published, open_store
    from pat.study.store.stores import Busy

    with clear_errors():
        until = _deadline(budget)
        chosen = _profile(profile, device)
        given = {"epoch": prune_epoch, "threshold": threshold, **_settings(settings or [])}
        options = {name: value for name, value in given.items() if value is not None}
        spec = _specified(chosen, architecture, criterion, ratio, policy, method, options, seed)
        target = open_store(store)
        if isinstance(target, Published):
            raise ValueError(f"{store} holds published records; name another --store to train into")
        console = Console()
        if target.record(spec) is None:
            check(spec, data, workers)
            target.check_writable()
        else:
            console.print(f"nothing to train: {store} has this run's record", soft_wrap=True)
        with ExitStack() as shown:
            watcher = shown.enter_context(progress.of_run(spec, console))
            if log is not None:
                watcher = shown.enter_context(curves.to_tensorboard(spec, store, watcher))
            how: dict[str, Any] = {"data": data, "workers": workers, "watcher": watcher}
            how |= {"deadline": until, "graphs": graphs}
            try:
                record = start(spec, target, wait=False, **how)
            except Busy as busy:
                console.print(f"{busy}; waiting for it", soft_wrap=True)
                record = start(spec, target, **how)
            except OutOfTime as cut:
                console.print(f"{cut}; the same command goes on", soft_wrap=True)
                raise typer.Exit from None
        print_record(record, console)
    if record.status == "failed":
        raise typer.Exit(FAILED)


def _deadline(budget: str | None) -> float | None:
    """A command's budget counts from its start."""
    from pat.study.runs.budget import deadline_in, process_age, seconds

    return None if budget is None else deadline_in(seconds(budget) - process_age())


def _profile(name: str, device: str | None) -> "Scale":
    from pat.study.plan.profile import load_profile

    chosen = load_profile(name)
    return chosen if device is None else chosen.model_copy(update={"device": str(device)})


def _part(chosen: "Scale", preset: str, text: str) -> "Scale":
    """The profile with the seeds of ``--seeds`` alone, of which the preset must have some."""
    part = chosen.of_seeds(_seeds(text))
    settings = part.experiments.get(preset)
    if part.sweeps.get(settings.sweep if settings else preset) == ():
        raise ValueError(f"preset {preset!r} of profile {chosen.name!r} has none of the seeds {text}")
    return part


def _seeds(text: str) -> list[int]:
    """What ``--seeds 3-6,9`` says.

    Raises:
        ValueError: for another form.
    """
    if not re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", text):
        raise ValueError(f"--seeds takes seeds and ranges of them, such as 3-6,9, got {text!r}")
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if len(range(int(first), int(last or first) + 1)) not in range(1, 10_001):
            raise ValueError(f"--seeds: expected a range that ascends, of at most 10000 seeds, got {part!r}")
        found += range(int(first), int(last or first) + 1)
    return found


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """What ``--set NAME=VALUE`` says; values as in YAML.

    Raises:
        ValueError: for another form, or one name twice.
    """
    from pat.files.plain_yaml import load_yaml

    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name.isidentifier() and equals) or name in given:
            raise ValueError(f"--set takes NAME=VALUE, each name once, got {pair!r}")
        given[name] = load_yaml(value)
    return given


def _specified(
    chosen: "Scale",
    architecture: str | None,
    criterion: str,
    ratio: float | None,
    policy: str | None,
    method: str | None,
    options: Mapping[str, Any],
    seed: int,
) -> "Spec":
    """The run that the options of ``pat run`` name.

    Raises:
        ValueError: for options that do not go together.
    """
    from pat.criteria import CRITERIA
    from pat.methods import METHODS
    from pat.policy import POLICIES

    CRITERIA.find(criterion)
    of_run: dict[str, Any] = {"architecture": architecture, "seed": seed}
    if method is not None:
        if ratio is not None or policy is not None:
            raise ValueError("--method prunes by rules of its own: leave out --ratio and --policy")
        METHODS.find(method)
        return chosen.spec(**of_run | {method: dict(options)})
    when = policy or ("epoch" if "epoch" in options else "epi")
    if ratio is not None and when == NEVER:
        raise ValueError(f"--policy {NEVER} is a dense run: leave out --ratio")
    entry = None if when == NEVER else POLICIES.find(when)
    if ratio is None and policy is not None and entry is not None:
        raise ValueError(f"--policy {when} needs --ratio, the share of neurons to remove")
    for name in options:
        if ratio is None or entry is None or name not in entry.takes():
            option = FLAGS.get(name, f"--set {name}")
            raise ValueError(f"{option} needs --ratio, and no other --policy than one with such a setting")
    if ratio is None or entry is None:
        return chosen.spec(**of_run)
    for name, needed in entry.takes().items():
        if needed and name not in options and name not in entry.usual:
            raise ValueError(f"--policy {when} needs {FLAGS.get(name, f'--set {name}=...')}")
    return chosen.spec(
        **of_run, criterion=criterion, ratio=ratio, policy=chosen.policy(when, criterion, options)
    )


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
    device: OnDevice = None,
    budget: Budget = None,
    seeds: Annotated[
        str | None, typer.Option(help="A part of its seeds, such as 3-6,9: the rest runs elsewhere.")
    ] = None,
    graphs: Graphs = True,
) -> None:
    """Train all runs of an oracle sweep, or of another experiment, that the store lacks.

    Each dense run is trained once; runs that prune at epoch p continue its checkpoint. With --budget the most
    decisive runs come first, EPI's own among them, and none begins that does not end in time.
    """
    from pat.study import experiments
    from pat.study.experiments.oracle_sweep.order import most_decisive_first, seed_by_seed
    from pat.study.runs import progress
    from pat.study.runs.budget import OutOfTime
    from pat.study.runs.sweep import How, RunsLost, WorkerLost
    from pat.study.runs.sweep import sweep as start
    from pat.study.store import open_store

    with clear_errors():
        until = _deadline(budget)
        chosen, target, console = _profile(profile, device), open_store(store), Console()
        chosen = chosen if seeds is None else _part(chosen, preset, seeds)
        with progress.of_sweep(console) as bar:
            how = How(
                jobs=jobs,
                data=data,
                workers=workers,
                on_progress=bar,
                on_wait=bar.waiting,
                deadline=until,
                graphs=graphs,
            )
            try:
                if experiment is None and until is not None:
                    how = replace(how, order=most_decisive_first(chosen))
                    records = start(seed_by_seed(chosen.sweep(preset)), target, how)
                elif experiment is None:
                    records = start(chosen.sweep(preset), target, how)
                else:
                    names = experiments.names(chosen, preset) if experiment == "all" else [experiment]
                    runs = [experiments.run(name, chosen, preset, target, how) for name in names]
                    records = list({r.id: r for part in runs for r in part}.values())
            except OutOfTime as cut:
                console.print(f"{cut}", soft_wrap=True)
                raise typer.Exit from None
            except (RunsLost, WorkerLost) as error:
                typer.echo(f"pat: {error}", err=True)
                raise typer.Exit(FAILED) from None
        failed = [record for record in records if record.status == "failed"]
        console.print(f"{len(records)} runs in {store}, {bar.trained} trained now, {len(failed)} failed")
        for record in failed:
            console.print(f"  {record.spec.title}: {record.reason}", soft_wrap=True)
    if failed:
        raise typer.Exit(FAILED)


def verify(
    record: Annotated[str, typer.Argument(help="A record's file, or the first digits of a run's id.")],
    store: Annotated[Path, typer.Option(help="Where to look for an id.", **FOLDER)] = paths.RESULTS,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder to train in, kept and gone on with; else a temporary one.", **FOLDER),
    ] = None,
    data: DataFolder = paths.DATA,
    workers: Workers = 0,
) -> None:
    """Make a run anew from its record and compare every number; exit code 1 if one differs."""
    from pat.study.runs import progress
    from pat.study.runs.verifying import find
    from pat.study.runs.verifying import verify as start
    from pat.study.store import Store
    from pat.study.store.comparing import surroundings

    with clear_errors(), tempfile.TemporaryDirectory(prefix="pat-verify-") as folder:
        known, origin = find(record, store)
        console = Console()
        with progress.of_run(known.spec, console) as watcher:
            own = Store(scratch or Path(folder))
            found = start(known, origin, own, data=data, workers=workers, watcher=watcher)
        console.print(f"{known.id[:12]} {known.spec.title}", soft_wrap=True)
        for line in surroundings(known.provenance, found.own.provenance):
            console.print(f"  {line}", soft_wrap=True)
        for line in found.differences:
            console.print(f"  DIFFERS {line}", soft_wrap=True)
        if not found.differences:
            console.print(f"equal to the last digit: status, result, cost, {len(known.history)} epochs")
    if found.differences:
        raise typer.Exit(FAILED)
