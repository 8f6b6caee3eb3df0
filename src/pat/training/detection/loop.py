"""The training of a detector: a plain loop, with pruning hooked onto its optimizer."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

import pat
from pat import cost
from pat.criteria import Criterion
from pat.loops.counting import Counting
from pat.policy import NamedPolicy, Never
from pat.pruner import EpochReport, PruningAwareTraining
from pat.training.data.draws import generator_for
from pat.training.detection.examples import Examples, batch
from pat.training.detection.outcome import Epoch, Outcome, Precision, Size
from pat.training.detection.precision import precision
from pat.training.detection.ssd import WHOLE
from pat.training.recipe import Recipe

Watch = Callable[[Epoch], None]


def train(
    model: nn.Module,
    examples: Examples,
    validation: Examples,
    recipe: Recipe,
    *,
    seed: int,
    ratio: float,
    criteria: Sequence[Criterion],
    policy: NamedPolicy | None = None,
    watch: Watch = lambda epoch: None,
) -> Outcome:
    """Train a detector of :mod:`pat.training.detection.ssd`, and prune its backbone on the way.

    Args:
        model: trained in place.
        examples: to train on; an epoch is one of ``recipe.slices`` slices of a pass over them.
        validation: for the precision before and after pruning, and at the end.
        recipe: epochs, slices, batch size, SGD and schedule; what only classifiers have is not read.
        seed: of the order of the examples.
        ratio: share of the backbone's neurons to remove.
        criteria: the one to prune by; of a dense training all whose structures are to be followed.
        policy: when to prune; None: never.
        watch: called after each epoch.

    Raises:
        ValueError: if the examples do not fill a slice, for another precision than fp32, or if not one
            criterion is given to prune by.
        FloatingPointError: if an epoch's loss is not finite.
    """
    steps = _steps(len(examples), recipe)
    if not criteria or (policy is not None and len(criteria) > 1):
        raise ValueError(f"one criterion prunes, got {', '.join(criteria) or 'none'}")
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    model.train()
    dense, optimizer = _size(model, examples), recipe.build_optimizer(model)
    pruner = pat.attach(
        model,
        optimizer,
        batch(examples, range(2)),
        steps_per_epoch=steps,
        ratio=ratio,
        criterion=criteria[0],
        track=criteria[1:],
        policy=policy or Never(),
        exclude=WHOLE,
    )
    structures = Structures(pruner, ratio)
    history: list[Epoch] = []
    around: list[Precision] = []
    for epoch, order in enumerate(_orders(len(examples), recipe, seed)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch)
        phase = pruner.status
        if phase == "prune":
            around.append(precision(model, validation))
        loss = 0.0
        for step in range(steps):
            numbers = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            total = sum(model(*batch(examples, numbers)).values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            loss += float(total.detach()) / steps
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss of epoch {epoch} is {loss}")
        if phase == "prune":
            around.append(precision(model, validation))
        report = pruner.reports[-1]
        history.append(Epoch(epoch, phase, loss, report.epi, structures.of(report)))
        watch(history[-1])
    before, after = around or (None, None)
    return Outcome(
        layers=structures.layers,
        history=tuple(history),
        prune_epoch=next((entry.epoch for entry in history if entry.phase == "prune"), None),
        before=before,
        after=after,
        validation=precision(model, validation),
        dense=dense,
        size=_size(model, examples),
    )


class Structures:
    """The structures that a pruner's criteria would leave, or that it left, epoch by epoch.

    Args:
        pruner: that has not pruned yet.
        ratio: share of its neurons to remove.

    Attributes:
        layers: whose channels are counted.
    """

    def __init__(self, pruner: PruningAwareTraining, ratio: float) -> None:
        self._criterion = pruner.criterion
        self._counting = Counting(pruner.neurons, "filter", 1, ratio)
        self.layers = tuple(self._counting.structure(pruner.kept))

    def of(self, report: EpochReport) -> dict[str, tuple[int, ...]]:
        """By criterion; nothing after sparse epochs."""
        if report.status != "dense":
            return {self._criterion: tuple(report.counts.values())} if report.counts else {}
        kept = {name: self._counting.top(s, self._counting.keep) for name, s in report.scores.items()}
        return {name: tuple(self._counting.structure(own).values()) for name, own in kept.items()}


def _steps(count: int, recipe: Recipe) -> int:
    """Optimizer steps of an epoch."""
    steps = count // recipe.slices // recipe.batch_size
    if steps < 1:
        raise ValueError(f"{count} examples do not fill {recipe.slices} slices of {recipe.batch_size} each")
    if recipe.precision != "fp32":
        raise ValueError(f"detectors are trained in fp32, got {recipe.precision}")
    return steps


def _orders(count: int, recipe: Recipe, seed: int) -> Iterator[list[int]]:
    """The examples of each epoch: its slice of a pass, whose order hangs on the seed and the pass alone."""
    length = count // recipe.slices
    for epoch in range(recipe.epochs):
        round_, place = divmod(epoch, recipe.slices)
        order = torch.randperm(count, generator=generator_for(seed, round_)).tolist()
        yield order[place * length : (place + 1) * length]


def _size(model: nn.Module, examples: Examples) -> Size:
    image, _ = examples[0]
    found = cost.measure(model, ([image],))
    return Size(found.macs, found.parameters)
