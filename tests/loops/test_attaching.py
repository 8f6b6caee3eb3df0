"""One line does what the three calls do, in the loops that people write."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import Plain
from torch import nn
from torch.nn import functional as F

import pat

STEPS, EPOCHS = 4, 4
Loop = Callable[[nn.Module, torch.optim.Optimizer, Any], None]


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(8, 1, 16, 16, generator=generator), torch.randint(0, 4, (8,), generator=generator))
        for _ in range(STEPS)
    ]


def made(optimizer: Any = torch.optim.SGD) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Plain()
    settings = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    return model, optimizer(model.parameters(), lr=0.01, **settings)


SETTINGS: dict[str, Any] = {"ratio": 0.4, "policy": pat.policy.AtEpoch(1), "steps_per_epoch": STEPS}


def plainly(optimizer: Any, clip: bool, accumulate: int) -> nn.Module:
    """The loop with its three calls."""
    model, opt = made(optimizer)
    pruner = pat.PruningAwareTraining(model, opt, batches()[0][0], **SETTINGS)
    for _ in range(EPOCHS):
        for images, labels in batches():
            opt.zero_grad()
            for _ in range(accumulate):
                (F.cross_entropy(model(images), labels) / accumulate).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            pruner.step()
            opt.step()
            pruner.after_step()
        pruner.end_epoch()
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize(("clip", "accumulate"), [(False, 1), (True, 1), (False, 2)])
def test_one_line_does_what_three_calls_do(optimizer: Any, clip: bool, accumulate: int) -> None:
    model, opt = made(optimizer)
    pruner = pat.attach(model, opt, batches()[0][0], **SETTINGS)
    phases = []
    for _ in range(EPOCHS):
        for images, labels in batches():
            opt.zero_grad()
            for _ in range(accumulate):
                (F.cross_entropy(model(images), labels) / accumulate).backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            opt.step()
        phases.append(pruner.reports[-1].status)
    assert phases == ["dense", "prune", "sparse", "sparse"]
    assert same(model, plainly(optimizer, clip, accumulate))
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in Plain().parameters())


def test_a_gradient_scaler_is_unscaled_first_and_a_step_it_leaves_out_is_none() -> None:
    model, opt = made()
    pruner = pat.attach(model, opt, batches()[0][0], **SETTINGS)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)  # a power of two: unscaling is exact
    spoilt = 0
    for epoch in range(EPOCHS + 1):
        for step, (images, labels) in enumerate(batches()):
            if epoch == EPOCHS and step > 0:
                break
            opt.zero_grad()
            scaler.scale(F.cross_entropy(model(images), labels)).backward()
            if (epoch, step) == (0, 2):
                next(model.parameters()).grad.fill_(float("inf"))
                spoilt += 1
            scaler.step(opt)
            scaler.update(256.0)
    assert spoilt == 1
    assert [report.status for report in pruner.reports] == ["dense", "prune", "sparse", "sparse"]
    assert all(report.skipped == 0 for report in pruner.reports)


def test_gradients_that_are_still_scaled_are_refused() -> None:
    model, opt = made()
    pat.attach(model, opt, batches()[0][0], **SETTINGS)
    images, labels = batches()[0]
    F.cross_entropy(model(images), labels).backward()
    opt.grad_scale = torch.tensor(256.0)  # type: ignore[attr-defined]  # as GradScaler gives a fused one
    with pytest.raises(RuntimeError, match=r"scaler\.unscale_\(optimizer\) before"):
        opt.step()


def test_what_is_wrong_is_refused_when_it_is_attached() -> None:
    model, opt = made()
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\), got 1.5"):
        pat.attach(model, opt, batches()[0][0], **(SETTINGS | {"ratio": 1.5}))
    with pytest.raises(ValueError, match="steps_per_epoch"):
        pat.attach(model, opt, batches()[0][0], **(SETTINGS | {"steps_per_epoch": 0}))
    images, labels = batches()[0]
    untouched = copy.deepcopy(model)
    F.cross_entropy(model(images), labels).backward()
    opt.step()  # nothing was hooked on
    assert not same(model, untouched)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = EPOCHS) -> None:
    for _ in range(epochs):
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


def test_hooks_of_the_loops_own_run_beside_it() -> None:
    model, optimizer = made()
    seen = []
    pruner = pat.attach(model, optimizer, batches()[0][0], **SETTINGS)
    optimizer.register_step_post_hook(lambda *_: seen.append(pruner.status))
    train(model, optimizer)
    assert len(seen) == EPOCHS * STEPS
    assert pruner.status == "sparse"


def test_one_model_is_pruned_by_one_at_a_time() -> None:
    model, optimizer = made()
    first = pat.attach(model, optimizer, batches()[0][0], **SETTINGS)
    with pytest.raises(ValueError, match="make model and optimizer anew"):
        pat.attach(model, optimizer, batches()[0][0], **SETTINGS)
    train(model, optimizer)
    again = pat.attach(model, optimizer, batches()[0][0], **SETTINGS)  # what is left may lose more
    train(model, optimizer)
    assert (first.status, again.status) == ("sparse", "sparse")
    assert sum(int(kept.sum()) for kept in again.kept.values()) < sum(
        int(kept.sum()) for kept in first.kept.values()
    )
