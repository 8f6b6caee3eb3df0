"""What is watched in dense epochs equals what the stability functions say directly."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pat.channels import ChannelGroup, trace
from pat.stability import EarlyPruningIndicator, mask_distance, mask_jaccard, rank_correlation, similarity
from pat.structure import channel_counts, kept_count, top_channels
from pat.training import models
from pat.training.tracking import StabilityTracker

RATIOS = (0.3, 0.8)
LOOK_BACK = 3
EPOCHS = 7


@pytest.fixture(scope="module")
def neurons() -> dict[str, ChannelGroup]:
    model = models.build("resnet8-bottleneck", num_classes=10, in_channels=1, image_size=8)
    return trace(model, torch.zeros(1, 1, 8, 8)).neurons(keep_stem=True)


@pytest.fixture(scope="module")
def scores(neurons: dict[str, ChannelGroup]) -> list[dict[str, Tensor]]:
    """Scores that settle down from epoch to epoch."""
    generator = torch.Generator().manual_seed(0)
    final = {name: torch.rand(g.size, generator=generator) for name, g in neurons.items()}
    return [
        {name: s + torch.rand(s.shape, generator=generator) / (epoch + 1) for name, s in final.items()}
        for epoch in range(EPOCHS)
    ]


def tracker(neurons: dict[str, ChannelGroup], *, by_filter: bool, min_channels: int = 0) -> StabilityTracker:
    multiplicity = {name: g.multiplicity for name, g in neurons.items()} if by_filter else None
    return StabilityTracker(
        neurons, ratios=RATIOS, look_back=LOOK_BACK, multiplicity=multiplicity, min_channels=min_channels
    )


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("min_channels", [0, 1])
@pytest.mark.parametrize("by_filter", [True, False])
def test_the_measures_are_those_of_the_stability_functions(
    by_filter: bool, min_channels: int, neurons: dict[str, ChannelGroup], scores: list[dict[str, Tensor]]
) -> None:
    watcher = tracker(neurons, by_filter=by_filter, min_channels=min_channels)
    reports = [watcher.update({"gradient": epoch})["gradient"] for epoch in scores]
    weights = {name: g.multiplicity if by_filter else 1 for name, g in neurons.items()}
    total = sum(g.size * weights[name] for name, g in neurons.items())
    for ratio in RATIOS:
        keep = kept_count(total, ratio)
        kept = [top_channels(s, keep, weights, min_channels) for s in scores]
        counts = [channel_counts(mask, neurons if by_filter else None) for mask in kept]
        indicator = EarlyPruningIndicator(0.9, look_back=LOOK_BACK)
        for t, report in enumerate(reports):
            at = report["ratios"][f"{ratio:g}"]
            assert at["counts"] == list(counts[t].values())
            assert at["psi"][0] == (None if (epi := indicator.update(counts[t])) is None else round(epi, 6))
            window = range(t - LOOK_BACK, t)
            full = t >= LOOK_BACK
            for name, measure, values in (
                ("hamming", mask_distance, kept),
                ("jaccard", mask_jaccard, kept),
                ("psi", similarity, counts),
            ):
                expected = mean([measure(values[t], values[i]) for i in window]) if full else None
                assert at[name][0] == (None if expected is None else pytest.approx(expected, abs=1e-6))
                assert at[name][1] == (
                    pytest.approx(measure(values[t], values[t - 1]), abs=1e-6) if t else None
                )
    for t, report in enumerate(reports):
        for i, name in enumerate(("spearman", "kendall")):
            pairs = [rank_correlation(scores[t], scores[past])[i] for past in range(t)][-LOOK_BACK:]
            expected = mean(pairs) if t >= LOOK_BACK else None
            assert report[name][0] == (None if expected is None else pytest.approx(expected, abs=1e-6))
            assert report[name][1] == (pytest.approx(pairs[-1], abs=1e-6) if t else None)


@pytest.mark.parametrize("by_filter", [True, False])
def test_layers_name_the_counts(by_filter: bool, neurons: dict[str, ChannelGroup]) -> None:
    watcher = tracker(neurons, by_filter=by_filter)
    report = watcher.update({"gradient": {name: torch.ones(g.size) for name, g in neurons.items()}})
    assert len(watcher.layers()) == len(report["gradient"]["ratios"]["0.3"]["counts"])
    if not by_filter:
        assert watcher.layers() == list(neurons)


def test_a_constant_ranking_has_no_correlation(neurons: dict[str, ChannelGroup]) -> None:
    watcher = tracker(neurons, by_filter=False)
    flat = {name: torch.ones(g.size) for name, g in neurons.items()}
    reports = [watcher.update({"magnitude": flat})["magnitude"] for _ in range(LOOK_BACK + 1)]
    assert reports[-1]["spearman"] == [None, None]
    assert reports[-1]["ratios"]["0.3"]["psi"] == [1.0, 1.0]
    assert reports[-1]["ratios"]["0.3"]["hamming"] == [0.0, 0.0]


def test_criteria_are_watched_apart(
    neurons: dict[str, ChannelGroup], scores: list[dict[str, Tensor]]
) -> None:
    both, alone = tracker(neurons, by_filter=True), tracker(neurons, by_filter=True)
    for first, second in pairwise(scores):
        together = both.update({"gradient": first, "magnitude": second})
        assert together["gradient"] == alone.update({"gradient": first})["gradient"]


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_tracker_goes_on_from_its_state(
    after: int, neurons: dict[str, ChannelGroup], scores: list[dict[str, Tensor]]
) -> None:
    whole, resumed = tracker(neurons, by_filter=True), tracker(neurons, by_filter=True)
    for epoch in scores[:after]:
        whole.update({"gradient": epoch, "magnitude": epoch})
    resumed.load_state_dict(whole.state_dict())
    for epoch in scores[after:]:
        assert resumed.update({"gradient": epoch}) == whole.update({"gradient": epoch})


def test_scores_that_change_afterwards_change_nothing(neurons: dict[str, ChannelGroup]) -> None:
    watcher = tracker(neurons, by_filter=False)
    live = {name: torch.arange(float(g.size)) for name, g in neurons.items()}
    watcher.update({"gradient": live})
    reversed_later = {name: s.clone() for name, s in live.items()}
    for score in live.values():
        score.neg_()
    report = watcher.update({"gradient": reversed_later})["gradient"]
    assert report["spearman"][1] == 1
