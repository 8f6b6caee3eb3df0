"""Importance: Eq. 2 and Eq. 3 by hand, and their sums over coupled groups."""

import math

import pytest
import torch
import torch.nn.functional as F
from networks import Plain, build
from torch import Tensor, nn

from pat.channels import trace
from pat.importance import TaylorScores, magnitude, magnitude_scores, taylor, taylor_batchnorm

torch.set_num_threads(1)


def test_magnitude_by_hand() -> None:
    # Two filters over 1 input channel of 2 x 2: ||(1, 2, 2, 4)|| = 5, ||(0, 0, 3, 0)|| = 3, sqrt(P) = 2.
    weight = torch.tensor([[[[1.0, -2], [2, 4]]], [[[0, 0], [3, 0]]]])
    assert magnitude(weight).tolist() == [2.5, 1.5]
    # Depthwise and grouped filters: P = C_in/groups * K * K, which is what the weight's shape says.
    assert magnitude(torch.ones(6, 1, 3, 3)).tolist() == pytest.approx([1.0] * 6)
    assert magnitude(torch.tensor([[3.0, 4.0]])).tolist() == pytest.approx([5 / math.sqrt(2)])
    assert magnitude(torch.tensor([-2.0, 3.0])).tolist() == [2, 3]


def test_magnitude_of_filters_without_weights() -> None:
    assert magnitude(torch.zeros(3, 0, 3, 3)).tolist() == [0, 0, 0]
    assert magnitude(torch.zeros(0, 4, 3, 3)).shape == (0,)
    with pytest.raises(ValueError, match="without dimensions"):
        magnitude(torch.tensor(1.0))


def test_taylor_by_hand() -> None:
    weight = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]], [[[1.0, 1.0]], [[0.0, 2.0]]]])
    grad = torch.tensor([[[[2.0, 1.0]], [[-1.0, 4.0]]], [[[0.5, 0.5]], [[7.0, 1.0]]]])
    # |2 + 2 - 3 - 4| = 3: the absolute value of the sum, not the sum of absolute values (11).
    assert taylor(weight, grad).tolist() == [3, 3]
    with pytest.raises(ValueError, match=r"\(2, 2, 1, 2\).*\(2, 2\)"):
        taylor(weight, torch.zeros(2, 2))


def test_taylor_batchnorm_by_hand() -> None:
    gamma, gamma_grad = torch.tensor([1.0, 2.0, 0.0]), torch.tensor([3.0, -1.0, 9.0])
    beta, beta_grad = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([-1.0, -0.5, 2.0])
    assert taylor_batchnorm(gamma, gamma_grad, beta, beta_grad).tolist() == [2, 3, 1]
    with pytest.raises(ValueError, match="shapes must be equal"):
        taylor_batchnorm(gamma, gamma_grad, beta, torch.zeros(2))


def test_scores_do_not_hold_a_graph() -> None:
    conv = nn.Conv2d(2, 3, 3)
    assert not magnitude(conv.weight).requires_grad
    assert not taylor(conv.weight, torch.ones_like(conv.weight)).requires_grad
    ones = nn.Parameter(torch.ones(3))
    assert not taylor_batchnorm(ones, ones.detach(), ones, ones.detach()).requires_grad


def test_magnitude_scores_average_a_groups_layers() -> None:
    model = Plain()
    scores = magnitude_scores(model, trace(model, torch.randn(2, 1, 8, 8)))
    assert torch.allclose(scores["conv1"], magnitude(model.conv1.weight))
    expected = (magnitude(model.conv2.weight) + magnitude(model.conv3.weight)) / 2
    assert torch.allclose(scores["conv2"], expected)
    assert list(scores) == ["conv1", "conv2", "conv4"]


def backward(model: nn.Module, seed: int, size: int = 8) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 1, size, size, generator=generator)
    model.zero_grad()
    F.cross_entropy(model(x), torch.randint(10, (4,), generator=generator)).backward()


def batchnorm_term(norm: nn.Module) -> Tensor:
    return norm.weight.detach() * norm.weight.grad + norm.bias.detach() * norm.bias.grad


def test_taylor_scores_by_hand() -> None:
    torch.manual_seed(0)
    model = Plain()
    for norm in (model.bn1, model.bn2, model.bn3):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    scores = TaylorScores(model, trace(model, torch.randn(2, 1, 8, 8)))
    expected = {"conv1": 0.0, "conv2": 0.0, "conv4": 0.0}
    for seed in range(3):
        backward(model, seed)
        scores.add()
        conv4 = model.conv4
        expected["conv1"] += batchnorm_term(model.bn1).abs() / 3
        # Coupled: first the sum over the layers, then the absolute value, then the mean over minibatches.
        expected["conv2"] += (batchnorm_term(model.bn2) + batchnorm_term(model.bn3)).abs() / 3
        # Without BatchNorm: Eq. 3 over filter and bias.
        filters = (conv4.weight.detach() * conv4.weight.grad).sum((1, 2, 3))
        expected["conv4"] += (filters + conv4.bias.detach() * conv4.bias.grad).abs() / 3
    assert (scores.minibatches, scores.skipped) == (3, 0)
    mean = scores.mean()
    assert list(mean) == list(expected)
    for name, score in expected.items():
        assert torch.allclose(mean[name], score, rtol=1e-5, atol=1e-8), name


