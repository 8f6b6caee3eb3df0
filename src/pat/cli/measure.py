"""Commands that measure this machine: latency tables, loaders, and steps of pruned networks."""

from typing import Annotated

import typer
from rich.table import Table

from pat.cli.options import (
    DataFolder,
    Decoding,
    OnDevice,
    Profile,
    StoreFolder,
    Workers,
    clear_errors,
    profile_of,
)
from pat.files import paths
from pat.study.runs.following.console import Console


def latency(
    profile: Profile = "digits",
    architecture: Annotated[str | None, typer.Option(help="Network; the profile's first by default.")] = None,
    store: StoreFolder = paths.STORE,
) -> None:
    """Measure the latency table of a network on this machine, or show the one that the store has.

    Runs with latency-aware pruning name their table; another machine's is another run.
    """
    from pat.study.plan.profile import load_profile
    from pat.study.runs.latency_tables import table_of
    from pat.study.store import open_store

    with clear_errors():
        found = table_of(load_profile(profile), open_store(store), architecture)
        shown = Table("layer", "inputs", "outputs", "ms", "ms, half the channels")
        for name, calls in found.layers.items():
            for geometry in calls:
                grid = found.grids[geometry]
                inputs, outputs = grid.inputs[-1], grid.outputs[-1] or grid.inputs[-1] * geometry.multiplier
                whole, half = grid.at(inputs, outputs), grid.at(inputs / 2, outputs / 2)
                shown.add_row(name, f"{inputs}", f"{outputs}", f"{1e3 * whole:.3f}", f"{1e3 * half:.3f}")
        Console().print(shown)
        typer.echo(
            f"{found.hardware}, batch {found.batch}, {found.threads} threads; table {found.checksum[:12]}"
        )


def throughput(
    profile: Profile = "digits",
    architecture: Annotated[str | None, typer.Option(help="Network; the profile's first by default.")] = None,
    data: DataFolder = paths.DATA,
    workers: Workers = 0,
    device: OnDevice = None,
    decoding: Decoding = None,
    steps: Annotated[int, typer.Option(help="Batches of each side.", min=1)] = 10,
) -> None:
    """Measure how many images per second the loader brings and a training step takes, and which one waits."""
    from pat.study.runs.timing.throughput import measure
    from pat.study.store.record import hardware

    with clear_errors():
        chosen = profile_of(profile, device, decoding)
        spec = chosen.spec(architecture=architecture, seed=0)
        found = measure(spec, data, workers, steps)
        shown = Table("images per second", "", title=f"{spec.architecture}, {hardware(spec.device)}")
        shown.add_row(f"loader, {workers} workers", f"{found.loader:,.0f}")
        shown.add_row("training step", f"{found.step:,.0f}")
        shown.add_row("both", f"{found.together:,.0f}")
        Console().print(shown)
        typer.echo(found.advice())


def speed(
    profile: Profile = "digits",
    preset: Annotated[str, typer.Option(help="Preset of experiments of the profile.")] = "full",
    store: StoreFolder = paths.STORE,
    rounds: Annotated[int, typer.Option(help="How often dense and pruned network take turns.", min=1)] = 20,
    steps: Annotated[int, typer.Option(help="Steps of each in a round.", min=1)] = 4,
    again: Annotated[bool, typer.Option("--again", help="Measure those that the store has as well.")] = False,
) -> None:
    """Measure the training step of the networks that pruning left, in turn with the dense network.

    For the runs of the experiments policies and latency that prune at initialisation, in EPI's epoch, and
    there with the penalty on latency. A quiet machine gives closer intervals; a busy one slows both sides.
    """
    from pat.study.experiments.evidence import Evidence
    from pat.study.experiments.speed.runs import speed_table
    from pat.study.plan.profile import load_profile
    from pat.study.runs.timing.measuring import measure_speeds
    from pat.study.store import Store, open_store
    from pat.study.store.speeds import with_step_times

    with clear_errors():
        target, chosen = open_store(store), load_profile(profile)
        if not isinstance(target, Store):
            raise ValueError(f"{store} holds published records; name the working --store to measure into")
        chosen.preset(preset)
        evidence = Evidence(chosen, preset, target)
        records = [*evidence.experiment("policies"), *evidence.experiment("latency")]
        runs = speed_table(records, chosen, None)
        if runs.empty:
            raise ValueError(f"{store} has no pruned run of {profile!r}, preset {preset!r}, to measure")
        wanted = [record for record in records if record.id in set(runs["id"])]
        with Console().status("measuring") as status:
            found = measure_speeds(
                wanted,
                target,
                rounds=rounds,
                steps=steps,
                again=again,
                on_network=lambda done, total: status.update(f"{done} of {total} networks"),
            )
        shown = Table("pruned", "ratio", "seed", "pruned in", "MACs", "step", "quartiles")
        table = with_step_times(runs, wanted, found).dropna(subset=["step_share"])
        for row in table.to_dict("records"):
            shown.add_row(
                row["choice"],
                f"{100 * row['ratio']:g} %",
                f"{row['seed']}",
                f"{row['prune_epoch']:g}",
                f"{row['macs_share']:.2f}",
                f"{row['step_share']:.3f}",
                f"{row['step_low']:.3f} to {row['step_high']:.3f}",
            )
        Console().print(shown)
