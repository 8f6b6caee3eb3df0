"""Others' rules for the moment to prune: worked by hand, against other computations, from a checkpoint."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from networks import Plain
from torch import Tensor

from pat import PruningAwareTraining
from pat.policy import POLICIES, NamedPolicy, Seen, Trigger
from pat.rivals.triggers import (
    EarlyBERT,
    EarlyBird,
    Kendall,
    LossPlateau,
    OCSPruner,
    ShareOfSchedule,
    Spearman,
)
from pat.rivals.triggers.loss_plateau import progress
from pat.rivals.triggers.threshold import Told
from pat.study.plan.profile import load_profile
from pat.training import checkpoint

EPOCHS = 12
WATCHING = (EarlyBird(), EarlyBERT(), OCSPruner(), Spearman(0.5), Kendall(0.5), LossPlateau())


def drifting(seed: int = 0, epochs: int = EPOCHS) -> list[Seen]:
    """Scores of two groups that move less and less, the better half of each kept, and a falling loss."""
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(size, generator=generator) for name, size in (("a", 10), ("b", 20))}
    found = []
    for epoch in range(epochs):
        scores = {
            name: score + torch.randn(score.shape, generator=generator) * 2.0**-epoch
            for name, score in scores.items()
        }
        kept = {name: score > score.median() for name, score in scores.items()}
        found.append(Seen(scores, kept, 1 + 2.0**-epoch))
    return found


def flat(masks: dict[str, Tensor]) -> np.ndarray:
    return np.concatenate([masks[name].numpy() for name in ("a", "b")])


def watch(policy: Trigger, seen: Sequence[Seen]) -> Trigger:
    fresh = dataclasses.replace(policy)
    for told in seen:
        fresh.update({}, told)
    return fresh


def masks(*kept: Sequence[int]) -> list[Seen]:
    """One group of ten channels; those that are kept, by epoch."""
    return [Seen({}, {"a": torch.tensor([at in now for at in range(10)])}) for now in kept]


# Worked by hand


def test_early_bird_waits_until_five_distances_are_small() -> None:
    near = [(0, 1, 2, 3, 4), (0, 1, 2, 3)] * 3  # one channel of ten differs
    policy = watch(EarlyBird(), masks((5, 6, 7, 8, 9), *near))
    # Distances 1.0, then five of 0.1: the largest of the last five is 1.0 after epoch 5, 0.1 after epoch 6.
    assert policy.values == pytest.approx([None] * 5 + [1.0, 0.1])
    assert (policy.trigger_epoch, policy.prune_epoch) == (6, 7)


def test_earlybert_looks_once() -> None:
    policy = watch(EarlyBERT(), masks((0, 1), (0, 2), (0, 2)))
    assert policy.values == pytest.approx([None, 0.2, 0.0])
    assert policy.prune_epoch == 3


def test_ocspruner_compares_two_epochs_apart_and_takes_three_together() -> None:
    policy = watch(OCSPruner(threshold=0.7), masks((0, 1), (5,), (0, 1), (5,), (0, 2), (5,)))
    # Jaccard with two epochs before: 1, 1, 1/3 (one of three channels), 1.
    assert policy.values == pytest.approx([None, None, None, None, 7 / 9, 7 / 9])
    assert policy.prune_epoch == 5
    assert watch(OCSPruner(), masks(*[(0, 1)] * 5)).prune_epoch == 5


def test_the_progress_of_a_strip() -> None:
    assert progress([2.0, 1.0, 1.0, 1.0, 1.0]) == pytest.approx(200)  # mean 1.2 against the smallest, 1
    assert progress([1.0, 1.0]) == 0
    assert progress([1.0, math.nan]) is None
    assert progress([0.0, 1.0]) is None


def test_a_loss_plateau_is_looked_for_at_the_end_of_strips() -> None:
    losses = [3.0, 2.0, 1.0, 1.0, 1.00005, 1.0]
    policy = watch(LossPlateau(strip=2), [Seen({}, {}, loss) for loss in losses])
    assert policy.values == pytest.approx([None, 250.0, None, 0.0, None, 0.025])
    assert policy.trigger_epoch == 3
    assert watch(LossPlateau(), [Seen({}, {}, math.inf)] * 5).values == [None] * 5


@pytest.mark.parametrize(
    ("share", "epochs", "epoch"), [(1 / 3, 90, 30), (1 / 3, 24, 8), (0.3, 10, 3), (0, 7, 0), (0.999, 4, 3)]
)
def test_a_share_of_the_schedule(share: float, epochs: int, epoch: int) -> None:
    assert ShareOfSchedule(share).build(seed=0, epochs=epochs).prune_epoch == epoch
    assert ShareOfSchedule(share, of=epochs).prune_epoch == epoch


# Against independent computations


def test_mask_rules_against_numpy() -> None:
    seen = drifting()
    kept = [flat(dict(told.kept)) for told in seen]
    distances = [float((b != a).mean()) for a, b in pairwise(kept)]
    assert watch(EarlyBird(), seen).values[5:] == pytest.approx(
        [max(distances[at - 5 : at]) for at in range(5, EPOCHS)]
    )
    assert watch(EarlyBERT(), seen).values[1:] == pytest.approx(distances)

    def jaccard(one: Seen, two: Seen) -> float:
        parts = [(one.kept[n].numpy(), two.kept[n].numpy()) for n in ("a", "b")]
        return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in parts]))

    indices = [jaccard(seen[at], seen[at - 2]) for at in range(2, EPOCHS)]
    assert watch(OCSPruner(), seen).values[4:] == pytest.approx(
        [np.mean(indices[at - 2 : at + 1]) for at in range(2, len(indices))]
    )


@pytest.mark.parametrize(
    ("policy", "correlation"),
    [
        (Spearman(0.9, look_back=3), scipy.stats.spearmanr),
        (Kendall(0.9, look_back=3), scipy.stats.kendalltau),
    ],
)
def test_rankings_against_scipy(policy: Trigger, correlation: Callable[..., object]) -> None:
    seen = drifting()
    scores = [flat(dict(told.scores)) for told in seen]
    expected = [
        np.mean([correlation(scores[at], scores[at - back]).statistic for back in (1, 2, 3)])  # type: ignore[attr-defined]
        for at in range(3, EPOCHS)
    ]
    found = watch(policy, seen)
    assert found.values[:3] == [None] * 3
    assert found.values[3:] == pytest.approx(expected)
    assert found.trigger_epoch == 3 + next(at for at, value in enumerate(expected) if value >= 0.9)


def test_scores_without_a_ranking_say_nothing() -> None:
    constant = [Seen({"a": torch.ones(4)}, {})] * 4
    assert watch(Spearman(-1.0, look_back=1), constant).values == [None] * 4


# What a record knows


def test_comparisons_that_a_record_keeps_fire_as_the_masks_did() -> None:
    seen = drifting()
    for policy, measure in (
        (EarlyBird(), "hamming"),
        (EarlyBERT(), "hamming"),
        (OCSPruner(apart=1), "jaccard"),
    ):
        single = {"threshold": policy.threshold, "window": 1, "apart": 1}
        compared = watch(dataclasses.replace(policy, **single), seen).values
        told = [Told({}, {}, before={measure: value}) for value in compared]
        assert watch(policy, told).values == pytest.approx(watch(policy, seen).values)
    means = watch(Spearman(0.5, look_back=3), seen).values
    told = [Told({}, {}, window={"spearman": mean}, look_back=3) for mean in means]
    assert watch(Spearman(0.5, look_back=3), told).values == means


# Going on, settings, errors


@pytest.mark.parametrize("policy", WATCHING, ids=lambda policy: policy.kind)
@pytest.mark.parametrize("after", [1, 4])
def test_it_goes_on_from_a_checkpoint(policy: Trigger, after: int, tmp_path: Path) -> None:
    seen = drifting()
    begun, whole = watch(policy, seen[:after]), watch(policy, seen)
    checkpoint.save(tmp_path / "state", begun.state_dict())
    goes_on = dataclasses.replace(policy)
    goes_on.load_state_dict(checkpoint.load(tmp_path / "state"))
    for told in seen[after:]:
        goes_on.update({}, told)
    assert goes_on.values == whole.values
    assert goes_on.prune_epoch == whole.prune_epoch
    assert any(value is not None for value in whole.values)


@pytest.mark.parametrize("policy", WATCHING, ids=lambda policy: policy.kind)
def test_the_first_signal_is_where_it_says(policy: Trigger) -> None:
    values = watch(policy, drifting()).values
    first = next(at for at, value in enumerate(values) if value is not None)
    assert policy.earliest == first + 1
    assert dataclasses.replace(policy, fallback=2).earliest == min(first + 1, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyBird(threshold=1.1), r"threshold must lie in \[0, 1\], got 1.1"),
        (lambda: EarlyBird(threshold=math.nan), "threshold must lie in"),
        (lambda: EarlyBird(window=0), "window must be at least 1, got 0"),
        (lambda: OCSPruner(apart=0), "apart must be at least 1, got 0"),
        (lambda: Spearman(1.5), r"threshold must lie in \[-1, 1\], got 1.5"),
        (lambda: Kendall(0.5, look_back=0), "look_back must be at least 1, got 0"),
        (lambda: LossPlateau(threshold=-1), r"threshold must lie in \[0, inf\], got -1"),
        (lambda: LossPlateau(strip=1), "strip must be at least 2, got 1"),
        (lambda: EarlyBERT(fallback=-1), "fallback must not be negative, got -1"),
        (lambda: ShareOfSchedule(1.0), r"share must lie in \[0, 1\), got 1.0"),
        (lambda: ShareOfSchedule(0.5, of=0), "at least 1 epoch, got 0"),
        (lambda: ShareOfSchedule().prune_epoch, "give ShareOfSchedule its epochs"),
        (lambda: LossPlateau().update({}, Seen({}, {})), "watches the training loss"),
        (lambda: EarlyBird().update({}), "was told the structure alone"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_profile_gives_them_what_it_knows_and_refuses_what_cannot_prune_in_time() -> None:
    profile = load_profile("digits-24")
    assert profile.policy("early_bird", "gradient", {}).options() == {
        "threshold": 0.1, "window": 5, "apart": 1, "fallback": None,
    }  # fmt: skip
    assert profile.policy("spearman", "gradient", {"threshold": 0.9}).options()["look_back"] == 5
    with pytest.raises(ValueError, match="threshold"):
        profile.policy("kendall", "gradient", {})
    with pytest.raises(ValueError, match="Early-Bird prunes in epoch 6 at the earliest, but 'smoke' ends"):
        load_profile("smoke").policy("early_bird", "gradient", {})
    run = profile.spec(criterion="gradient", ratio=0.5, policy=profile.policy("share", "gradient", {}))
    assert run.title == "resnet8-bottleneck gradient 50 % at epoch 8, seed 0"
    by_bird = profile.spec(
        criterion="gradient", ratio=0.5, policy=profile.policy("early_bird", "gradient", {})
    )
    assert by_bird.title == "resnet8-bottleneck gradient 50 % by Early-Bird, seed 0"
    assert type(by_bird).model_validate(by_bird.model_dump(mode="json")) == by_bird


def test_all_are_registered_with_a_source() -> None:
    own: list[type[NamedPolicy]] = [*(type(policy) for policy in WATCHING), ShareOfSchedule]
    for entry in own:
        assert POLICIES[entry.kind] is entry
        assert entry.source
        assert entry.title


def test_in_a_loop_it_prunes_in_the_epoch_after() -> None:
    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    policy = EarlyBERT(threshold=1.0)  # the first distance there is
    pruning = PruningAwareTraining(
        model, optimizer, torch.zeros(2, 1, 8, 8), ratio=0.5, steps_per_epoch=2, policy=policy
    )
    for _ in range(4):
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(4, 1, 8, 8)), torch.randint(10, (4,))).backward()
            pruning.step()
            optimizer.step()
            pruning.after_step()
        pruning.end_epoch()
    assert [report.status for report in pruning.reports] == ["dense", "dense", "prune", "sparse"]
