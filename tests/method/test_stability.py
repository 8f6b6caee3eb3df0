"""Stability: Eq. 4-6 and Algorithm 2's trigger by hand; rank correlations and mask distances beside them."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pat.stability import (
    EarlyPruningIndicator,
    highest_threshold,
    layer_distance,
    leading,
    mask_distance,
    mask_jaccard,
    rank_correlation,
    similarity,
)


def test_layer_distance_by_hand() -> None:
    assert layer_distance(3, 1) == 0.5
    assert layer_distance(1, 3) == 0.5
    assert layer_distance(4, 4) == 0
    assert layer_distance(0, 7) == 1
    assert layer_distance(0, 0) == 0
    with pytest.raises(ValueError, match="got -1 and 2"):
        layer_distance(-1, 2)


def test_similarity_by_hand() -> None:
    # d = 1/2, 0, 1/3: Psi = 1 - 5/18.
    assert similarity([3, 5, 2], [1, 5, 4]) == pytest.approx(13 / 18)
    assert similarity({"a": 3, "b": 5, "c": 2}, {"c": 4, "a": 1, "b": 5}) == pytest.approx(13 / 18)
    assert similarity([2, 0], [0, 3]) == 0
    assert similarity([0, 4], [0, 4]) == 1
    # One neuron that moves into an emptied layer costs at least 1/L (scale.md).
    assert similarity([1] + [8] * 12, [0] + [8] * 12) == pytest.approx(1 - 1 / 13)


def test_similarity_refuses() -> None:
    with pytest.raises(ValueError, match=r"different layers: \['b', 'c'\]"):
        similarity({"a": 1, "b": 2}, {"a": 1, "c": 2})
    with pytest.raises(ValueError, match="2 and 3 layers"):
        similarity([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="both"):
        similarity({"a": 1}, [1])
    with pytest.raises(ValueError, match="at least one layer"):
        similarity([], [])
    with pytest.raises(ValueError, match="at least one layer"):
        similarity({}, {})


structures = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 2048), min_size=n, max_size=n)] * 2)
)


@given(structures)
def test_similarity_is_symmetric_bounded_and_one_only_for_equals(pair: tuple[list[int], list[int]]) -> None:
    first, second = pair
    value = similarity(first, second)
    assert value == similarity(second, first)
    assert 0 <= value <= 1
    assert (value == 1) == (first == second)
    assert similarity(first, first) == 1


@given(structures)
def test_similarity_does_not_depend_on_the_layers_order(pair: tuple[list[int], list[int]]) -> None:
    first, second = pair
    assert similarity(first, second) == similarity(first[::-1], second[::-1])


def test_epi_is_the_mean_over_the_epochs_before() -> None:
    indicator = EarlyPruningIndicator(threshold=1, look_back=2, patience=0)
    history = [[4, 4], [2, 6], [3, 5], [4, 4]]
    values = [indicator.update(counts) for counts in history]
    assert values[:2] == [None, None]
    # Psi(3 5, 2 6) = 1 - (1/5 + 1/11)/2, Psi(3 5, 4 4) = 1 - (1/7 + 1/9)/2.
    assert values[2] == pytest.approx(1 - (1 / 5 + 1 / 11 + 1 / 7 + 1 / 9) / 4)
    # Epoch 0 is no longer looked at: Psi(4 4, 2 6) = 1 - (1/3 + 1/5)/2.
    assert values[3] == pytest.approx(1 - (1 / 7 + 1 / 9 + 1 / 3 + 1 / 5) / 4)
    assert indicator.values == values


def test_epi_of_the_available_epochs() -> None:
    indicator = EarlyPruningIndicator(threshold=1, look_back=2, patience=0, history="available")
    values = [indicator.update(counts) for counts in ([4, 4], [2, 6], [3, 5])]
    assert values[0] is None
    assert values[1] == pytest.approx(1 - (1 / 3 + 1 / 5) / 2)
    assert values[2] == pytest.approx(1 - (1 / 5 + 1 / 11 + 1 / 7 + 1 / 9) / 4)


def drive(indicator: EarlyPruningIndicator, values: list[float]) -> list[int]:
    """Epochs from which on the indicator is triggered, fed with structures of two layers whose EPI with
    look-back 1 is the wanted value."""
    fired = []
    counts = (1 << 20, 1)
    indicator.update(list(counts))
    for epoch, value in enumerate(values, start=1):
        distance = 2 * (1 - value)  # all in the first layer
        n = counts[0]
        counts = (round(n * (1 - distance) / (1 + distance)), 1)
        assert indicator.update(list(counts)) == pytest.approx(value, abs=2e-3)
        if indicator.triggered:
            fired.append(epoch)
    return fired


def test_trigger_by_hand() -> None:
    # look_back 1: EPI is defined from epoch 1. patience 2: epochs 3 on may trigger.
    rising = [0.91, 0.93, 0.95, 0.97]
    assert drive(EarlyPruningIndicator(0.9, 1, 2), rising)[0] == 3
    # Above the threshold, but under one of the two before: 0.95 < 0.97, then 0.96 < 0.97, then 0.98.
    assert drive(EarlyPruningIndicator(0.9, 1, 2), [0.93, 0.97, 0.95, 0.96, 0.98])[0] == 5
    # The highest of the last two, never over the threshold.
    assert drive(EarlyPruningIndicator(0.99, 1, 2), rising) == []
    # patience 0: the threshold alone.
    assert drive(EarlyPruningIndicator(0.96, 1, 0), [0.97, 0.93])[0] == 1


def test_first_possible_trigger_is_ten() -> None:
    indicator = EarlyPruningIndicator(threshold=0.983)
    for epoch in range(12):
        assert indicator.triggered == (epoch > 10)
        value = indicator.update([7, 9])
        assert value == (None if epoch < 5 else 1)
    assert indicator.trigger_epoch == 10


def test_first_possible_trigger_with_available_history_is_one() -> None:
    indicator = EarlyPruningIndicator(threshold=0.983, history="available")
    indicator.update([7, 9])
    assert not indicator.triggered
    indicator.update([7, 9])
    assert indicator.trigger_epoch == 1


def test_available_history_counts_the_values_that_are_defined() -> None:
    indicator = EarlyPruningIndicator(threshold=0.5, look_back=1, patience=5, history="available")
    indicator.update([100, 100])
    assert indicator.update([100, 10]) == pytest.approx(1 - 90 / 110 / 2)  # 0.59, over the threshold
    assert indicator.trigger_epoch == 1
    strict = EarlyPruningIndicator(threshold=0.8, look_back=1, patience=5, history="available")
    for counts in ([100, 100], [100, 99], [100, 85], [100, 85]):
        strict.update(counts)
    assert strict.trigger_epoch == 1


@given(st.permutations([3, 7, 10, 13, 17, 30, 41]))
def test_rounding_does_not_stand_in_the_way_of_equal_values(counts: list[int]) -> None:
    # The three structures differ from each other by the same distances in other layers, so EPI is one
    # value at every epoch, and EPI_t >= each of the values before it holds.
    turns = [counts, [*counts[1:], counts[0]], [*counts[2:], *counts[:2]]]
    indicator = EarlyPruningIndicator(threshold=0, look_back=1, patience=3)
    for turn in range(5):
        indicator.update(turns[1] if turn % 2 else turns[0])
    shifted = EarlyPruningIndicator(threshold=0, look_back=1, patience=1)
    for structure in turns:
        shifted.update(structure)
    assert indicator.trigger_epoch == 4
    assert shifted.trigger_epoch == 2


@given(st.permutations([(13, 7, 3), (11, 8, 4), (17, 5, 1), (9, 9, 9), (2, 30, 5)]))
def test_epi_does_not_depend_on_the_order_of_the_epochs_before(past: list[tuple[int, ...]]) -> None:
    def epi(history: list[tuple[int, ...]]) -> float | None:
        indicator = EarlyPruningIndicator(threshold=1)
        return [indicator.update(counts) for counts in [*history, (12, 6, 7)]][-1]

    assert epi(past) == epi(sorted(past))


def test_the_trigger_stays() -> None:
    indicator = EarlyPruningIndicator(threshold=0.9, look_back=1, patience=1)
    for counts in ([10, 10], [10, 10], [10, 10], [1, 19], [19, 1]):
        indicator.update(counts)
    assert indicator.trigger_epoch == 2
    assert indicator.values[-1] < 0.5
    assert indicator.triggered


def test_state_goes_on() -> None:
    generator = torch.Generator().manual_seed(0)
    history = [torch.randint(1, 20, (6,), generator=generator).tolist() for _ in range(20)]
    history = [dict(enumerate(counts)) for counts in history]
    whole = EarlyPruningIndicator(0.5, 3, 2)
    for counts in history:
        whole.update(counts)
    for cut in range(20):
        first, second = EarlyPruningIndicator(0.5, 3, 2), EarlyPruningIndicator(0.5, 3, 2)
        for counts in history[:cut]:
            first.update(counts)
        second.load_state_dict(first.state_dict())
        values = list(second.values)
        first.update(history[0])  # the state is a copy
        assert second.values == values
        for counts in history[cut:]:
            second.update(counts)
        assert second.values == whole.values
        assert second.trigger_epoch == whole.trigger_epoch


def test_counts_are_copied() -> None:
    indicator = EarlyPruningIndicator(1, look_back=1)
    counts = {"a": 3, "b": 4}
    indicator.update(counts)
    counts["a"] = 30
    assert indicator.update(counts) < 1


def test_other_layers_are_an_error_from_the_start() -> None:
    indicator = EarlyPruningIndicator(0.9)
    indicator.update([1, 2])
    with pytest.raises(ValueError, match="3 and 2 layers"):
        indicator.update([1, 2, 3])
    assert indicator.values == [None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.1}, "threshold must lie in"),
        ({"threshold": math.nan}, "threshold must lie in"),
        ({"threshold": 0.9, "look_back": 0}, "look_back must be at least 1, got 0"),
        ({"threshold": 0.9, "patience": -1}, "patience must not be negative, got -1"),
        ({"threshold": 0.9, "history": "some"}, "'full' or 'available', got 'some'"),
    ],
)
def test_bad_parameters(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyPruningIndicator(**arguments)


# --- rank correlation, mask distances ----------------------------------------------------------------------


def tensors(**values: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(v) for name, v in values.items()}


def test_rank_correlation_by_hand() -> None:
    first = tensors(a=[1.0, 2.0], b=[3.0, 4.0])
    # Ranks 1 2 3 4 against 2 1 4 3: rho = 1 - 6 * 4 / (4 * 15) = 0.6; 4 pairs agree, 2 do not: tau = 1/3.
    second = tensors(b=[9.0, 8.0], a=[5.0, 1.0])
    assert rank_correlation(first, second) == pytest.approx((0.6, 1 / 3))
    assert rank_correlation(first, first) == pytest.approx((1, 1))
    reverse = {name: -scores for name, scores in first.items()}
    assert rank_correlation(first, reverse) == pytest.approx((-1, -1))
    # Over all units and not group by group: within a and within b the order is the same here.
    assert rank_correlation(first, tensors(a=[3.0, 4.0], b=[1.0, 2.0])) == pytest.approx((-0.6, -1 / 3))


def test_tau_b_corrects_for_ties() -> None:
    # Pairs: 4 agree, 0 disagree, 1 tied in the first, 1 tied in the second: 4 / sqrt(5 * 5).
    _, tau = rank_correlation(tensors(a=[1.0, 1, 2, 3]), tensors(a=[1.0, 2, 3, 3]))
    assert tau == pytest.approx(0.8)


def test_rank_correlation_is_scipys() -> None:
    generator = torch.Generator().manual_seed(0)
    first = {n: torch.rand(size, generator=generator) for n, size in (("a", 30), ("b", 11))}
    second = {
        n: (s + 0.3 * torch.rand(s.shape, generator=generator)).round(decimals=1) for n, s in first.items()
    }
    x, y = torch.cat(list(first.values())), torch.cat(list(second.values()))
    rho, tau = rank_correlation(first, second)
    assert rho == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert tau == pytest.approx(scipy.stats.kendalltau(x, y, variant="b").statistic)


def test_constant_scores_have_no_ranking() -> None:
    values = rank_correlation(tensors(a=[1.0, 1.0]), tensors(a=[1.0, 2.0]))
    assert all(math.isnan(value) for value in values)
    assert all(math.isnan(value) for value in rank_correlation(tensors(a=[1.0]), tensors(a=[2.0])))


def masks(**values: list[int]) -> dict[str, Tensor]:
    return {name: torch.tensor(v, dtype=torch.bool) for name, v in values.items()}


def test_mask_distances_by_hand() -> None:
    first, second = masks(a=[1, 1, 0, 0], b=[1, 0]), masks(a=[1, 0, 1, 0], b=[1, 0])
    assert mask_distance(first, second) == pytest.approx(2 / 6)
    assert mask_jaccard(first, second) == pytest.approx((1 / 3 + 1) / 2)
    assert mask_jaccard(masks(a=[0, 0], b=[1, 0]), masks(a=[0, 0], b=[0, 1])) == 0.5  # empty, empty: 1
    assert mask_distance(first, {n: ~m for n, m in first.items()}) == 1


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=4), st.data())
def test_mask_distances_are_symmetric_and_bounded(values: list[list[bool]], data: st.DataObject) -> None:
    first = {f"g{i}": torch.tensor(v) for i, v in enumerate(values)}
    second = {
        n: torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(m), max_size=len(m))))
        for n, m in first.items()
    }
    equal = all(torch.equal(first[n], second[n]) for n in first)
    assert mask_distance(first, second) == mask_distance(second, first)
    assert mask_jaccard(first, second) == mask_jaccard(second, first)
    assert 0 <= mask_distance(first, second) <= 1
    assert 0 <= mask_jaccard(first, second) <= 1
    assert (mask_distance(first, second) == 0) == (mask_jaccard(first, second) == 1) == equal


@pytest.mark.parametrize("function", [rank_correlation, mask_distance, mask_jaccard])
def test_different_groups_are_refused(function: object) -> None:
    first = masks(a=[1, 0], b=[1])
    with pytest.raises(ValueError, match=r"groups differ: \['b', 'c'\]"):
        function(first, masks(a=[1, 0], c=[1]))
    with pytest.raises(ValueError, match="group 'a' has 2 and 3 channels"):
        function(first, masks(a=[1, 0, 1], b=[1]))


def test_no_groups() -> None:
    with pytest.raises(ValueError, match="at least one channel"):
        mask_distance({}, {})
    with pytest.raises(ValueError, match="at least one group"):
        mask_jaccard({}, {})


def test_hamming_is_bounded_by_the_ratio_and_psi_is_not() -> None:
    # Two masks that keep 10 % and share nothing: Hamming 0.2, though no channel is the same.
    first, second = torch.zeros(100, dtype=torch.bool), torch.zeros(100, dtype=torch.bool)
    first[:10], second[10:20] = True, True
    assert mask_distance({"a": first}, {"a": second}) == pytest.approx(2 * 0.1)
    assert mask_jaccard({"a": first}, {"a": second}) == 0
    assert similarity([10, 0], [0, 10]) == 0


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=1, max_size=14),
    st.floats(0, 1), st.integers(1, 3), st.integers(0, 3), st.sampled_from(["full", "available"]),
)  # fmt: skip
def test_the_first_leading_epoch_that_reaches_a_threshold_triggers(
    counts: list[list[int]], threshold: float, look_back: int, patience: int, history: str
) -> None:
    indicator = EarlyPruningIndicator(threshold, look_back, patience, history)  # type: ignore[arg-type]
    for row in counts:
        indicator.update(row)
    found = leading(indicator.values, patience, history)  # type: ignore[arg-type]
    assert all(indicator.values[t] == value for t, value in found.items())
    assert indicator.trigger_epoch == next((t for t, value in found.items() if value >= threshold), None)


def test_leading_by_hand() -> None:
    values = [None, 0.5, 0.7, 0.6, 0.7]
    assert leading(values, patience=1) == {2: 0.7, 4: 0.7}
    assert leading(values, patience=1, history="available") == {1: 0.5, 2: 0.7, 4: 0.7}
    assert leading(values, patience=0) == {1: 0.5, 2: 0.7, 3: 0.6, 4: 0.7}
    with pytest.raises(ValueError, match="patience must not be negative, got -1"):
        leading(values, patience=-1)


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=1, max_size=14),
    st.integers(0, 14), st.integers(1, 3), st.integers(0, 3), st.sampled_from(["full", "available"]),
)  # fmt: skip
def test_the_highest_threshold_prunes_in_time_and_no_higher_one_does(
    counts: list[list[int]], epoch: int, look_back: int, patience: int, history: str
) -> None:
    def pruned_in(threshold: float) -> float:
        indicator = EarlyPruningIndicator(threshold, look_back, patience, history)  # type: ignore[arg-type]
        for row in counts:
            indicator.update(row)
        return math.inf if indicator.trigger_epoch is None else indicator.trigger_epoch + 1

    dense = EarlyPruningIndicator(1.0, look_back, patience, history)  # type: ignore[arg-type]
    for row in counts:
        dense.update(row)
    if pruned_in(0.0) > epoch:
        with pytest.raises(ValueError, match="no threshold of EPI prunes"):
            highest_threshold(dense.values, epoch, patience, history)  # type: ignore[arg-type]
        return
    found = highest_threshold(dense.values, epoch, patience, history)  # type: ignore[arg-type]
    assert pruned_in(found) <= epoch
    assert found == 1 or pruned_in(math.nextafter(found, 2)) > epoch


def test_without_any_threshold_in_time_the_first_possible_epoch_is_named() -> None:
    values = [None, 0.5, 0.7, 0.6]
    assert highest_threshold(values, 4, patience=1) == 0.7
    with pytest.raises(ValueError, match="prunes in epoch 2 or before: the first that can be is 3"):
        highest_threshold(values, 2, patience=1)
    with pytest.raises(ValueError, match="no epoch of this run can be"):
        highest_threshold([None, 0.5], 9, patience=1)
