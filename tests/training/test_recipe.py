"""The recipe: what is decayed, how the rate goes, what is refused."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny import recipe
from torch import nn

from pat.training import models
from pat.training.recipe import Recipe


@pytest.mark.parametrize("name", ["resnet8-basic", "mobilenetv1-tiny"])
def test_weight_decay_is_on_everything_but_batchnorm(name: str) -> None:
    model = models.build(name, num_classes=10, in_channels=1, image_size=8)
    optimizer = recipe(weight_decay=0.01).build_optimizer(model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    seen = 0
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            seen += 1
            norm = isinstance(module, nn.BatchNorm2d)
            assert decay[id(parameter)] == (0.0 if norm else 0.01)
    assert seen == len(decay) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.875}


def test_a_step_decays_filters_and_leaves_batchnorm() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = recipe(weight_decay=0.5, learning_rate=0.1).build_optimizer(model)
    filters, gamma = model[0].weight.detach().clone(), model[1].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), filters * 0.95)
    assert torch.equal(model[1].weight, gamma)


def test_a_model_without_batchnorm_has_one_group() -> None:
    assert len(recipe().build_optimizer(nn.Linear(2, 2)).param_groups) == 1


def test_adamw_decays_apart_and_spares_batchnorm_too() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    settings = recipe(optimizer="adamw", weight_decay=0.5, learning_rate=0.1, momentum=0.8)
    optimizer = settings.build_optimizer(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.999)}
    filters, gamma = model[0].weight.detach().clone(), model[1].weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), filters * 0.95)
    assert torch.equal(model[1].weight, gamma)


def test_a_constant_rate_comes_after_the_warm_up() -> None:
    settings = recipe(epochs=5, warmup_epochs=2, learning_rate=0.4, schedule="constant")
    assert [settings.rate(epoch) for epoch in range(5)] == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.4])
    with pytest.raises(ValidationError, match="schedule"):
        recipe(schedule="step")


def test_the_rate_of_a_schedule_worked_by_hand() -> None:
    rates = [recipe(epochs=6, warmup_epochs=2, learning_rate=0.4).rate(epoch) for epoch in range(6)]
    expected = [0.2, 0.4, 0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))]
    assert rates == pytest.approx(expected)


@given(epochs=st.integers(1, 120), warmup=st.integers(0, 119), peak=st.floats(1e-3, 10))
def test_the_rate_rises_to_its_peak_and_falls(epochs: int, warmup: int, peak: float) -> None:
    warmup = min(warmup, epochs - 1)
    settings = recipe(epochs=epochs, warmup_epochs=warmup, learning_rate=peak)
    rates = [settings.rate(epoch) for epoch in range(epochs)]
    assert max(rates) == pytest.approx(peak)
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


@pytest.mark.parametrize("epoch", [-1, 4])
def test_a_rate_outside_the_schedule_is_an_error(epoch: int) -> None:
    with pytest.raises(ValueError, match=str(epoch)):
        recipe(epochs=4).rate(epoch)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("warmup_epochs", 4),
        ("warmup_epochs", -1),
        ("weight_decay", -1e-4),
        ("momentum", 1.0),
        ("label_smoothing", 1.0),
        ("precision", "fp8"),
        ("augment", {"flips": True}),
        ("learning_rat", 0.1),
    ],
)
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        recipe(**{field: value})


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValidationError):
        recipe().epochs = 3  # type: ignore[misc]
    assert hash(recipe()) == hash(Recipe(**recipe().model_dump()))
