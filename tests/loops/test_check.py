"""A loop that calls the wrong things is told in its first epoch."""

import warnings

import pytest
import torch
from networks import Plain
from torch.nn import functional as F

import pat


def loop(*, late: bool = False, hold: bool = True, announced: int = 3) -> list[str]:
    """Warnings of a loop of two epochs of three steps."""
    model, x, y = Plain(), torch.randn(8, 1, 16, 16), torch.zeros(8, dtype=torch.long)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    pruner = pat.PruningAwareTraining(
        model, optimizer, x, ratio=0.3, steps_per_epoch=announced, policy=pat.policy.Never()
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                if late:
                    optimizer.step()
                pruner.step()
                if not late:
                    optimizer.step()
                if hold:
                    pruner.after_step()
            pruner.end_epoch()
    return [str(warning.message) for warning in told if warning.category is RuntimeWarning]


def test_a_loop_as_it_should_be_is_told_nothing() -> None:
    assert loop() == []


def test_a_loop_that_goes_on_in_the_middle_of_an_epoch_is_told_nothing() -> None:
    model, x, y = Plain(), torch.randn(8, 1, 16, 16), torch.zeros(8, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved = None
        for _ in range(2):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            pruner = pat.PruningAwareTraining(
                model, optimizer, x, ratio=0.3, steps_per_epoch=2, policy=pat.policy.Never()
            )
            if saved is not None:
                pruner.load_state_dict(saved)
            F.cross_entropy(model(x), y).backward()
            pruner.step()
            optimizer.step()
            pruner.after_step()
            saved = pruner.state_dict()
        pruner.end_epoch()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"late": True}, "step() came after optimizer.step()"),
        ({"hold": False}, "after_step() was not called in the first epoch"),
        ({"announced": 4}, "step() was called 3 times in the first epoch, steps_per_epoch is 4"),
        ({"announced": 2}, "step() was called 3 times in the first epoch, steps_per_epoch is 2"),
    ],
)
def test_what_is_wrong_is_told_once(wrong: dict[str, int | bool], message: str) -> None:
    (told,) = loop(**wrong)  # type: ignore[arg-type]
    assert told.startswith(message)
