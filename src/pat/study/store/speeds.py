"""Step times that were measured: files in a store in, speed-ups of runs out. Measures nothing itself."""

from collections.abc import Iterable, Mapping
from math import nan
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.sealed import canonical, checksum, seal, unseal
from pat.study.plan.spec import NAME, Frozen, Spec
from pat.study.store import measured
from pat.study.store.record import Provenance, Record


class Seconds(Frozen):
    """One training step, in seconds: medians over rounds."""

    forward: float = Field(gt=0)
    """Network and loss."""
    backward: float = Field(gt=0)
    """Gradients."""
    update: float = Field(gt=0)
    """The optimizer's step."""

    @property
    def step(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.update


class StepTime(Frozen):
    """A pruned network's training step beside the dense network's, run in turn on one machine."""

    architecture: str
    structure: dict[str, int]
    """Channels per layer (or group)."""
    dense: Seconds
    pruned: Seconds
    shares: tuple[float, ...] = Field(min_length=1)
    """Time of the pruned step as a share of the dense one's, of each round."""


class Session(Frozen):
    """Networks that were measured in one go."""

    provenance: Provenance
    steps: int = Field(ge=1)
    """Steps of each network in a round."""
    times: dict[str, StepTime]
    """By :func:`network_key`."""


class Speeds(Frozen):
    """All step times of one profile on one machine, under one set of conditions."""

    format: Literal[1] = 1
    profile: str = Field(pattern=NAME)
    hardware: str
    device: Literal["cpu", "cuda"]
    threads: int
    batch: int
    precision: str
    channels_last: bool
    clock: Literal["wall", "processor"]
    """See :func:`pat.latency.timing.clock`."""
    sessions: tuple[Session, ...] = ()
    """In the order of their dates; of a network that was measured again the last one counts."""

    @property
    def times(self) -> dict[str, StepTime]:
        """Of every network, by :func:`network_key`."""
        return {key: time for session in self.sessions for key, time in session.times.items()}

    @property
    def conditions(self) -> dict[str, object]:
        """What must be equal for times to be set side by side."""
        return self.model_dump(exclude={"format", "sessions"})

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{measured.slug(self.hardware)}.json"

    def to_json(self) -> bytes:
        """The file's content with its checksum, the same bytes for the same times."""
        return canonical(seal(self.model_dump(mode="json"))) + b"\n"

    def merged(self, other: "Speeds") -> "Speeds":
        """With the other's sessions.

        Raises:
            ValueError: if the other was measured under other conditions, naming one.
        """
        mine, its = self.conditions, other.conditions
        if odd := [name for name in mine if mine[name] != its[name]]:
            name = odd[0]
            raise ValueError(
                f"step times on {self.hardware} were measured with {name} {mine[name]}, "
                f"these are with {its[name]}: move the old file away to measure anew"
            )
        known = {canonical(s.model_dump(mode="json")): s for s in (*self.sessions, *other.sessions)}
        sessions = sorted(known.values(), key=lambda session: session.provenance.date)
        return self.model_copy(update={"sessions": tuple(sessions)})


def final_structure(record: Record) -> dict[str, int] | None:
    """Channels per layer that a run's last removal left; None for a network that is as it was (dense, or
    collapsed while it was masked)."""
    found = [epoch.structure for epoch in record.history if epoch.structure is not None]
    return found[-1] if found and record.cost is not None else None


def network_key(spec: Spec, structure: Mapping[str, int]) -> str:
    """What a pruned network's speed is filed under: equal sizes, equal key; 16 hex digits."""
    content = {
        "architecture": spec.architecture,
        "count": spec.neurons.count,
        "structure": dict(structure),
    }
    return checksum(content)[:16]


def step_time(record: Record, speeds: Speeds) -> StepTime | None:
    """A pruned run's network among those that were measured; None if it was not, or is dense."""
    structure = final_structure(record)
    return None if structure is None else speeds.times.get(network_key(record.spec, structure))


def write_speeds(root: Path, speeds: Speeds) -> Path:
    """Write step times into a store, whole; the file."""
    file = measured.speed_folder(root, speeds.profile) / speeds.file
    write_whole(file, speeds.to_json())
    return file


def read_speeds(root: Path, profile: str) -> list[Speeds]:
    """A profile's step times in a store, one entry a machine, in the order of their names.

    Raises:
        ValueError: if a file is damaged, naming it.
    """
    found = []
    for file in measured.files(measured.speed_folder(root, profile)):
        with naming(f"step times {file} are damaged"):
            speeds = Speeds.model_validate(unseal(file))
            if speeds.profile != profile:
                raise ValueError(f"they are of profile {speeds.profile!r}")
        found.append(speeds)
    return found


def speeds_of(root: Path, profile: str, records: Iterable[Record]) -> Speeds | None:
    """The step times of the machine that the records were made on, or else of the first there is.

    Raises:
        ValueError: if a file is damaged, naming it.
    """
    found = read_speeds(root, profile)
    names = [record.provenance.hardware for record in records]
    names.sort(key=names.count, reverse=True)
    return next((s for name in names[:1] for s in found if s.hardware == name), next(iter(found), None))


def with_step_times(table: pd.DataFrame, records: Iterable[Record], speeds: Speeds | None) -> pd.DataFrame:
    """A table of runs with what their training step takes.

    Args:
        table: any with a column ``id``, as of :func:`pat.study.store.rows.runs_table`.
        records: with the table's runs among them.
        speeds: of one machine; None if nothing was measured.

    Returns:
        The table and, NaN where a network was not measured: ``step_share`` (median over rounds of its step's
        time divided by the dense step's in the same round), ``step_low`` and ``step_high`` (quartiles over
        the rounds), ``speedup`` (1 / step_share), ``step_seconds`` and ``dense_step_seconds``.
    """
    times = {} if speeds is None else {r.id: t for r in records if (t := step_time(r, speeds)) is not None}
    shares = {key: pd.Series(time.shares) for key, time in times.items()}
    columns: dict[str, dict[str, float]] = {
        "step_share": {key: share.median() for key, share in shares.items()},
        "step_low": {key: float(share.quantile(0.25)) for key, share in shares.items()},
        "step_high": {key: float(share.quantile(0.75)) for key, share in shares.items()},
        "speedup": {key: 1 / share.median() for key, share in shares.items()},
        "step_seconds": {key: time.pruned.step for key, time in times.items()},
        "dense_step_seconds": {key: time.dense.step for key, time in times.items()},
    }
    found = {name: [values.get(run, nan) for run in table["id"]] for name, values in columns.items()}
    return table.assign(**found)
