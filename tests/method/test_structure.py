"""Structures: counts at every ratio, ties, multiplicity, and the properties a ranking must have."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import Plain, build
from torch import Tensor

from pat.channels import trace
from pat.structure import channel_counts, kept_count, top_channels

INF = math.inf


def tensors(**scores: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(values) for name, values in scores.items()}


def lists(kept: dict[str, Tensor]) -> dict[str, list[int]]:
    return {name: mask.int().tolist() for name, mask in kept.items()}


@pytest.mark.parametrize(
    ("total", "ratio", "kept"),
    [
        (100, 0.9, 10),  # (1 - 0.9) * 100 is 9.99... in floats
        (100, 0.7, 30),
        (10, 0.3, 7),  # 0.3 * 10 is exactly 3
        (10, 0.1 + 0.2, 7),  # 0.30000000000000004
        (10, 0.31, 6),  # at least the share goes: 3.1 of 10 are 4
        (3, 0.5, 1),
        (26560, 0.5, 13280),
        (26560, 0.1, 23904),
        (10311, 0.9, 1031),
        (7, 0.0, 7),
        (7, 1.0, 0),
        (0, 0.5, 0),
        (1, 0.01, 0),
    ],
)
def test_kept_count(total: int, ratio: float, kept: int) -> None:
    assert kept_count(total, ratio) == kept


@given(st.integers(0, 100_000), st.integers(0, 1000))
def test_kept_count_is_exact_in_every_thousandth(total: int, thousandths: int) -> None:
    exact = math.ceil(Fraction(thousandths, 1000) * total)
    assert total - kept_count(total, thousandths / 1000) == exact


@pytest.mark.parametrize("ratio", [-0.1, 1.1, math.nan])
def test_kept_count_refuses(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio must lie in"):
        kept_count(10, ratio)
    with pytest.raises(ValueError, match="total must not be negative"):
        kept_count(-1, 0.5)


def test_ranking_is_global() -> None:
    scores = tensors(a=[5, 1, 3], b=[4, 2, 6])
    assert lists(top_channels(scores, 3)) == {"a": [1, 0, 0], "b": [1, 0, 1]}
    assert lists(top_channels(scores, 0)) == {"a": [0, 0, 0], "b": [0, 0, 0]}
    assert lists(top_channels(scores, 6)) == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_ties_keep_the_earlier_group_then_the_lower_channel() -> None:
    scores = tensors(z=[1, 0, 0], a=[0, 1, 0])
    assert lists(top_channels(scores, 1)) == {"z": [1, 0, 0], "a": [0, 0, 0]}
    assert lists(top_channels(scores, 3)) == {"z": [1, 1, 0], "a": [0, 1, 0]}
    assert lists(top_channels(scores, 5)) == {"z": [1, 1, 1], "a": [1, 1, 0]}
    zeros = tensors(a=[0.0] * 5000, b=[0.0] * 5000)
    assert sum(channel_counts(top_channels(zeros, 5100)).values()) == 5100


def test_min_channels() -> None:
    scores = tensors(a=[9, 8, 7, 6], b=[1, 3, 2])
    assert lists(top_channels(scores, 4)) == {"a": [1, 1, 1, 1], "b": [0, 0, 0]}
    assert lists(top_channels(scores, 4, min_channels=1)) == {"a": [1, 1, 1, 0], "b": [0, 1, 0]}
    assert lists(top_channels(scores, 4, min_channels=2)) == {"a": [1, 1, 0, 0], "b": [0, 1, 1]}
    # Small groups stay whole.
    assert lists(top_channels(scores, 7, min_channels=9)) == {"a": [1, 1, 1, 1], "b": [1, 1, 1]}
    with pytest.raises(ValueError, match="min_channels=2 of each of 2 groups are 4, more than the 3 to keep"):
        top_channels(scores, 3, min_channels=2)


def test_multiplicity_keeps_the_longest_prefix() -> None:
    scores = tensors(a=[9, 5], b=[8, 7, 1])
    # In order: a0 (3 filters), b0 (1), b1 (1), a1 (3), b2 (1).
    weights = {"a": 3, "b": 1}
    kept = {keep: lists(top_channels(scores, keep, weights)) for keep in range(10)}
    assert kept[2] == {"a": [0, 0], "b": [0, 0, 0]}  # a0 does not fit, and nothing overtakes it
    assert kept[3] == {"a": [1, 0], "b": [0, 0, 0]}
    assert kept[4] == {"a": [1, 0], "b": [1, 0, 0]}
    assert kept[5] == kept[6] == kept[7] == {"a": [1, 0], "b": [1, 1, 0]}
    assert kept[8] == {"a": [1, 1], "b": [1, 1, 0]}
    assert kept[9] == {"a": [1, 1], "b": [1, 1, 1]}
    # The reserved channels count with their filters.
    assert lists(top_channels(scores, 5, weights, 1)) == {"a": [1, 0], "b": [1, 1, 0]}
    with pytest.raises(ValueError, match="are 4, more than the 3"):
        top_channels(scores, 3, weights, 1)


def test_channels_that_are_gone_come_last() -> None:
    scores = tensors(a=[-INF, 0.0, 1.0], b=[-INF, 2.0])
    assert lists(top_channels(scores, 3)) == {"a": [0, 1, 1], "b": [0, 1]}
    assert lists(top_channels(scores, 1, min_channels=0)) == {"a": [0, 0, 0], "b": [0, 1]}


def test_nothing_to_rank() -> None:
    assert top_channels({}, 0) == {}
    assert lists(top_channels({"a": torch.zeros(0), "b": torch.ones(2)}, 1, min_channels=1)) == {
        "a": [],
        "b": [1, 0],
    }


def test_bad_arguments() -> None:
    scores = tensors(a=[1.0, 2.0], b=[3.0])
    for keep in (-1, 4):
        with pytest.raises(ValueError, match=f"between 0 and the 3 there are, got {keep}"):
            top_channels(scores, keep)
    with pytest.raises(ValueError, match="between 0 and the 7 there are, got 8"):
        top_channels(scores, 8, {"a": 2, "b": 3})
    with pytest.raises(ValueError, match="min_channels must not be negative"):
        top_channels(scores, 1, min_channels=-1)
    with pytest.raises(ValueError, match="must not be NaN, as in 'b'"):
        top_channels(tensors(a=[1.0], b=[math.nan]), 1)


groups = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=5)


@given(groups, st.data())
def test_exactly_the_asked_number_whatever_ties(values: list[list[int]], data: st.DataObject) -> None:
    scores = {f"g{i}": torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    total = sum(len(v) for v in values)
    ratio = data.draw(st.floats(0, 1))
    keep = kept_count(total, ratio)
    kept = top_channels(scores, keep)
    assert sum(channel_counts(kept).values()) == keep
    assert total - keep >= ratio * total - 1e-6
    worst = min((s[kept[n]].min().item() for n, s in scores.items() if kept[n].any()), default=INF)
    best = max((s[~kept[n]].max().item() for n, s in scores.items() if not kept[n].all()), default=-INF)
    assert worst >= best
    more = top_channels(scores, min(keep + 1, total))
    assert all(bool((more[n] | ~kept[n]).all()) for n in kept)  # prefixes of one ranking


@given(groups, st.data())
def test_in_filters_the_smallest_number_not_under_it_goes(
    values: list[list[int]], data: st.DataObject
) -> None:
    scores = {f"g{i}": torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    weights = {name: data.draw(st.integers(1, 4)) for name in scores}
    total = sum(s.numel() * weights[n] for n, s in scores.items())
    keep = data.draw(st.integers(0, total))
    kept = top_channels(scores, keep, weights)
    # By hand: walk the ranking until the next unit does not fit.
    ranking = sorted(
        ((-value, i, c) for i, v in enumerate(values) for c, value in enumerate(v)),
    )
    left, expected = keep, {name: [0] * s.numel() for name, s in scores.items()}
    for _, i, c in ranking:
        left -= weights[f"g{i}"]
        if left < 0:
            break
        expected[f"g{i}"][c] = 1
    assert lists(kept) == expected


@given(groups, st.integers(0, 3), st.data())
def test_min_channels_holds(values: list[list[int]], least: int, data: st.DataObject) -> None:
    scores = {f"g{i}": torch.tensor(v, dtype=torch.float32) for i, v in enumerate(values)}
    reserved = sum(min(least, len(v)) for v in values)
    total = sum(len(v) for v in values)
    keep = data.draw(st.integers(reserved, total))
    kept = top_channels(scores, keep, min_channels=least)
    assert sum(channel_counts(kept).values()) == keep
    for name, score in scores.items():
        assert int(kept[name].sum()) >= min(least, score.numel())
        if not kept[name].all() and kept[name].any():
            assert score[kept[name]].min() >= score[~kept[name]].max()


def test_counts_per_layer() -> None:
    model = Plain()
    traced = trace(model, torch.randn(2, 1, 8, 8))
    kept = {
        "conv1": torch.arange(8) < 5,
        "conv2": torch.arange(16) < 3,
        "conv4": torch.zeros(16, dtype=torch.bool),
    }
    assert channel_counts(kept) == {"conv1": 5, "conv2": 3, "conv4": 0}
    assert channel_counts(kept, traced) == {"conv1": 5, "conv2": 3, "conv3": 3, "conv4": 0}


def test_counts_per_layer_sum_to_the_filters_kept() -> None:
    model, x = build("mobilenet_v2")
    neurons = trace(model, x).neurons()
    multiplicity = {name: group.multiplicity for name, group in neurons.items()}
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(group.size, generator=generator) for name, group in neurons.items()}
    kept = top_channels(scores, 5000, multiplicity)
    counts = channel_counts(kept, neurons)
    assert sum(counts.values()) == sum(n * multiplicity[g] for g, n in channel_counts(kept).items())
    assert sum(counts.values()) in range(5001 - max(multiplicity.values()), 5001)
    assert counts["features.3.conv.0.0"] == counts["features.3.conv.1.0"]  # depthwise counts too
