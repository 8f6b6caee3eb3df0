"""Latency: measured tables of layers, what removing a channel saves, and the penalty on saliency."""

import pytest
import torch
import torch.nn.functional as F
from networks import Plain
from torch import Tensor

from pat import PruningAwareTraining
from pat.policy import EPI, AtEpoch, Policy
from pat.pruner import Adjust

torch.set_num_threads(1)


def trained(adjust: Adjust | None, policy: Policy, epochs: int) -> PruningAwareTraining:
    """A plain network after some epochs of two steps."""
    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    example = torch.zeros(2, 1, 8, 8)
    pruner = PruningAwareTraining(
        model, optimizer, example, ratio=0.5, steps_per_epoch=2, policy=policy, adjust=adjust
    )
    for _ in range(2 * epochs):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.randint(10, (8,))).backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
        if pruner._iteration == 2:
            pruner.end_epoch()
    return pruner


def favouring_the_last(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """As if a channel's number were its importance."""
    return {name: torch.arange(len(score)).float() for name, score in scores.items()}


def test_algorithm_1_ranks_by_adjusted_scores() -> None:
    pruner = trained(favouring_the_last, AtEpoch(0), 1)
    for mask in pruner.kept.values():
        gone = int((~mask).sum())
        assert not mask[:gone].any()
        assert mask[gone:].all()


def test_adjustment_sees_what_is_kept_and_pruned_channels_never_return() -> None:
    seen = []

    def all_equal(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append({name: mask.clone() for name, mask in kept.items()})
        sign = 1 if len(seen) == 1 else -1  # turned round between two steps
        return {name: sign * torch.arange(len(score)).float() for name, score in scores.items()}

    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    pruner = PruningAwareTraining(
        model, optimizer, torch.zeros(2, 1, 8, 8), ratio=0.5, steps_per_epoch=4, policy=AtEpoch(0),
        adjust=all_equal,
    )  # fmt: skip
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 1, 8, 8)).square().mean().backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
    assert len(seen) == 2
    assert all(mask.all() for mask in seen[0].values())
    assert not all(mask.all() for mask in seen[1].values())
    assert not any((pruner.kept[name] & ~mask).any() for name, mask in seen[1].items())


def test_what_epi_watches_is_not_adjusted() -> None:
    def refuse(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        raise AssertionError("adjusted in a dense epoch")

    policy = EPI(0.99, look_back=1, patience=0)
    plain = trained(None, policy, 1)
    watched = trained(refuse, EPI(0.99, look_back=1, patience=0), 1)
    assert plain.reports[0].counts == watched.reports[0].counts


@pytest.mark.parametrize(
    "wrong",
    [lambda scores: {}, lambda scores: {name: score[1:] for name, score in scores.items()}],
    ids=["a group is missing", "another size"],
)
def test_an_adjustment_of_other_shape_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="adjust must give 16 scores for group 'conv2'"):
        trained(lambda scores, kept: wrong(scores), AtEpoch(0), 1)
