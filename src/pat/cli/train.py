"""Commands that train one run: a new one, or one of a record anew."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pat.cli.options import (
    FAILED,
    FOLDER,
    Budget,
    DataFolder,
    Decoding,
    Graphs,
    OnDevice,
    Profile,
    StoreFolder,
    Workers,
    clear_errors,
    deadline_of,
    profile_of,
)
from pat.cli.show import print_record
from pat.files import paths
from pat.study.runs.following.console import Console

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
    decoding: Decoding = None,
    budget: Budget = None,
    log: Annotated[
        Log | None,
        typer.Option(help="Write the curves of every epoch, into the store, for this program too."),
    ] = None,
    graphs: Graphs = True,
) -> None:
    """Train one network, pruning it on the way, and keep its record.

    A finished run is not run again; an interrupted one goes on from its last checkpoint. Processes that
    torchrun starts train it together, each on its share of every batch.
    """
    from pat.study.runs.budget import OutOfTime
    from pat.study.runs.building import check
    from pat.study.runs.following import curves, progress
    from pat.study.runs.run import follow
    from pat.study.runs.run import run as start
    from pat.study.store import Published, open_store
    from pat.study.store.stores import Busy
    from pat.training.ranks import joined

    with clear_errors(), ExitStack() as shown:
        until = deadline_of(budget)
        chosen = profile_of(profile, device, decoding)
        given = {"epoch": prune_epoch, "threshold": threshold, **_settings(settings or [])}
        options = {name: value for name, value in given.items() if value is not None}
        spec = _specified(chosen, architecture, criterion, ratio, policy, method, options, seed)
        ranks = shown.enter_context(joined(chosen.device))
        if ranks.rank:
            try:
                return follow(spec, ranks, data=data, workers=workers)
            except OutOfTime:
                raise typer.Exit from None
        target = open_store(store)
        if isinstance(target, Published):
            raise ValueError(f"{store} holds published records; name another --store to train into")
        console = Console()
        if target.record(spec) is None:
            check(spec, data, workers, ranks)
            target.check_writable()
        else:
            console.print(f"nothing to train: {store} has this run's record", soft_wrap=True)
        watcher = shown.enter_context(progress.of_run(spec, console))
        if log is not None:
            watcher = shown.enter_context(curves.to_tensorboard(spec, store, watcher))
        how: dict[str, Any] = {"data": data, "workers": workers, "watcher": watcher}
        how |= {"deadline": until, "graphs": graphs, "ranks": ranks}
        try:
            record = start(spec, target, wait=False, **how)
        except Busy as busy:
            console.print(f"{busy}; waiting for it", soft_wrap=True)
            record = start(spec, target, **how)
        except OutOfTime as cut:
            console.print(f"{cut}; the same command goes on", soft_wrap=True)
            raise typer.Exit from None
        shown.close()
        print_record(record, console)
    if record.status == "failed":
        raise typer.Exit(FAILED)


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
    from pat.study.runs.following import progress
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
