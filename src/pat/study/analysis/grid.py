"""The oracle's grid search as cells: a network, criterion, ratio and seed, pruned in each epoch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pat.criteria import Criterion
from pat.study.plan.profile import Profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.store.record import Record, Result

# Of a cell: network, criterion, ratio and seed. No docstring: the book would take `tuple` for its home.
Key = tuple[str, Criterion, float, int]


@dataclass(frozen=True)
class Cell:
    """A network, criterion, ratio and seed: its dense run, and what pruning it in this or that epoch gave.

    Attributes:
        dense: the run that all the others share their dense epochs with.
        grid: results of the oracle's grid search by pruning epoch, ascending, without failed runs.
        beside: results of other pruning epochs, those that policies picked.
    """

    architecture: str
    criterion: Criterion
    ratio: float
    seed: int
    dense: Record = field(repr=False)
    grid: Mapping[int, Result] = field(repr=False)
    beside: Mapping[int, Result] = field(repr=False)

    @property
    def key(self) -> Key:
        return self.architecture, self.criterion, self.ratio, self.seed

    @property
    def predefined(self) -> int:
        """The pre-defined epoch, see :func:`predefined_epoch`."""
        return predefined_epoch(self.dense)

    @property
    def oracle(self) -> int:
        """The grid's best epoch on validation; of equal ones the earliest."""
        return max(self.grid, key=lambda epoch: self.grid[epoch].validation_accuracy)

    @property
    def validation(self) -> dict[int, float]:
        """Validation accuracy in percent by the grid's epochs."""
        return {epoch: result.validation_accuracy for epoch, result in self.grid.items()}

    @property
    def test(self) -> dict[int, float]:
        """Test accuracy in percent by the grid's epochs."""
        return {epoch: result.test_accuracy for epoch, result in self.grid.items()}

    @property
    def runs(self) -> dict[int, Result]:
        """All results by pruning epoch, the grid's and those beside it."""
        return {**self.grid, **self.beside}

    def regret(self, epoch: float) -> float:
        """What pruning in an epoch loses against the oracle, in points of test accuracy.

        Linear between the epochs that were run.
        """
        return self.test[self.oracle] - accuracy_at({p: r.test_accuracy for p, r in self.runs.items()}, epoch)


def predefined_epoch(record: Record) -> int:
    """The pre-defined pruning epoch: a third of the schedule, as 30 of 90 epochs (Table 1)."""
    return record.spec.recipe.epochs // 3


def pruned_in(dense: Record, criterion: Criterion, ratio: float, epoch: int) -> Spec:
    """The run that goes on from a dense one by pruning it in an epoch."""
    pruning = Pruning(criterion=criterion, ratio=ratio, policy=AtEpoch(epoch=epoch))
    return dense.spec.model_copy(update={"pruning": pruning})


def cells(
    records: Iterable[Record],
    profile: Profile,
    preset: str = "full",
    *,
    architecture: str | None = None,
    criterion: Criterion | None = None,
) -> list[Cell]:
    """The cells of a named oracle sweep all of whose runs are there (a failed run is there).

    Args:
        records: any runs of the profile; those of other experiments are passed over.
        profile, preset: say what the grid is.
        architecture, criterion: leave out all others.

    Raises:
        ValueError: for an unknown preset, listing the known ones.
    """
    if preset not in profile.sweeps:
        known = ", ".join(profile.sweeps) or "none"
        raise ValueError(f"profile {profile.name!r} has no sweep {preset!r}; it has {known}")
    by_spec = {record.spec: record for record in records}
    dense = {(s.architecture, s.seed): record for s, record in by_spec.items() if _plain(s, profile)}
    grids: dict[Key, set[int]] = {}
    for block in profile.sweeps[preset]:
        if architecture in (None, block.architecture) and criterion in (None, block.criterion):
            for ratio in block.ratios:
                for seed in block.seeds:
                    wanted = (block.architecture, block.criterion, ratio, seed)
                    grids.setdefault(wanted, set()).update(block.epochs)
    found = []
    for key, epochs in grids.items():
        trunk = dense.get((key[0], key[3]))
        if trunk is None or trunk.result is None:
            continue
        run = {p: by_spec.get(pruned_in(trunk, key[1], key[2], p)) for p in range(trunk.spec.recipe.epochs)}
        results = {p: record.result for p, record in run.items() if record and record.result}
        grid = {p: result for p, result in results.items() if p in epochs}
        if grid and all(run[p] for p in epochs):
            beside = {p: result for p, result in results.items() if p not in epochs}
            found.append(Cell(*key, dense=trunk, grid=grid, beside=beside))
    return found


def dense_runs(records: Iterable[Record], profile: Profile) -> list[Record]:
    """The dense runs as the profile's sweeps have them, each once; all others are passed over."""
    return list({record.id: record for record in records if _plain(record.spec, profile)}.values())


def _plain(spec: Spec, profile: Profile) -> bool:
    """Whether it is a dense run as the profile's sweeps have it."""
    expected = (profile.recorded, profile.dataset, profile.recipe, profile.neurons, profile.tracking)
    given = (spec.profile, spec.dataset, spec.recipe, spec.neurons, spec.tracking)
    return spec == spec.trunk and given == expected


def accuracy_at(accuracies: Mapping[int, float], epoch: float) -> float:
    """Accuracy of pruning in an epoch: linear between those of the grid, level beyond its ends.

    Args:
        accuracies: by pruning epoch, in percent.
        epoch: may lie between two.

    Raises:
        ValueError: if there is no accuracy.
    """
    if not accuracies:
        raise ValueError(
            f"accuracy at epoch {epoch:g}: expected some epochs to interpolate between, got none"
        )
    known = sorted(accuracies)
    return float(np.interp(epoch, known, [accuracies[p] for p in known]))
