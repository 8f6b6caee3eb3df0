"""Linear mode connectivity: barriers worked by hand, and two trainings of a tiny network."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.rivals.instability import POINTS, instability, line, training_spent


class Weight(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([value]))
        self.register_buffer("count", torch.tensor(int(10 * value)))


def bowl(model: nn.Module) -> float:
    return float(model.weight.detach()) ** 2  # type: ignore[operator]


def test_a_bowl_has_no_barrier_and_a_hill_has_one() -> None:
    first, second = Weight(1.0), Weight(-1.0)
    flat = line(first, second, bowl)
    assert len(flat.errors) == POINTS
    assert flat.errors[0] == flat.errors[-1] == 1
    assert flat.instability == 0
    assert flat.stable()
    hill = line(first, second, lambda model: 1 - bowl(model))
    # The points next to the middle of 30 are at 14/29 and 15/29, where the weight is 1/29.
    assert hill.instability == pytest.approx(1 - 1 / 29**2)
    assert not hill.stable()
    assert (first.weight.item(), second.weight.item()) == (1.0, -1.0)


def test_ends_that_differ_count_by_their_mean() -> None:
    found = line(Weight(0.0), Weight(1.0), bowl, points=3)
    assert found.shares == (0.0, 0.5, 1.0)
    assert found.errors == (0.0, 0.25, 1.0)
    assert found.instability == 0.5


def test_whole_numbers_are_the_firsts_and_settling_comes_before_the_error() -> None:
    counts: list[int] = []

    def settle(model: nn.Module) -> None:
        counts.append(int(model.count))  # type: ignore[arg-type]
        with torch.no_grad():
            model.weight.zero_()  # type: ignore[operator]

    assert line(Weight(1.0), Weight(2.0), bowl, 4, settle).errors == (0.0,) * 4
    assert counts == [10] * 4


def test_permuted_hidden_units_are_the_same_function_with_a_barrier() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x[:, 0] * x[:, 1] > 0).long()  # no line parts them
    first = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 2))
    train(first, x, y, seed=0)
    second = nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 2))
    order = torch.randperm(12)
    with torch.no_grad():
        second[0].weight.copy_(first[0].weight[order])
        second[0].bias.copy_(first[0].bias[order])
        second[2].weight.copy_(first[2].weight[:, order])
        second[2].bias.copy_(first[2].bias)
    found = line(first, second, lambda model: wrong(model, x, y))
    assert found.errors[0] == found.errors[-1] < 0.1
    assert found.instability > 0.05


def train(model: nn.Module, x: Tensor, y: Tensor, seed: int, epochs: int = 60) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(epochs):
        for at in torch.randperm(len(x), generator=generator).split(20):
            optimizer.zero_grad()
            F.cross_entropy(model(x[at]), y[at]).backward()
            optimizer.step()


@torch.no_grad()
def wrong(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) != y).float().mean())


def test_two_orders_from_one_start() -> None:
    torch.manual_seed(1)
    x = torch.randn(100, 2)
    y = (x.sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seeds: list[int] = []

    def to_the_end(copy: nn.Module, seed: int) -> None:
        seeds.append(seed)
        train(copy, x, y, seed, epochs=10)

    found = instability(model, to_the_end, lambda end: wrong(end, x, y), seeds=(3, 4), points=5)
    assert seeds == [3, 4]
    assert found.instability >= 0
    assert len(found.errors) == 5
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    same = instability(model, lambda copy, seed: None, lambda end: wrong(end, x, y))
    assert same.instability == 0


def test_what_it_costs() -> None:
    assert training_spent(0, 90) == 2
    assert training_spent(45, 90) == 1
    assert math.isclose(sum(training_spent(epoch, 90) for epoch in (0, 30)), 2 + 4 / 3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 points, got 2"):
        line(Weight(0.0), Weight(1.0), bowl, points=2)
    with pytest.raises(ValueError, match="same parameters and buffers"):
        line(Weight(0.0), nn.Linear(1, 1), bowl)
    with pytest.raises(ValueError, match=r"two different seeds, got \[1, 1\]"):
        instability(Weight(0.0), lambda copy, seed: None, bowl, seeds=(1, 1))
    with pytest.raises(ValueError, match=r"epoch must lie in \[0, 89\], got 90"):
        training_spent(90, 90)
