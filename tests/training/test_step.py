"""Passes of a step: captured and replayed they are the plain ones, and nothing waits for a device."""

import warnings
from typing import Any

import pytest
import torch
from test_trainer import Dropping, assert_same, small, trainer
from tiny import recipe
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pat.policy import AtEpoch, Never
from pat.training.repeatable import repeatable
from pat.training.step import Work

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")
"""Operations that an accelerator has to finish its work for, since its answer is a number or a size."""


class Rehearsal:
    """A graph without an accelerator: work is done as often as for a capture, and repeated as it is; like a
    graph it knows tensors by where they lay then."""

    def __init__(self) -> None:
        self.captures = 0
        self.model: nn.Module

    def __call__(self, work: Work) -> Work:
        self.captures += 1
        for _ in range(4):
            work()
        held = [*self.model.parameters(), *self.model.buffers()]
        places = [tensor.data_ptr() for tensor in held]

        def replay() -> None:
            assert [tensor.data_ptr() for tensor in held] == places, "a graph of tensors that have moved"
            work()

        return replay


VARIANTS: dict[str, dict[str, Any]] = {
    "dropout": {"build": Dropping},
    "channels last, bf16": {
        "build": small("resnet8-bottleneck"),
        "settings": recipe(channels_last=True, precision="bf16"),
    },
    "fp16": {"build": small("resnet8-basic"), "settings": recipe(precision="fp16", batch_size=20, slices=8)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_captured_passes_are_the_plain_ones(variant: str) -> None:
    options = VARIANTS[variant]
    plain, captured, graph = trainer(AtEpoch(1), **options), trainer(AtEpoch(1), **options), Rehearsal()
    graph.model = captured.model
    captured.step._capture = graph
    plain.train()
    captured.train()
    assert_same(plain, captured)
    assert graph.captures == 2  # of the dense network and of the smaller one


class Waits(TorchDispatchMode):
    """Counts the operations that an accelerator would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := func.overloadpacket.__name__) in WAITING:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_steps_wait_for_the_device_every_hundredth_time(precision: str) -> None:
    settings = recipe(precision=precision, batch_size=7, augment={"crop_padding": 1, "flip": True})
    run = trainer(Never(), build=small("resnet8-basic"), settings=settings)
    for group in run.optimizer.param_groups:
        group["fused"] = True  # as on an accelerator
    run.optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
    run.train(until=1)
    told: list[int] = []
    run.on_step = lambda epoch, step, steps: told.append(len(waits.seen))
    with Waits() as waits:
        run._steps(1)
    assert len(told) == 106
    assert told[0] == told[98] == 0
    assert told[99] == told[104] == 1  # is the sum finite?
    assert told[105] == 2


def test_operations_without_a_deterministic_algorithm_are_named() -> None:
    def work() -> None:
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    with repeatable("cpu") as found:
        work()
    assert found == set()
    with warnings.catch_warnings(record=True), repeatable("cuda") as found:
        warnings.simplefilter("always")
        work()
        work()
        warnings.warn("of another kind", stacklevel=1)
    assert found == {"put_"}
    assert not torch.are_deterministic_algorithms_enabled()
