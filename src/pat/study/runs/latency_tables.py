"""Latency tables of a profile's networks: measured once a machine, kept in the store, found by checksum."""

from pathlib import Path

from pat.files.atomic import write_whole
from pat.latency.table import LatencyTable
from pat.study.plan.profile import Profile, check_architecture
from pat.study.store import AnyStore, Store, measured
from pat.study.store.measured import MissingTable, read_table
from pat.study.store.record import hardware
from pat.training.data import load_manifest

_BUDGET = 20.0  # seconds: small networks take five rounds of visits in that time, large ones one


def table_of(
    profile: Profile, store: AnyStore, architecture: str | None = None, *, measure: bool = True
) -> LatencyTable:
    """The table of a profile's network, at the profile's batch size, threads and precision.

    In a working store it is this machine's, measured now if it is not there (seconds for small networks); a
    published one has the table that its runs were made with (of several machines' the first by name).

    Args:
        profile: the scale.
        store: where it is kept.
        architecture: the profile's first network by default.
        measure: measure what is missing.

    Raises:
        MissingTable: if there is none, and the store is published or ``measure`` is off.
        ValueError: for an unknown network, if the file that is there was measured under other conditions, or
            the device is not there.
    """
    name = profile.architectures[0] if architecture is None else architecture
    check_architecture(name)  # it becomes part of a file's name
    folder = measured.latency_folder(store.root, profile.recorded)
    size = load_manifest(profile.dataset).image_size
    if not isinstance(store, Store):
        found = sorted(folder.glob(f"*-{name}-{size}.json"))
        if not found:
            raise MissingTable(f"{folder} has no latency table of {name} at {size} pixels")
        return _checked(read_table(found[0]), profile, found[0])
    file = folder / f"{measured.slug(hardware(profile.device))}-{name}-{size}.json"
    if not file.is_file():
        if not measure:
            raise MissingTable(f"{folder} has no latency table of {name} at {size} pixels on this machine")
        with measured.alone(file):
            if not file.is_file():
                write_whole(file, _measure(profile, name).to_json().encode())
    return _checked(read_table(file), profile, file)  # without a lock: a store may be there to be read only


def _measure(profile: Profile, architecture: str) -> LatencyTable:
    import torch

    from pat.latency import timing
    from pat.training import models

    if profile.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but no CUDA device is available")
    data, recipe = load_manifest(profile.dataset), profile.recipe
    threads = torch.get_num_threads()
    torch.set_num_threads(profile.threads)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            model = models.build(
                architecture,
                num_classes=data.num_classes,
                in_channels=data.in_channels,
                image_size=data.image_size,
            ).to(profile.device)
            batch = (recipe.batch_size, data.in_channels, data.image_size, data.image_size)
            return timing.measure(
                model,
                torch.zeros(batch, device=profile.device),
                budget=_BUDGET,
                precision=recipe.precision,
                channels_last=recipe.channels_last,
                hardware=hardware(profile.device),
            )
    finally:
        torch.set_num_threads(threads)


def _checked(table: LatencyTable, profile: Profile, file: Path) -> LatencyTable:
    recipe = profile.recipe
    wanted = {
        "device": profile.device,
        "threads": profile.threads,
        "batch": recipe.batch_size,
        "precision": recipe.precision,
        "channels_last": recipe.channels_last,
    }
    for name, want in wanted.items():
        if getattr(table, name) != want:
            raise ValueError(
                f"{file} was measured with {name} {getattr(table, name)}, profile {profile.name!r} has "
                f"{want}: move it away to measure anew"
            )
    return table
