"""The command that says what runs will take, before any of them is trained."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from pat.cli.options import DataFolder, Jobs, OnDevice, Profile, StoreFolder, Workers, clear_errors
from pat.files import paths
from pat.study.runs.following.console import Console

if TYPE_CHECKING:
    from pat.study.plan.spec import Spec
    from pat.study.runs.timing.forecast import Forecast
    from pat.study.runs.timing.trials import Times


def plan(
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
    price: Annotated[float | None, typer.Option(help="Of an hour of one device.", min=0)] = None,
) -> None:
    """What a sweep or an experiment will take: runs, shared epochs, time, storage and price.

    Every network that is left to train is timed for some seconds on this machine, dense and pruned. Runs that
    hang on the results of earlier ones are counted once those are there.
    """
    from pat.cli.explored import explored
    from pat.study import experiments
    from pat.study.experiments.evidence import Evidence
    from pat.study.plan.profile import load_profile
    from pat.study.runs.timing.forecast import forecast
    from pat.study.runs.timing.trials import Trials
    from pat.study.store import open_store

    with clear_errors():
        if jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {jobs}")
        chosen, target = load_profile(profile), open_store(store)
        if device is not None:
            chosen = chosen.model_copy(update={"device": str(device)})
        if (own := explored(experiment, chosen, preset)) is not None:
            specs = own
        elif experiment is None:
            specs = chosen.sweep(preset)
        else:
            names = experiments.names(chosen, preset) if experiment == "all" else [experiment]
            evidence = Evidence(chosen, preset, target)
            specs = [
                spec
                for name in names
                for spec in experiments.specs(name, chosen, preset, evidence.experiment(name), target)
            ]
        console, trials = Console(), Trials(data, workers)
        with console.status("what the store has") as status:

            def measure(spec: "Spec") -> "Times":
                status.update(console.render_str(f"timing {spec.title}"))
                return trials(spec)

            found = forecast(specs, target, jobs=jobs, measure=measure)
        _show(console, found, jobs, price)


def _show(console: Console, found: "Forecast", jobs: int, price: float | None) -> None:
    if not found.seconds:
        console.print("nothing to train: the store has all of these runs", soft_wrap=True)
        return
    names = ("network", "runs", "done", "dense, shared", "epochs", "time", "unshared")
    table = Table(*(Column(name, no_wrap=True) for name in names))
    for part in found.parts:
        counts = (part.runs, part.done, part.shared, part.epochs)
        times = (_span(part.seconds), _span(part.apart))
        table.add_row(part.architecture, *(f"{count:,}" for count in counts), *times)
    console.print(table)
    apart = sum(part.apart for part in found.parts)
    lines = [
        f"{found.seconds / 3600:,.2f} device-hours; {_span(found.wall(jobs))} with {jobs} at a time, if none "
        f"slows another down, {_span(found.longest)} with any number",
        f"a grid that trains every run from its first epoch: {apart / 3600:,.2f} device-hours, "
        f"{apart / found.seconds:.1f} times as many",
        f"storage: {_size(found.kept)} stay, {_size(found.meanwhile)} more of checkpoints meanwhile",
    ]
    if price is not None:
        cost, other = (price * seconds / 3600 for seconds in (found.seconds, apart))
        lines.append(f"price: {cost:,.2f} at {price:g} an hour, against {other:,.2f}")
    if "steps" in found.sources:
        lines.append(
            "timed on made-up images where the data are not there or a network collapses at once: loading "
            "is left out"
        )
    for line in lines:
        console.print(line, soft_wrap=True)


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 3.6e6 else f"{seconds / 3600:,.0f} h"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
