"""Widths that are multiples: what is kept of each group, how near the total stays, and a loop with them."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from networks import Plain
from torch import Tensor

from pat import PruningAwareTraining
from pat.policy import AtEpoch
from pat.structure import (
    channel_counts,
    kept_count,
    round_up,
    rounded_channels,
    top_channels,
    widened_channels,
)

STEPS = 6


def lists(kept: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: mask.int().tolist() for name, mask in kept.items()}


def test_the_largest_remainder_goes_up() -> None:
    scores = {"a": torch.arange(24.0), "b": torch.arange(8.0) + 11.5, "c": torch.arange(16.0) + 100}
    # By rank c's 16 and of a and b the highest 13: a has 23, 22, ..., b 18.5, 17.5, ...
    exact = channel_counts(top_channels(scores, 29))
    assert exact == {"a": 9, "b": 4, "c": 16}
    # In multiples of 4: a has 1 of 4 over 8. 8 + 4 + 16 = 28 is one under 29, 32 would be three over it.
    kept = rounded_channels(scores, 29, 4)
    assert channel_counts(kept) == {"a": 8, "b": 4, "c": 16}
    assert lists(kept)["a"] == [0] * 16 + [1] * 8
    # 31: a has 10, b has 5, so that a goes first; 28 + 4 = 32 is nearer to 31, 36 is not.
    assert channel_counts(top_channels(scores, 31)) == {"a": 10, "b": 5, "c": 16}
    assert channel_counts(rounded_channels(scores, 31, 4)) == {"a": 12, "b": 4, "c": 16}


def test_of_equal_scores_the_earlier_group_and_the_lower_channel_stay() -> None:
    zeros = {name: torch.zeros(8) for name in ("z", "a", "b")}
    # 12 by rank: z whole and half of a. Its half goes up if that is nearer: to 16 from 8 it is no nearer.
    assert channel_counts(rounded_channels(zeros, 12, 8)) == {"z": 8, "a": 0, "b": 0}
    assert channel_counts(rounded_channels(zeros, 13, 8)) == {"z": 8, "a": 8, "b": 0}
    equal = {"z": torch.tensor([2.0, 1, 1, 0, 0, 0]), "a": torch.tensor([2.0, 1, 1, 0, 0, 0])}
    # Three of each by rank, so half of a step of two over one step: only the earlier one goes up.
    assert lists(rounded_channels(equal, 6, 2)) == {"z": [1, 1, 1, 1, 0, 0], "a": [1, 1, 0, 0, 0, 0]}


def test_a_group_is_never_under_its_minimum_and_the_others_pay() -> None:
    scores = {"a": torch.arange(16.0) + 100, "b": torch.arange(16.0)}
    assert channel_counts(top_channels(scores, 16, min_channels=1)) == {"a": 15, "b": 1}
    assert channel_counts(rounded_channels(scores, 16, 4, min_channels=1)) == {"a": 12, "b": 4}
    small = {"a": torch.arange(16.0) + 100, "b": torch.arange(3.0)}
    assert channel_counts(rounded_channels(small, 12, 4, min_channels=1)) == {"a": 8, "b": 3}
    assert channel_counts(rounded_channels(small, 12, 4)) == {"a": 12, "b": 0}


def test_a_width_that_is_no_multiple_is_kept_whole_or_cut_to_one() -> None:
    scores = {"a": torch.arange(10.0), "b": torch.arange(10.0) - 100}
    assert channel_counts(rounded_channels(scores, 10, 4)) == {"a": 10, "b": 0}
    assert channel_counts(rounded_channels(scores, 9, 4)) in ({"a": 10, "b": 0}, {"a": 8, "b": 0})
    assert channel_counts(rounded_channels(scores, 8, 4)) == {"a": 8, "b": 0}


def test_channels_that_are_gone_do_not_come_back() -> None:
    scores = {"a": torch.tensor([-math.inf, 1, 2, 3, 4, 5]), "b": torch.tensor([0.5, 0.4, 0.3, 0.2])}
    assert lists(rounded_channels(scores, 6, 4))["a"] == [0, 1, 1, 1, 1, 1]
    assert lists(widened_channels(scores, top_channels(scores, 6), 4)) == {
        "a": [0, 1, 1, 1, 1, 1], "b": [1, 1, 1, 1]
    }  # fmt: skip


def test_a_multiple_of_one_may_be_as_far_off_as_the_ranking() -> None:
    scores = {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}
    # b counts three times: the ranking cannot keep two of four.
    exact = top_channels(scores, 2, {"a": 1, "b": 3})
    assert lists(rounded_channels(scores, 2, 1, {"a": 1, "b": 3})) == lists(exact)


groups = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=40), min_size=1, max_size=6)


@given(groups, st.integers(1, 16), st.integers(0, 3), st.booleans(), st.data())
def test_multiples_near_the_rank_and_near_the_total(
    values: list[list[int]], multiple: int, least: int, several: bool, data: st.DataObject
) -> None:
    scores = {f"g{i}": torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    weights = {name: data.draw(st.integers(1, 4)) if several else 1 for name in scores}
    sizes = {name: score.numel() for name, score in scores.items()}
    minimum = {name: min(round_up(least, multiple), size) for name, size in sizes.items()}
    total = sum(sizes[name] * weights[name] for name in scores)
    keep = data.draw(st.integers(sum(minimum[name] * weights[name] for name in scores), total))
    kept = rounded_channels(scores, keep, multiple, weights, least)
    counts = channel_counts(kept)
    ranked = channel_counts(top_channels(scores, keep, weights, round_up(least, multiple)))
    for name, count in counts.items():
        assert count % multiple == 0 or count == sizes[name]
        assert minimum[name] <= count <= sizes[name]
        assert abs(count - ranked[name]) < multiple
        order = sorted(range(sizes[name]), key=lambda c: (-scores[name][c].item(), c))
        assert kept[name].nonzero().flatten().tolist() == sorted(order[:count])
    off = abs(sum(counts[name] * weights[name] for name in counts) - keep)
    heaviest = max(weights.values())
    assert off < heaviest if multiple == 1 else off <= heaviest * multiple / 2


@given(groups, st.integers(0, 2), st.data())
def test_a_multiple_of_one_is_the_ranking(values: list[list[int]], least: int, data: st.DataObject) -> None:
    scores = {f"g{i}": torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    reserved = sum(min(least, len(v)) for v in values)
    keep = data.draw(st.integers(reserved, sum(map(len, values))))
    exact = top_channels(scores, keep, min_channels=least)
    assert lists(rounded_channels(scores, keep, 1, min_channels=least)) == lists(exact)
    assert lists(widened_channels(scores, exact, 1)) == lists(exact)


def test_bad_arguments() -> None:
    scores = {"a": torch.arange(8.0), "b": torch.arange(8.0)}
    with pytest.raises(ValueError, match="the multiple to round to must be at least 1, got 0"):
        rounded_channels(scores, 8, 0)
    with pytest.raises(ValueError, match="min_channels must not be negative, got -1"):
        rounded_channels(scores, 8, 4, min_channels=-1)
    with pytest.raises(ValueError, match="between 0 and the 16 there are, got 17"):
        rounded_channels(scores, 17, 4)


def trained(**settings: Any) -> tuple[Plain, PruningAwareTraining]:
    """A dense epoch, a pruning one, and a sparse one; the loop checks what every step leaves."""
    torch.manual_seed(0)
    model = Plain(width=16)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    defaults = {"ratio": 0.5, "steps_per_epoch": STEPS, "policy": AtEpoch(1)}
    pruner = PruningAwareTraining(model, optimizer, torch.zeros(2, 1, 8, 8), **(defaults | settings))
    for epoch in range(3):
        for step in range(STEPS):
            draw = torch.Generator().manual_seed(100 * epoch + step)
            labels = torch.randint(10, (16,), generator=draw)
            images = torch.randn(16, 1, 8, 8, generator=draw) + labels[:, None, None, None] / 5
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            pruner.step()
            optimizer.step()
            pruner.after_step()
            for mask in pruner.kept.values():  # what is left can be rounded either way
                assert int(mask.sum()) % settings.get("round_to", 1) == 0 or bool(mask.all())
        pruner.end_epoch()
    return model, pruner


@pytest.mark.parametrize("round_to", [2, 4, 8, 16])
@pytest.mark.parametrize("prune_steps", [1, 3])
@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
def test_a_loop_leaves_multiples_and_reports_what_that_costs(
    round_to: int, prune_steps: int, criterion: str
) -> None:
    model, pruner = trained(round_to=round_to, prune_steps=prune_steps, criterion=criterion)
    report = pruner.reports[1]
    assert report.counts == {"conv2": model.conv2.out_channels, "conv3": model.conv3.out_channels,
                             "conv4": model.conv4.out_channels}  # fmt: skip
    assert all(count % round_to == 0 and count >= round_to for count in report.counts.values())
    assert report.wanted == kept_count(3 * 32, 0.5)
    assert report.left == sum(report.counts.values())
    assert abs(report.left - report.wanted) <= round_to  # half a multiple of filters, two to a channel
    others = [r for r in pruner.reports if r.status != "prune"]
    assert all(r.wanted is None and r.left is None for r in others)


def test_exact_counts_are_the_default() -> None:
    (plain, exact), (one, rounded) = trained(), trained(round_to=1)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), one.parameters(), strict=True))
    assert exact.reports[1].counts == rounded.reports[1].counts
    assert exact.reports[1].left in (exact.reports[1].wanted, (exact.reports[1].wanted or 0) - 1)
    assert "round_to" not in exact.state_dict()["settings"]


def test_what_is_watched_stays_exact() -> None:
    (_, exact), (_, rounded) = trained(), trained(round_to=8)
    assert exact.reports[0].counts == rounded.reports[0].counts


def test_a_state_of_other_widths_is_refused() -> None:
    _, rounded = trained(round_to=8)
    model = Plain(width=16)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    settings: dict[str, Any] = {"ratio": 0.5, "steps_per_epoch": STEPS, "policy": AtEpoch(1)}
    other = PruningAwareTraining(model, optimizer, torch.zeros(2, 1, 8, 8), **settings)
    with pytest.raises(ValueError, match=r"the state was saved with .*round_to"):
        other.load_state_dict(rounded.state_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"round_to": 0}, "round_to must be a whole number of channels, at least 1, got 0"),
        ({"round_to": 8.0}, "at least 1, got 8.0"),
        ({"round_to": True}, "at least 1, got True"),
        ({"round_to": 32}, r"with round_to=32, .* are 96, more than the 48 to keep; lower it, or the ratio"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(**settings)
