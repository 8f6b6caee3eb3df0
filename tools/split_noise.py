"""What the images of a split add to what seeds vary by: measured on pilot seeds, which decide nothing.

Of networks that were pruned early it tells how far the difference of two accuracies varies by which test
images were drawn, and what choosing an oracle's epoch on validation images costs on the test images, by the
number of images. Writes a sealed record: `python tools/split_noise.py --out FILE`.
"""

import argparse
import json
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pat.files.atomic import write_whole
from pat.files.sealed import seal
from pat.study.plan.profile import Profile, load_profile
from pat.study.plan.spec import AtEpoch, Pruning, Spec
from pat.study.runs.building import build_trainer, open_data
from pat.study.runs.watcher import SILENT
from pat.study.store.record import command, provenance
from pat.training.data import ImageDataset
from pat.training.data.manifest import SplitName

Hits = npt.NDArray[np.float64]
"""1 where an image is classified rightly, 0 where not; shape (networks, images)."""

SPLITS: tuple[SplitName, ...] = ("validation", "test")
DRAWS = 2000


def specs(profile: Profile, seed: int) -> list[Spec]:
    """Runs near the best of a grid: gradient 50 %, pruned from epoch 10 to the pre-defined one."""
    return [
        profile.spec(seed=seed, pruning=Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=epoch)))
        for epoch in range(10, profile.contrast.early[1] + 1, 5)
    ]


def hits(spec: Spec, dataset: ImageDataset) -> dict[SplitName, npt.NDArray[np.float64]]:
    """Train, and say of each image of both splits whether it is classified rightly."""
    trainer = build_trainer(spec, dataset, SILENT, start_epoch=0)
    trainer.train()
    model = trainer.model.eval()
    with torch.no_grad():
        return {
            split: np.concatenate(
                [
                    (model(images).argmax(1) == labels).double().numpy()
                    for images, labels in dataset.eval_batches(split, batch_size=1000)
                ]
            )
            for split in SPLITS
        }


def difference_noise(test: Hits, sizes: list[int]) -> dict[str, float]:
    """Standard deviation, in points, of the difference of two networks' accuracies by the images drawn."""
    per_image = [float((test[a] - test[b]).std()) for a, b in combinations(range(len(test)), 2)]
    return {str(size): round(100 * float(np.mean(per_image)) / size**0.5, 3) for size in sizes}


def choice_cost(validation: Hits, test: Hits, sizes: list[int]) -> dict[str, float]:
    """Points of test accuracy between the best network and the one chosen on so many validation images."""
    draw, best, cost = np.random.default_rng(0), test.mean(1).max(), {}
    for size in sizes:
        chosen = [
            validation[:, draw.integers(0, validation.shape[1], size)].mean(1).argmax() for _ in range(DRAWS)
        ]
        cost[str(size)] = round(100 * float((best - test.mean(1)[chosen]).mean()), 3)
    return cost


def measure(profile: Profile, seeds: list[int], test_sizes: list[int], validation_sizes: list[int]) -> Any:
    """Both, by seed."""
    found: dict[str, Any] = {"difference of two accuracies": {}, "cost of the choice": {}}
    for seed in seeds:
        runs = specs(profile, seed)
        dataset = open_data(runs[0])
        right = [hits(spec, dataset) for spec in runs]
        validation, test = (np.stack([run[split] for run in right]) for split in SPLITS)
        found["difference of two accuracies"][str(seed)] = difference_noise(test, test_sizes)
        found["cost of the choice"][str(seed)] = choice_cost(validation, test, validation_sizes)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--test", type=int, nargs="+", default=[3000, 20000])
    parser.add_argument("--validation", type=int, nargs="+", default=[1500, 3000, 10000])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, profile = time.perf_counter(), load_profile(options.profile)
    content = {
        "profile": profile.name,
        "unit": "points, standard deviation or mean",
        **measure(profile, options.seeds, options.test, options.validation),
        "provenance": provenance(
            seconds=time.perf_counter() - start, device="cpu", command=command()
        ).model_dump(mode="json"),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, (json.dumps(seal(content), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
