"""Wrapped models are looked into, or refused at construction with what to give instead."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import Plain
from test_attaching import EPOCHS, SETTINGS, batches, made, plainly, same
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import pat
from pat import surgery


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "DataParallel": nn.DataParallel,
    "compiled": compiled,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
}


@pytest.mark.parametrize("hooked", [True, False], ids=["attached", "three calls"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_model_trains_through_the_pruning_as_the_bare_one(wrapper: str, hooked: bool) -> None:
    torch._dynamo.reset()
    model, optimizer = made()
    outer = WRAPPERS[wrapper](model)
    make = pat.attach if hooked else pat.PruningAwareTraining
    pruner = make(outer, optimizer, batches()[0][0], **SETTINGS)
    assert pruner.model is model
    for _ in range(EPOCHS):
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(outer(images), labels).backward()
            if not hooked:
                pruner.step()
            optimizer.step()
            if not hooked:
                pruner.after_step()
        if not hooked:
            pruner.end_epoch()
    assert same(model, plainly(SGD, clip=False, accumulate=1))
    images = batches()[0][0]
    assert torch.equal(outer(images), model(images))


def test_a_moving_average_is_cut_with_the_model() -> None:
    """As an average of the whole loop, whose removed channels are taken out afterwards."""

    def average_of(model: nn.Module) -> AveragedModel:
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def trained(pruning: bool) -> tuple[nn.Module, AveragedModel, dict[str, torch.Tensor]]:
        model, optimizer = made()
        average, kept = average_of(model), {}
        pruner = pat.PruningAwareTraining(
            model, optimizer, batches()[0][0], extra_models=[average.module], **SETTINGS
        )
        for epoch in range(2):  # to the removal
            for images, labels in batches():
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                pruner.step()
                optimizer.step()
                pruner.after_step()
                average.update_parameters(model)
            if epoch == 0 or pruning:
                pruner.end_epoch()
        kept = pruner.kept
        if pruning:
            average.update_parameters(model)  # of the new sizes
            assert surgery.sizes(average.module) == surgery.sizes(model)
        return model, average, kept

    model, average, _ = trained(pruning=True)
    assert torch.isfinite(average.eval()(batches()[0][0])).all()
    whole, other, kept = trained(pruning=False)
    groups = pat.channels.trace(Plain(), batches()[0][0])
    surgery.remove(whole, kept, groups=groups, extra_models=[other.module])
    other.update_parameters(whole)
    assert same(average.module, other.module)
    assert same(model, whole)


def test_an_extra_model_that_is_no_copy_is_refused_with_what_to_give_instead() -> None:
    model, optimizer = made()
    example = batches()[0][0]

    def give(extra: nn.Module) -> None:
        pat.PruningAwareTraining(model, optimizer, example, extra_models=[extra], **SETTINGS)

    with pytest.raises(ValueError, match=r"extra model 0 \(AveragedModel\) has no .*; give its \.module"):
        give(AveragedModel(model))
    with pytest.raises(ValueError, match=r"extra model 0 \(Linear\) has no .*: give a copy of the model"):
        give(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="extra model 0 shares parameters with the model"):
        give(nn.DataParallel(model))
    narrow = copy.deepcopy(model)
    surgery.resize(narrow, surgery.sizes(narrow) | {"conv1.weight": [4, 1, 3, 3]})
    with pytest.raises(ValueError, match=r"has 'conv1\.weight' of size \(4, 1, 3, 3\), the model"):
        give(narrow)
    give(nn.DataParallel(copy.deepcopy(model)))


def test_models_without_whole_channels_are_refused() -> None:
    model, optimizer = made()
    example = batches()[0][0]
    scripted = torch.jit.trace(model.eval(), example)  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="has its sizes fixed: give the model that it was made of"):
        pat.PruningAwareTraining(scripted, SGD(scripted.parameters(), lr=0.1), example, **SETTINGS)
    for parameter in model.parameters():
        parameter._is_flat_param = True  # type: ignore[attr-defined]  # as FSDP marks its own
    with pytest.raises(ValueError, match="sharded"):
        pat.PruningAwareTraining(model, optimizer, example, **SETTINGS)
