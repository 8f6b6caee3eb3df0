"""Optimizers as loops have them: several, wrapped, made anew; what cannot be cut is refused early."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from networks import Plain
from test_attaching import EPOCHS, SETTINGS, batches, made, plainly, same
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

import pat
from pat.loops.optimizers import everyone


class Lookahead(Optimizer):
    """Steps with another optimizer, and every second time goes half of the way back to slow weights."""

    def __init__(self, inner: Optimizer, pull: float = 0.5) -> None:
        super().__init__(inner.param_groups, {})
        self.inner, self.pull, self.count = inner, pull, 0
        self.param_groups = inner.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = self.inner.step(closure)
        self.count += 1
        for group in self.param_groups:
            for p in group["params"]:
                slow = self.state[p].setdefault("slow", p.detach().clone())
                if self.count % 2 == 0:
                    slow.lerp_(p, self.pull)
                    p.copy_(slow)
        return loss


def train(
    model: nn.Module,
    stepping: Callable[[], Iterable[Optimizer]],
    pruner: pat.PruningAwareTraining,
    *,
    hooked: bool,
    epochs: int = EPOCHS,
    before_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    for epoch in range(epochs):
        before_epoch(epoch)
        for images, labels in batches():
            model.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            if not hooked:
                pruner.step()
            for optimizer in stepping():
                optimizer.step()
            if not hooked:
                pruner.after_step()
        if not hooked:
            pruner.end_epoch()


def watcher(model: nn.Module, optimizer: Any, hooked: bool, **settings: Any) -> pat.PruningAwareTraining:
    make = pat.attach if hooked else pat.PruningAwareTraining
    return make(model, optimizer, batches()[0][0], **(SETTINGS | settings))


def halves(model: nn.Module) -> list[Optimizer]:
    """Filters in one, all else in another: together what one does."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return [SGD(matrices, lr=0.01, momentum=0.9), SGD(vectors, lr=0.01, momentum=0.9)]


@pytest.mark.parametrize("hooked", [True, False], ids=["attached", "three calls"])
def test_two_optimizers_do_what_one_does(hooked: bool) -> None:
    model, _ = made()
    optimizers = halves(model)
    pruner = watcher(model, optimizers, hooked)
    train(model, lambda: optimizers, pruner, hooked=hooked)
    assert [report.status for report in pruner.reports] == ["dense", "prune", "sparse", "sparse"]
    assert same(model, plainly(SGD, clip=False, accumulate=1))


@pytest.mark.parametrize("hooked", [True, False], ids=["attached", "three calls"])
def test_a_wrapped_optimizer_is_looked_into(hooked: bool) -> None:
    model, inner = made()
    outer = Lookahead(inner)
    pruner = watcher(model, outer, hooked)
    held = []

    def masked_memory() -> Iterable[Optimizer]:
        yield outer
        if pruner.status == "prune" and not all(bool(mask.all()) for mask in pruner.kept.values()):
            pruner.after_step()  # the slow weights were written after the inner step
            weight = model.get_parameter("conv4.weight")
            gone = ~pruner.kept["conv4"]
            memory = [inner.state[weight]["momentum_buffer"], outer.state[weight]["slow"], weight]
            held.append(all(bool((each[gone] == 0).all()) for each in memory))

    train(model, masked_memory, pruner, hooked=hooked)
    assert held
    assert all(held)
    for parameter in model.parameters():
        assert outer.state[parameter]["slow"].shape == parameter.shape
        assert inner.state[parameter]["momentum_buffer"].shape == parameter.shape
    assert [report.status for report in pruner.reports] == ["dense", "prune", "sparse", "sparse"]


@pytest.mark.parametrize("hooked", [True, False], ids=["attached", "three calls"])
def test_an_optimizer_that_a_loop_makes_anew_joins(hooked: bool) -> None:
    model, first = made()
    pruner = watcher(model, first, hooked)
    now = [first]

    def anew(epoch: int) -> None:
        if epoch == 1:
            now[:] = [torch.optim.AdamW(model.parameters(), lr=0.01)]

    train(model, lambda: now, pruner, hooked=hooked, before_epoch=anew)
    assert pruner.status == "sparse"
    for parameter in model.parameters():
        assert now[0].state[parameter]["exp_avg"].shape == parameter.shape


def test_a_closure_is_scored_after_its_first_call() -> None:
    model, optimizer = made()
    pruner = pat.attach(model, optimizer, batches()[0][0], **SETTINGS)
    for _ in range(EPOCHS):
        for images, labels in batches():

            def closure(images: Tensor = images, labels: Tensor = labels) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert [report.status for report in pruner.reports] == ["dense", "prune", "sparse", "sparse"]
    assert same(model, plainly(SGD, clip=False, accumulate=1))


class Hoarder(SGD):
    """Keeps its memory where nobody looks."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        super().__init__(parameters, lr=0.01)
        self.memory = [torch.zeros_like(p) for group in self.param_groups for p in group["params"]]


class Factored(SGD):
    """Remembers rows and columns instead of entries."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["rows"] = p.flatten(1).sum(1) if p.dim() > 1 else p.clone()[:1]
        return super().step(closure)


def test_memory_that_cannot_be_cut_is_refused() -> None:
    model, _ = made()
    with pytest.raises(ValueError, match=r"Hoarder keeps a tensor .* in 'memory'"):
        watcher(model, Hoarder(model.parameters()), hooked=False)


@pytest.mark.parametrize(
    "make",
    [lambda p: Factored(p, lr=0.01), torch.optim.Adafactor],
    ids=["rows", "Adafactor"],
)
@pytest.mark.parametrize("hooked", [True, False], ids=["attached", "three calls"])
def test_memory_of_another_layout_is_refused_after_the_first_step(make: Any, hooked: bool) -> None:
    model, _ = made()
    optimizer = make(model.parameters())
    pruner = watcher(model, optimizer, hooked, policy=pat.policy.AtEpoch(30))
    with pytest.raises(ValueError, match=type(optimizer).__name__):
        train(model, lambda: [optimizer], pruner, hooked=hooked, epochs=1)
    assert pruner.epoch == 0
    steps = next(iter(optimizer.state.values())).get("step", 1)
    assert int(steps) == 1


def test_what_is_no_optimizer_is_refused() -> None:
    model, optimizer = made()
    with pytest.raises(ValueError, match=r"expected torch\.optim optimizers, got str"):
        watcher(model, [optimizer, "sgd"], hooked=False)
    with pytest.raises(ValueError, match="no parameter of the model"):
        watcher(model, SGD(Plain().parameters(), lr=0.1), hooked=False)
    with pytest.raises(ValueError, match="no parameter of the model"):
        watcher(model, [], hooked=False)


def test_inner_optimizers_come_once_and_first() -> None:
    _, inner = made()
    outer = Lookahead(inner)
    assert everyone([outer, inner]) == [inner, outer]
