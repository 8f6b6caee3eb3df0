"""One rank against two: the same images a step, with the pruner watching, over gloo."""

import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torchvision
from torch.nn.parallel import DistributedDataParallel

import pat
from benchmarks.networks import CLASSES, backward, batch, sgd
from benchmarks.processes import in_processes
from benchmarks.rounds import Ratio, ratio, take_turns

TITLE = "One gloo rank against two"
AIM = "2, with a core for each"


def ask(quick: bool) -> Iterator[Ratio]:
    """ResNet18 in DistributedDataParallel; the slowest rank's seconds count."""
    steps = 1 if quick else 8

    def side(ranks: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            each = [(rank, ranks, folder, steps, quick) for rank in range(ranks)]
            return max(float(seconds) for seconds in in_processes(train, each))

    sides = {"1 rank": partial(side, 1), "2 ranks": partial(side, 2)}
    times = take_turns(sides, 1 if quick else 5, warm_up=0)
    yield ratio(times, "1 rank", "2 ranks", AIM, steps=steps)


def train(rank: int, ranks: int, folder: str, steps: int, quick: bool) -> float:
    """Wall seconds of so many steps on this rank's part of each batch, and of the dense epoch's end."""
    store = dist.FileStore(str(Path(folder) / "ranks"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=120))
    try:
        torch.manual_seed(0)
        images, labels = (part[rank::ranks] for part in batch(quick))
        bare = torchvision.models.resnet18(num_classes=CLASSES)
        model = DistributedDataParallel(bare)
        optimizer = sgd(bare)
        pruner = pat.PruningAwareTraining(
            model, optimizer, images[:1], ratio=0.5, steps_per_epoch=steps + 1, policy=pat.policy.Never(),
            rehearse=False,
        )  # fmt: skip
        begin = 0.0
        for step in range(steps + 1):
            if step == 1:  # the first one does not count
                dist.barrier()
                begin = time.perf_counter()
            backward(model, optimizer, images, labels)
            pruner.step()
            optimizer.step()
            pruner.after_step()
        pruner.end_epoch()
        return time.perf_counter() - begin
    finally:
        dist.destroy_process_group()
