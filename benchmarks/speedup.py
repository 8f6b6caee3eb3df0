"""A step's speed-up against the reduction of the multiply-accumulates, by real scores, plain and rounded."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

import pat
from benchmarks.networks import backward, batch, network, sgd, stepping
from benchmarks.rounds import Ratio, Side, ratio, take_turns, timed
from pat import cost, surgery
from pat.latency.timing import clock, settle_allocator
from pat.structure import kept_count, rounded_channels

TITLE = "Speed-up of a pruned step"
STEPS = 8


def ask(quick: bool) -> Iterator[Ratio]:
    """The gradient criterion's structures of 30, 50 and 70 %: exact, and in multiples of 8 and 16."""
    images, labels = batch(quick)
    model, pruner, scores = trained(quick)
    before = cost.measure(model, images[:1]).macs
    weights = {name: group.multiplicity for name, group in pruner.neurons.items()}
    total = sum(group.size * weights[name] for name, group in pruner.neurons.items())
    kind, now = clock("cpu")
    settle_allocator()
    dense = timed(stepping(copy.deepcopy(model), images, labels), now)
    for share in (0.5,) if quick else (0.3, 0.5, 0.7):
        keep = kept_count(total, share)
        sides: dict[str, Side] = {"dense": dense}
        notes: dict[str, tuple[str, dict[str, str]]] = {}
        for multiple in (1, 8) if quick else (1, 8, 16):
            name = f"{100 * share:.0f} %, " + ("exact" if multiple == 1 else f"multiples of {multiple}")
            kept = rounded_channels(scores, keep, multiple, weights, min_channels=1)
            small = copy.deepcopy(model)
            surgery.remove(small, kept, groups=pruner.groups)
            reduction = before / cost.measure(small, images[:1]).macs
            got = sum(int(mask.sum()) * weights[group] for group, mask in kept.items())
            sides[name] = timed(stepping(small, images, labels), now)
            beside = {"neurons": f"{got} for {keep}", "clock": kind}
            notes[name] = f"{reduction:.3g}, as the MACs", beside
        times = take_turns(sides, 1 if quick else 10, warm_up=0 if quick else 2)
        exact, *rounded = notes
        for name, (aim, beside) in notes.items():
            yield ratio(times, "dense", name, aim, **beside)
        for name in rounded:
            yield ratio(times, exact, name, "at least 1", clock=kind)


def trained(quick: bool) -> tuple[torch.nn.Module, pat.PruningAwareTraining, Mapping[str, Tensor]]:
    """A network after a few steps on real images, and the scores ``[size]`` by group of these steps."""
    model, steps = network(quick), 2 if quick else STEPS
    optimizer = sgd(model)
    settings: dict[str, Any] = {"ratio": 0.5, "steps_per_epoch": steps, "policy": pat.policy.Never()}
    pruner = pat.PruningAwareTraining(model, optimizer, batch(quick)[0], rehearse=False, **settings)
    for index in range(steps):
        backward(model, optimizer, *batch(quick, index))
        pruner.step()
        optimizer.step()
        pruner.after_step()
    return model, pruner, pruner.end_epoch().scores["gradient"]
