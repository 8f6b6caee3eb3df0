"""What `pat plan` says beforehand against what the sweep then takes, on the study's own digits."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rounds import Ratio
from benchmarks.trunks import grid
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Spec
from pat.study.runs.sweep import sweep
from pat.study.runs.timing.forecast import forecast
from pat.study.store import Store

TITLE = "A sweep's time against its forecast"
AIM = "0.75 to 1.25"
EPOCHS = 45
"""Half of the study's are enough."""


def ask(quick: bool) -> Iterator[Ratio]:
    """Forecast and sweep in one process, one run at a time; each round its own seed."""
    ratios, told, took = [], [], []
    for seed in range(1 if quick else 2):
        wanted = cells("smoke" if quick else "digits", seed, (0,) if quick else (0, 15))
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            told.append(forecast(wanted, store).seconds)
            begin = time.perf_counter()
            sweep(wanted, store)
            took.append(time.perf_counter() - begin)
        ratios.append(took[-1] / told[-1])
    beside = {"runs": len(wanted), "seconds forecast": round(sum(told), 1), "seconds": round(sum(took), 1)}
    yield Ratio("sweep / forecast", ratios, AIM, beside)


def cells(name: str, seed: int, epochs: tuple[int, ...], whole: int = EPOCHS) -> list[Spec]:
    """A dense run of the profile's first network over so many epochs, and those that prune half in these."""
    profile = load_profile(name)
    recipe = profile.recipe.model_copy(update={"epochs": min(profile.recipe.epochs, whole)})
    return grid(profile.spec(seed=seed, recipe=recipe), epochs, [0.5])
