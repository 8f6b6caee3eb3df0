"""The rehearsal: what no rule can know is refused before training, by name, and the remedy works."""

import ast
import math
import random
import re

import pytest
import torch
from networks import Plain, assert_unchanged, build, snapshot
from torch import Tensor, nn

from pat import PruningAwareTraining, UnsupportedOperation
from pat.channels import trace
from pat.channels.rehearsal import rehearse
from pat.policy import Never

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.c = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.between(torch.relu(self.a(x)))))

    def between(self, x: Tensor) -> Tensor:
        return self.b(x)


class Root(Net):
    def between(self, x: Tensor) -> Tensor:
        return self.b(x / math.sqrt(x.shape[1]))


class Filled(Net):
    def between(self, x: Tensor) -> Tensor:
        return self.b(x + len(x[0]) * 0.0 if len(x[0]) == 8 else x * 2)


class InTraining(Net):
    def between(self, x: Tensor) -> Tensor:
        return self.b(x * math.log(x.shape[1]) if self.training else x)


@pytest.mark.parametrize("kind", [Root, Filled, InTraining])
def test_a_number_of_channels_in_the_code_is_refused_and_the_remedy_works(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = kind(), torch.randn(3, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    settings = {"ratio": 0.5, "steps_per_epoch": 4, "policy": Never(), "keep_stem": False}
    with pytest.raises(UnsupportedOperation, match=r"in (eval|train) mode") as error:
        PruningAwareTraining(model, optimizer, x, **settings)
    layers = ast.literal_eval(re.search(r"exclude=(\[.*?\])", str(error.value)).group(1))
    assert layers == ["a"]
    PruningAwareTraining(model, optimizer, x, **settings, exclude=layers)
    PruningAwareTraining(model, optimizer, x, **settings, rehearse=False)


@pytest.mark.parametrize("name", ["plain", "mobilenet_v3_large"])
def test_a_rehearsal_leaves_everything_as_it_was(name: str) -> None:
    model, x = build(name)
    model(x).sum().backward()
    before, numbers, plain = snapshot(model), torch.get_rng_state(), random.getstate()
    rehearse(model, x, trace(model, x))
    assert_unchanged(model, before)
    assert torch.equal(numbers, torch.get_rng_state())
    assert random.getstate() == plain


def test_a_batch_of_one_and_dropout() -> None:
    model = nn.Sequential(Plain(channels=3), nn.Dropout(0.5))
    x = torch.randn(1, 3, 8, 8)
    rehearse(model, x, trace(model, x))
