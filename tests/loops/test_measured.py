"""A channel goes only on a score that was measured; what is not stays whole and is said."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import Plain
from torch import Tensor, nn
from torch.nn import functional as F

import pat
from pat.channels import trace
from pat.importance import TaylorScores, taylor, taylor_batchnorm

STEPS = 3


class Branches(nn.Module):
    """A trunk and a side branch that a loss may leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.n0 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.trunk, self.n1 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.side, self.n2 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.last, self.head = nn.Linear(12, 4), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.n0(self.stem(x)))
        main, side = torch.relu(self.n1(self.trunk(x))), torch.relu(self.n2(self.side(x)))
        return self.last(main.mean((2, 3))), self.head(side.mean((2, 3)))


def train(
    model: nn.Module,
    loss: Callable[[Any, Tensor, int], Tensor] = lambda out, y, step: F.cross_entropy(out, y),
    epochs: int = 2,
    **settings: Any,
) -> tuple[pat.PruningAwareTraining, list[str]]:
    torch.manual_seed(0)
    x, y = torch.randn(8, 1, 12, 12), torch.randint(0, 4, (8,))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01, momentum=0.9)
    defaults = {"ratio": 0.3, "steps_per_epoch": STEPS, "policy": pat.policy.AtEpoch(1)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pruner = pat.PruningAwareTraining(model, optimizer, x, **(defaults | settings))
        for step in range(epochs * STEPS):
            optimizer.zero_grad()
            loss(model(x), y, step).backward()
            pruner.step()
            optimizer.step()
            pruner.after_step()
            if (step + 1) % STEPS == 0:
                pruner.end_epoch()
    return pruner, [str(w.message) for w in told if w.category is RuntimeWarning]


def sizes(model: nn.Module) -> dict[str, int]:
    return {name: m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
def test_frozen_layers_are_no_neurons_and_are_said(criterion: Any) -> None:
    model = Plain(classes=4)
    for layer in (model.conv4,):
        layer.requires_grad_(False)
    pruner, told = train(model, criterion=criterion)
    assert list(pruner.neurons) == ["conv2"]
    assert sizes(model)["conv4"] == 16
    assert sizes(model)["conv2"] == sizes(model)["conv3"] == 11  # 0.3 of 32 filters: five units of two
    assert told == ["frozen layers stay whole, since nothing measures them: conv4"]


def test_a_frozen_norm_leaves_the_filters_to_measure() -> None:
    model = Plain(classes=4)
    for norm in (model.bn2, model.bn3):
        norm.requires_grad_(False)
    pruner, told = train(model, epochs=1)
    x, y = torch.randn(8, 1, 12, 12), torch.zeros(8, dtype=torch.long)
    scores = TaylorScores(model, pruner.neurons)
    model.zero_grad()
    F.cross_entropy(model(x), y).backward()
    scores.add()
    sums = sum((conv.weight * conv.weight.grad).flatten(1).sum(1) for conv in (model.conv2, model.conv3))
    torch.testing.assert_close(scores.mean()["conv2"], sums.abs().detach())
    assert told == []


def test_all_frozen_is_refused() -> None:
    model = Plain(classes=4)
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    with pytest.raises(ValueError, match="are frozen"):
        train(model)


def test_a_branch_that_the_loss_does_not_reach_stays_whole() -> None:
    model = Branches()
    pruner, told = train(model, lambda out, y, step: F.cross_entropy(out[0], y))
    assert sizes(model) == {"stem": 8, "trunk": 4, "side": 12}  # 0.3 of 24, all from the trunk
    assert told == ["no gradient reached side: nothing measures them, they stay whole"]
    assert [report.unmeasured for report in pruner.reports] == [("side",), ("side",)]


def test_more_than_was_measured_is_refused_in_the_first_epoch() -> None:
    with pytest.raises(ValueError, match="more channels than were measured: no gradient reached side"):
        train(Branches(), lambda out, y, step: F.cross_entropy(out[0], y), ratio=0.6, epochs=1)


def test_a_branch_that_is_reached_now_and_then_is_measured() -> None:
    model = Branches()
    loss = lambda out, y, step: sum(F.cross_entropy(o, y) for o in (out if step % 3 == 2 else out[:1]))  # noqa: E731
    pruner, told = train(model, loss, ratio=0.6, prune_steps=1)
    assert told == []
    assert sum(sizes(model).values()) == 8 + 9  # 0.6 of 24: 15 go
    assert pruner.reports[-1].unmeasured == ()


def test_what_is_frozen_later_stays_as_it_was_then() -> None:
    model = Branches()

    def loss(out: Any, y: Tensor, step: int) -> Tensor:
        model.side.requires_grad_(step < STEPS)
        model.n2.requires_grad_(step < STEPS)
        return F.cross_entropy(out[0], y) + F.cross_entropy(out[1].detach() if step >= STEPS else out[1], y)

    train(model, loss)
    assert sizes(model) == {"stem": 8, "trunk": 4, "side": 12}


def test_a_state_remembers_what_was_not_reached() -> None:
    model = Branches()
    groups = trace(model, torch.randn(2, 1, 12, 12))
    scores, again = TaylorScores(model, groups), TaylorScores(model, groups)
    model(torch.randn(2, 1, 12, 12))[0].sum().backward()
    scores.add()
    again.load_state_dict(scores.state_dict())
    assert scores.unreached == again.unreached == {"side"}
    model(torch.randn(2, 1, 12, 12))[1].sum().backward()
    again.add()
    assert again.unreached == frozenset()
    assert again.state_dict().keys() == {"sum", "count", "skipped"}


def test_the_formulas_of_one_layer_are_what_scores() -> None:
    model = Plain(classes=4)
    nn.init.normal_(model.bn1.weight)
    nn.init.normal_(model.bn1.bias)
    groups = trace(model, torch.randn(2, 1, 12, 12))
    scores = TaylorScores(model, groups)
    model(torch.randn(4, 1, 12, 12)).square().mean().backward()
    scores.add()
    bn, conv = model.bn1, model.conv4
    assert torch.equal(
        scores.mean()["conv1"], taylor_batchnorm(bn.weight, bn.weight.grad, bn.bias, bn.bias.grad)
    )
    conv.bias.grad.zero_()
    scores.reset()
    scores.add()
    assert torch.equal(scores.mean()["conv4"], taylor(conv.weight, conv.weight.grad))
