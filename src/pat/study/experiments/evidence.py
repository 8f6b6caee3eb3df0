"""Evidence: the records that a profile's claims are decided from, and one value a seed drawn from them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

import pandas as pd

from pat.criteria import Criterion
from pat.study import experiments
from pat.study.analysis import regret
from pat.study.analysis.stability import stability_table
from pat.study.plan.profile import Profile
from pat.study.plan.spec import Spec
from pat.study.store import AnyStore
from pat.study.store.record import MissingRun, Record

Network = Literal["bottleneck", "basic", "mobilenet"]
"""Stand-ins of ResNet50, ResNet34 and MobileNetV1: a profile's architectures in that order."""


@dataclass(frozen=True)
class Sample:
    """One value a seed, and the records behind each.

    Attributes:
        values: by seed.
        records: ids by seed, of the same seeds.
        files: measurements beside the records that all values hang on.
    """

    values: Mapping[int, float] = field(default_factory=dict)
    records: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, values: "Mapping[int, float] | pd.Series[Any]", records: Iterable[Record]) -> Self:
        """Values by seed that come from these records; a value that is missing (NaN) is left out."""
        ids: dict[int, list[str]] = defaultdict(list)
        for record in records:
            ids[record.spec.seed].append(record.id)
        known = {int(seed): float(value) for seed, value in values.items() if pd.notna(value)}  # type: ignore[call-overload]
        return cls(known, {seed: tuple(dict.fromkeys(ids[seed])) for seed in known})


Statistic = Callable[..., Sample]


def reaches(bounds: Callable[[Profile], tuple[float, float]]) -> Callable[[Statistic], Statistic]:
    """Say of a statistic which means a profile's schedule allows, whatever the networks do.

    Without it any difference of accuracies is possible, -100 to 100 points.
    """

    def mark(statistic: Statistic) -> Statistic:
        statistic.reach = bounds  # type: ignore[attr-defined]
        return statistic

    return mark


correlates = reaches(lambda profile: (-1.0, 1.0))
"""Of correlations, and of differences of similarities."""

shares = reaches(lambda profile: (0.0, 1.0))
"""Of shares."""


def paired(function: Callable[..., float], *samples: Sample) -> Sample:
    """``function`` of the samples' values, over the seeds that all of them have."""
    seeds = [seed for seed in samples[0].values if all(seed in sample.values for sample in samples)]
    return Sample(
        {seed: float(function(*(sample.values[seed] for sample in samples))) for seed in seeds},
        {seed: tuple(dict.fromkeys(i for s in samples for i in s.records[seed])) for seed in seeds},
        tuple(dict.fromkeys(file for sample in samples for file in sample.files)),
    )


class Evidence:
    """A profile's runs of one preset, as far as a store has them; nothing is trained.

    Args:
        profile: the scale.
        preset: of the experiments, which name the oracle sweep they stand beside; or of a sweep alone.
        store: where records are.

    Raises:
        ValueError: for a preset that the profile does not have.
    """

    def __init__(self, profile: Profile, preset: str, store: AnyStore) -> None:
        self.profile, self.preset, self.store = profile, preset, store
        self.settings = profile.experiments.get(preset)
        self.sweep_name = preset if self.settings is None else self.settings.sweep
        self._cells = profile.sweep(self.sweep_name)
        self._known: dict[str, Record | None] = {}
        self._experiments: dict[str, tuple[Record, ...]] = {}

    @cached_property
    def sweep(self) -> tuple[Record, ...]:
        """The oracle sweep's records, dense ones included."""
        return self._read(self._cells)

    def experiment(self, name: str) -> tuple[Record, ...]:
        """An experiment's records, with those of the sweep that it builds on; none if the preset has none."""
        if name not in self._experiments:
            self._experiments[name] = self._stages(name) if name in self._names else ()
        return self._experiments[name]

    @cached_property
    def picked(self) -> tuple[Record, ...]:
        """The sweep's records, and those of the epochs that policies picked beside it."""
        return self.experiment("policies") or self.sweep

    @cached_property
    def regrets(self) -> pd.DataFrame:
        """What policies lose in them, see :func:`~pat.study.analysis.regret.regrets`."""
        return regret.regrets(self.picked, self.profile, self.sweep_name)

    @cached_property
    def watched(self) -> pd.DataFrame:
        """:func:`~pat.study.analysis.stability.stability_table` of the bottleneck network's dense runs."""
        return stability_table(self.dense("bottleneck"))

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """All that a claim may be decided from, each once: without exploratory experiments."""
        names = [name for name in self._names if name not in experiments.EXPLORATORY]
        groups = [self.sweep, *map(self.experiment, names)]
        return tuple({record.id: record for group in groups for record in group}.values())

    def architecture(self, network: Network) -> str | None:
        """The network's name in the profile, or None if it has no such stand-in."""
        index = get_args(Network).index(network)
        return self.profile.architectures[index] if index < len(self.profile.architectures) else None

    def dense(self, network: Network) -> list[Record]:
        """The sweep's dense runs, one a seed."""
        name = self.architecture(network)
        return [r for r in self.sweep if r.spec.architecture == name and r.spec.experiment == "dense"]

    def grid(self, network: Network, criterion: Criterion) -> dict[float, dict[int, list[Record]]]:
        """The sweep's pruned runs by ratio and epoch, ascending; an empty list where none has run."""
        name, found = self.architecture(network), {record.spec: record for record in self.sweep}
        grid: dict[float, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
        for spec in self._cells:
            if spec.architecture == name and spec.pruning and spec.pruning.criterion == criterion:
                assert spec.prune_epoch is not None
                runs = grid[spec.pruning.ratio][spec.prune_epoch]
                runs += [found[spec]] if spec in found else []
        return {ratio: dict(sorted(by_epoch.items())) for ratio, by_epoch in sorted(grid.items())}

    @cached_property
    def _names(self) -> list[str]:
        return experiments.names(self.profile, self.preset) if self.settings else []

    def _stages(self, name: str) -> tuple[Record, ...]:
        """Stage after stage, because what a later one runs hangs on the records of an earlier one.

        Where one of them failed, the runs that hang on its result cannot be named, and there are none.
        """
        records: tuple[Record, ...] = ()
        while True:
            try:
                specs = experiments.specs(name, self.profile, self.preset, records, self.store)
            except MissingRun:
                return records
            found = self._read(specs)
            if len(found) == len(records):
                return found
            records = found

    def _read(self, specs: Sequence[Spec]) -> tuple[Record, ...]:
        by_id = {spec.id: spec for spec in specs}
        for run_id, spec in by_id.items():
            if run_id not in self._known:
                self._known[run_id] = self.store.record(spec)
        found = (self._known[run_id] for run_id in by_id)
        return tuple(record for record in found if record is not None)
