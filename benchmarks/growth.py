"""Cost against work: 1, 2, 4, ... cells, epochs and channels, and the most memory that they take."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

import pat
from benchmarks.processes import in_processes, peak
from benchmarks.rounds import Ratio, take_turns
from benchmarks.trunks import cells
from pat.study.runs.sweep import sweep
from pat.study.store import Store

TITLE = "Cost against work"
LAYERS, WIDTH = 8, 32
Work = Callable[[int], None]
"""Does so much of it."""


def ask(quick: bool) -> Iterator[Ratio]:
    """Seconds of a unit of the most work to one of the least, and the peaks of memory."""
    for name, work in KINDS.items():
        yield from grown(name, work, *(((1, 2), 1) if quick else ((1, 2, 4, 8), 3)))


def grown(name: str, work: Work, amounts: tuple[int, ...], rounds: int) -> Iterator[Ratio]:
    """Each amount of one kind of work in a process of its own, in turns."""
    peaks: dict[str, list[float]] = {}

    def side(key: str, amount: int) -> float:
        ((seconds, memory),) = in_processes(alone, [(work, amount)])
        peaks.setdefault(key, []).append(memory)
        return float(seconds)

    keys = {f"{amount} {name}": amount for amount in amounts}
    times = take_turns({key: partial(side, key, amount) for key, amount in keys.items()}, rounds, warm_up=0)
    least, most = f"{amounts[0]} {name}", f"{amounts[-1]} {name}"
    for what, values, factor, aim, unit in (
        ("seconds a unit", times, amounts[-1] / amounts[0], "at most 1", "seconds"),
        ("peak of memory", peaks, 1, PEAKS[name], "MiB"),
    ):
        found = [b / a / factor for a, b in zip(values[least], values[most], strict=True)]
        beside = {f"{unit} {key}": float(f"{median(values[key]):.3g}") for key in keys}
        yield Ratio(f"{what}, {most} / {least}", found, aim, beside)


def alone(work: Work, amount: int) -> tuple[float, float]:
    """Seconds, and MiB at the peak, of this process, once it has done a unit of it."""
    work(1)
    begin = time.perf_counter()
    work(amount)
    return time.perf_counter() - begin, peak()


def of_cells(amount: int) -> None:
    """A sweep of so many pruned runs that share one dense run of two epochs."""
    ratios = [0.1 * (1 + i) for i in range(amount)]
    with tempfile.TemporaryDirectory() as folder:
        sweep(cells((1,), ratios, 2), Store(Path(folder)))


def of_epochs(amount: int) -> None:
    """A dense run of twice as many epochs, each followed."""
    with tempfile.TemporaryDirectory() as folder:
        sweep(cells((), (), 2 * amount), Store(Path(folder)))


def of_channels(amount: int) -> None:
    """A chain of convolutions of so many times 256 channels: traced, rehearsed, scored, pruned, cut."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTH, 3, padding=1)]
    for _ in range(amount * LAYERS):
        layers += [nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    pruner = pat.PruningAwareTraining(
        model, optimizer, images, ratio=0.5, steps_per_epoch=1, policy=pat.policy.AtEpoch(0)
    )
    F.cross_entropy(model(images), labels).backward()
    pruner.step()
    optimizer.step()
    pruner.after_step()
    pruner.end_epoch()


KINDS: dict[str, Work] = {
    "cells": of_cells,
    "x 2 epochs": of_epochs,
    "x 256 channels": of_channels,
}
PEAKS = {"cells": "1", "x 2 epochs": "1", "x 256 channels": "less than the work's"}
