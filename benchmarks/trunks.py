"""A sweep that shares its dense trunk against each of its cells trained whole."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.rounds import Ratio, ratio, take_turns
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.runs.run import run
from pat.study.runs.sweep import sweep
from pat.study.store import Store
from pat.study.store.record import Record

TITLE = "A sweep with shared trunks against each cell trained whole"
EPOCHS = 12


def ask(quick: bool) -> Iterator[Ratio]:
    """Epochs trained, which are the same in any round, and wall time."""
    wanted = cells((0, 1), (0.5,), 2) if quick else cells((0, 2, 4, 6, 8, 10), (0.3, 0.7), EPOCHS)
    trained: dict[str, int] = {}

    def side(name: str, train: Callable[[Store], Iterable[Record]]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            records = list(train(Store(Path(folder))))
            trained[name] = sum(len(record.history) for record in records)
            return time.perf_counter() - begin

    def whole(store: Store) -> Iterable[Record]:
        return [run(spec, store, branch=False) for spec in wanted]

    sides = {
        "whole": lambda: side("whole", whole),
        "shared": lambda: side("shared", lambda store: sweep(wanted, store)),
    }
    times = take_turns(sides, 1 if quick else 2, warm_up=0)
    epochs = trained["whole"] / trained["shared"]
    beside = {f"epochs {name}": number for name, number in trained.items()}
    yield Ratio("epochs whole / shared", [epochs], "", beside)
    yield ratio(times, "whole", "shared", f"{epochs:.3g}, as the epochs", cells=len(wanted))


def cells(prune: Iterable[int], ratios: Iterable[float], epochs: int) -> list[Spec]:
    """A dense run and those that prune in each of these epochs, at each of these ratios.

    The smallest there are: scikit-learn's digits as they come, ten steps an epoch.
    """
    profile = load_profile("smoke")
    recipe = profile.recipe.model_copy(update={"epochs": epochs, "batch_size": 149})
    return grid(profile.spec(recipe=recipe, dataset="digits"), prune, ratios)


def grid(dense: Spec, prune: Iterable[int], ratios: Iterable[float]) -> list[Spec]:
    """A dense run and those that prune it by the gradient criterion in each epoch, at each ratio."""
    shares = tuple(ratios)
    prunings = [
        Pruning(criterion="gradient", ratio=share, policy=AtEpoch(epoch=epoch))
        for epoch in prune
        for share in shares
    ]
    return [dense, *(dense.model_copy(update={"pruning": pruning}) for pruning in prunings)]
