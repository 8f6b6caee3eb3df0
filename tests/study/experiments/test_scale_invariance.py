"""Scores in front of depthwise convolutions: zero by algebra, with ReLU, and not with other activations."""

import pytest
import torch
from torch import nn

from pat.study import figures
from pat.study.experiments.scale_invariance import finding, scores
from pat.study.experiments.scale_invariance.scores import BEFORE_DEPTHWISE, OTHER, layer_scores
from pat.study.plan.profile import load_profile
from pat.study.runs.building import open_data


@pytest.fixture(scope="module")
def measured():  # type: ignore[no-untyped-def]
    dataset = open_data(load_profile("smoke").spec(seed=0))
    return layer_scores(
        dataset, ("mobilenetv1-tiny", "resnet8-bottleneck"), batch_size=50, steps=4, batches=2
    )


def test_places_are_what_comes_next() -> None:
    def depthwise(channels: int) -> nn.Conv2d:
        return nn.Conv2d(channels, channels, 3, groups=channels)

    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), depthwise(4), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)),
    )
    assert scores._places(model, 1) == {"1": BEFORE_DEPTHWISE, "4": OTHER, "7": OTHER}


def test_the_two_terms_cancel_there_alone(measured) -> None:  # type: ignore[no-untyped-def]
    shares = {
        (network, place): rows["share"] for (network, place), rows in measured.groupby(["network", "place"])
    }
    assert (shares["mobilenetv1-tiny", BEFORE_DEPTHWISE] < 0.05).all()
    assert (shares["mobilenetv1-tiny", OTHER] > 0.5).all()
    assert ("resnet8-bottleneck", BEFORE_DEPTHWISE) not in shares
    assert (measured["score"] <= measured["terms"] * (1 + 1e-5)).all()


@pytest.mark.parametrize(("activation", "zero"), [(nn.ReLU(), True), (nn.Hardswish(), False)])
def test_the_derivative_along_the_scale_is_zero_behind_a_relu(activation: nn.Module, zero: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, eps=1e-12).double()
    depthwise = nn.Conv2d(3, 3, 3, groups=3, bias=False)
    behind = nn.Sequential(activation, depthwise, nn.BatchNorm2d(3, eps=1e-12)).double()
    nn.init.normal_(norm.bias)
    behind(norm(torch.randn(8, 3, 5, 5).double())).pow(3).sum().backward()
    along = (norm.weight * norm.weight.grad + norm.bias * norm.bias.grad).abs()
    assert (along < 1e-6).all() == zero


def test_finding_and_figure(measured) -> None:  # type: ignore[no-untyped-def]
    text = finding.finding(measured)
    assert "on `mobilenetv1-tiny`" in text
    assert "resnet8" not in text
    table = scores.by_place(measured, "its own")
    assert table["BatchNorms"].sum() == len(measured)
    assert (table["smallest share"] <= table["share"]).all()
    assert len(figures.scores_along_networks(measured).axes) == 2
