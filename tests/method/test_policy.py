"""Policies: when each prunes, drawn and triggered by hand."""

from collections import Counter

import pytest
import torch

from pat.policy import EPI, AtEpoch, Never, Policy, RandomEpoch


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fixed() -> None:
    for policy, epoch in ((AtEpoch(0), 0), (AtEpoch(7), 7), (Never(), None)):
        assert policy.prune_epoch == epoch
        assert policy.update({"a": 1}) is None
        assert policy.prune_epoch == epoch
    for epoch in (-1, 1.5, "2"):
        with pytest.raises(ValueError, match=f"whole number, not negative, got {epoch!r}"):
            AtEpoch(epoch)  # type: ignore[arg-type]


def test_random_draws_once_and_includes_both_ends() -> None:
    policy = RandomEpoch(0, 30, generator(0))
    assert policy.prune_epoch == RandomEpoch(0, 30, generator(0)).prune_epoch
    source = generator(0)
    drawn = Counter(RandomEpoch(2, 4, source).prune_epoch for _ in range(300))
    assert set(drawn) == {2, 3, 4}
    assert min(drawn.values()) > 70
    assert RandomEpoch(5, 5, source).prune_epoch == 5
    for low, high in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match=rf"got \[{low}, {high}\]"):
            RandomEpoch(low, high, source)
    with pytest.raises(ValueError, match=r"expected a torch\.Generator, .*got 0"):
        RandomEpoch(1, 3, 0)  # type: ignore[arg-type]


def test_random_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    RandomEpoch(0, 30, generator(1))
    assert torch.equal(before, torch.get_rng_state())


def test_epi_prunes_in_the_epoch_after_the_trigger() -> None:
    policy = EPI(0.9, look_back=1, patience=1)
    assert policy.update([5, 5]) is None
    assert policy.update([5, 5]) == 1
    assert policy.prune_epoch is None
    assert policy.update([5, 5]) == 1
    assert policy.prune_epoch == 3
    policy.update([1, 9])
    assert policy.prune_epoch == 3


def test_epis_fallback() -> None:
    late, early = EPI(0.9, 1, 1, fallback=6), EPI(0.9, 1, 1, fallback=2)
    for policy in (late, early):
        for _ in range(3):
            policy.update([5, 5])
    assert EPI(0.9, fallback=6).prune_epoch == 6
    assert late.prune_epoch == 3
    assert early.prune_epoch == 2
    assert EPI(0.9).prune_epoch is None
    with pytest.raises(ValueError, match="fallback must not be negative, got -2"):
        EPI(0.9, fallback=-2)
    with pytest.raises(ValueError, match="threshold must lie in"):
        EPI(3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (EPI(0.9, 2, 1), EPI(0.9, 2, 1)),
        (RandomEpoch(0, 1000, generator(0)), RandomEpoch(0, 1000, generator(0))),
        (Never(), Never()),
        (AtEpoch(3), AtEpoch(3)),
    ],
)
def test_state_goes_on(first: Policy, second: Policy) -> None:
    for counts in ([5, 5], [4, 6], [5, 5]):
        first.update(counts)
    second.load_state_dict(first.state_dict())
    for counts in ([5, 5], [5, 5], [5, 5]):
        assert first.update(counts) == second.update(counts)
    assert first.prune_epoch == second.prune_epoch


def test_settings_tell_policies_apart() -> None:
    assert Never().settings() != AtEpoch(0).settings() != AtEpoch(1).settings()
    assert RandomEpoch(4, 4, generator(0)).settings() == AtEpoch(4).settings()
    policy = EPI(0.9, 2, 1)
    before = policy.settings()
    for _ in range(6):
        policy.update([5, 5])
    assert policy.prune_epoch is not None
    assert policy.settings() == before  # what it has seen is its state
