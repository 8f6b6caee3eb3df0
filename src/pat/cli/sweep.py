"""The command that trains many runs: an oracle sweep, or another experiment."""

import re
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pat.cli.options import (
    FAILED,
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
from pat.files import paths
from pat.study.runs.following.console import Console

if TYPE_CHECKING:
    from pat.study.plan.profile import Profile as Scale
    from pat.study.runs.cluster import Cluster


class Where(StrEnum):
    local = "local"
    ray = "ray"


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
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs at a time: 2 here, on a cluster as many as it has room for.", show_default=False
        ),
    ] = None,
    workers: Workers = 0,
    device: OnDevice = None,
    decoding: Decoding = None,
    budget: Budget = None,
    executor: Annotated[
        Where, typer.Option(help="Train in processes of this machine, or on the nodes of a Ray cluster.")
    ] = Where.local,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Of a Ray cluster; RAY_ADDRESS, or else one of this machine alone."
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            help="GPUs of a run on the cluster, or a share such as 0.5; 1 for cuda.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="A part of its seeds, such as 3-6,9: the rest runs elsewhere.")
    ] = None,
    graphs: Graphs = True,
) -> None:
    """Train all runs of an oracle sweep, or of another experiment, that the store lacks.

    Each dense run is trained once; runs that prune at epoch p continue its checkpoint. With --budget the most
    decisive runs come first, EPI's own among them, and none begins that does not end in time.
    """
    from pat.cli.explored import explored
    from pat.study import experiments
    from pat.study.experiments.oracle_sweep.order import most_decisive_first, seed_by_seed
    from pat.study.runs.budget import OutOfTime
    from pat.study.runs.following import progress
    from pat.study.runs.sweep import How, RunsLost, WorkerLost
    from pat.study.runs.sweep import sweep as start
    from pat.study.store import open_store

    with clear_errors():
        until = deadline_of(budget)
        chosen, target, console = profile_of(profile, device, decoding), open_store(store), Console()
        own = explored(experiment, chosen, preset, None if seeds is None else seeds_of(seeds))
        if own is None and seeds is not None:
            chosen = _part(chosen, preset, seeds, experiment)
        with ExitStack() as around:
            bar = around.enter_context(progress.of_sweep(console))
            pool = None
            if executor == Where.ray:
                cluster = _cluster(chosen, address, gpus, workers)
                pool = around.enter_context(cluster.executor(jobs, store))
                jobs = pool.jobs
            elif address is not None or gpus is not None:
                raise ValueError("--address and --gpus are of a cluster: add --executor ray")
            how = How(
                jobs=2 if jobs is None else jobs,
                pool=pool,
                data=data,
                workers=workers,
                on_progress=bar,
                on_wait=bar.waiting,
                deadline=until,
                graphs=graphs,
            )
            try:
                if own is not None:
                    records = start(own, target, how)
                elif experiment is None and until is not None:
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


def _part(chosen: "Scale", preset: str, text: str, experiment: str | None) -> "Scale":
    """The profile with the seeds of ``--seeds`` alone, of which the preset must have some."""
    from pat.study import experiments

    names = experiments.names(chosen, preset) if experiment == "all" else [experiment]
    for name, why in experiments.POOLED.items():
        if name in names:
            raise ValueError(
                f"--seeds cannot part the experiment {name!r}: {why}; run it without --seeds in a store that "
                "has the other runs, merged if need be"
            )
    part = chosen.of_seeds(seeds_of(text))
    settings = part.experiments.get(preset)
    if part.sweeps.get(settings.sweep if settings else preset) == ():
        raise ValueError(f"preset {preset!r} of profile {chosen.name!r} has none of the seeds {text}")
    return part


def seeds_of(text: str) -> list[int]:
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


def _cluster(chosen: "Scale", address: str | None, gpus: float | None, workers: int) -> "Cluster":
    """What a run of a profile takes of a cluster."""
    from pat.study.runs.cluster import Cluster

    share = float(chosen.device == "cuda") if gpus is None else gpus
    return Cluster(address, cpus=chosen.threads + workers, gpus=share)