def test_depthwise_batchnorms_count() -> None:
    model, x = build("mobilenet_v2")
    groups = trace(model, x)
    scores = TaylorScores(model, groups)
    model(x).square().mean().backward()
    scores.add()
    block = model.features[3].conv
    term = batchnorm_term(block[0][1]) + batchnorm_term(block[1][1])
    assert torch.allclose(scores.mean()["features.3.conv.0.0"], term.abs(), rtol=1e-4, atol=1e-9)


def test_a_pointwise_batchnorm_before_a_depthwise_one_scores_nothing_alone() -> None:
    # Why the depthwise BatchNorms have to count: the function does not change with the first one's scale.
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1, bias=False), nn.BatchNorm2d(4, eps=1e-12), nn.Identity(),
        nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.BatchNorm2d(4, eps=1e-12), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10),
    ).double()  # fmt: skip
    x, y = torch.randn(8, 1, 6, 6).double(), torch.randint(10, (8,))
    groups = trace(model, x)
    scores = TaylorScores(model, groups)
    F.cross_entropy(model(x), y).backward()
    scores.add()
    alone = model[1].weight.detach() * model[1].weight.grad
    assert alone.abs().max() < 1e-9
    assert torch.allclose(scores.mean()["0"], batchnorm_term(model[4]).abs().float(), rtol=1e-4)
    assert scores.mean()["0"].min() > 1e-6


def test_a_layer_that_two_groups_share_is_read_for_each() -> None:
    class Concatenated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 3, 3), nn.Conv2d(1, 2, 3)
            self.bn, self.end = nn.BatchNorm2d(5), nn.Conv2d(5, 10, 6)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([self.a(x), self.b(x)], 1)
            return self.end(torch.relu(self.bn(x))).flatten(1)

    model = Concatenated()
    nn.init.uniform_(model.bn.bias, -0.5, 0.5)
    scores = TaylorScores(model, trace(model, torch.randn(2, 1, 8, 8)))
    backward(model, 0)
    scores.add()
    term = batchnorm_term(model.bn).abs()
    assert torch.allclose(scores.mean()["a"], term[:3])
    assert torch.allclose(scores.mean()["b"], term[3:])


def test_non_finite_minibatches_are_left_out_and_counted() -> None:
    torch.manual_seed(0)
    model = Plain()
    scores = TaylorScores(model, trace(model, torch.randn(2, 1, 8, 8)))
    for bad in (torch.nan, torch.inf):
        backward(model, 0)
        model.bn2.weight.grad[3] = bad
        scores.add()
    assert (scores.minibatches, scores.skipped) == (0, 2)
    with pytest.raises(RuntimeError, match="2 skipped"):
        scores.mean()
    backward(model, 1)
    scores.add()
    backward(model, 1)
    scores.add()
    clean = TaylorScores(model, trace(model, torch.randn(2, 1, 8, 8)))
    clean.add()
    assert (scores.minibatches, scores.skipped) == (2, 2)
    for name, score in clean.mean().items():
        assert torch.allclose(scores.mean()[name], score)
    scores.reset()
    assert (scores.minibatches, scores.skipped) == (0, 0)


def test_gradients_are_needed() -> None:
    model = Plain()
    scores = TaylorScores(model, trace(model, torch.randn(2, 1, 8, 8)))
    with pytest.raises(RuntimeError, match=r"after loss.backward\(\)"):
        scores.add()
    backward(model, 0)
    model.conv4.weight.grad = None  # what the loss does not reach counts 0
    model.conv4.bias.grad = None
    scores.add()
    assert scores.mean()["conv4"].tolist() == [0] * 16


def test_state_goes_on() -> None:
    torch.manual_seed(0)
    model = Plain()
    groups = trace(model, torch.randn(2, 1, 8, 8))
    whole, first, second = (TaylorScores(model, groups) for _ in range(3))
    assert first.state_dict() == {}
    second.load_state_dict({})
    for seed in range(4):
        backward(model, seed)
        whole.add()
        if seed < 2:
            first.add()
        if seed == 1:
            state = first.state_dict()
            first.add()  # the saved state is not a view
        if seed == 2:
            second.load_state_dict(state)
        if seed >= 2:
            second.add()
    for name, score in whole.mean().items():
        assert torch.equal(second.mean()[name], score)
    small = Plain(width=4)
    other = TaylorScores(small, trace(small, torch.randn(2, 1, 8, 8)))
    with pytest.raises(ValueError, match="scores of 40 channels do not fit 20"):
        other.load_state_dict(state)


def test_a_groups_own_scores_do_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    model = Plain()
    groups = trace(model, torch.randn(2, 1, 8, 8))
    both, one = TaylorScores(model, groups), TaylorScores(model, {"conv4": groups["conv4"]})
    backward(model, 0)
    both.add()
    one.add()
    assert torch.equal(both.mean()["conv4"], one.mean()["conv4"])


def test_filters_of_a_transposed_convolution_stand_along_its_second_dimension() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 6, 2), nn.ReLU(), nn.Conv2d(6, 2, 1))
    x = torch.randn(2, 3, 4, 4)
    groups = trace(model, x)
    scores = TaylorScores(model, groups)
    model(x).square().mean().backward()
    scores.add()
    weight, bias = model[1].weight, model[1].bias
    expected = ((weight * weight.grad).sum((0, 2, 3)) + bias * bias.grad).abs()
    assert torch.allclose(scores.mean()["1"], expected)
    norms = weight.detach().transpose(0, 1).flatten(1).norm(dim=1) / 4  # 4 inputs of 2 x 2 weights
    assert torch.allclose(magnitude_scores(model, groups)["1"], norms)
