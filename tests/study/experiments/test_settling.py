"""Does the structure settle, does the ranking move: made-up runs, worked by hand, and their figures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from test_analysis import LAYERS, epoch
from test_record import example
from test_statistics import Shelf
from tiny import recipe

from pat.study.analysis.intervals import interval
from pat.study.analysis.stability import stability_table
from pat.study.experiments.evidence import Evidence
from pat.study.experiments.stability.figures import epi_curves, hover_epi, measure_curves
from pat.study.experiments.stability.maps import settling_maps
from pat.study.experiments.stability.reordering import decay_table, iterations, motion_table, ranking_motion
from pat.study.experiments.stability.settling import (
    settling_of,
    settling_table,
)
from pat.study.plan.profile import Cells, Contrast, Profile, load_profile
from pat.study.plan.spec import AtEpoch, Spec, Tracking
from pat.study.store.record import Record
from pat.study.style import ratio_colours

EPOCHS = 9
RATIOS = (0.1, 0.3, 0.5)
NET = "resnet8-bottleneck"
STEADY = (6, 6)


def block(epochs: tuple[int, ...], ratios: tuple[float, ...] = (0.5,), criterion: Any = "gradient") -> Cells:
    return Cells(architecture=NET, criterion=criterion, ratios=ratios, epochs=epochs, seeds=(0, 1))


PROFILE = load_profile("smoke").model_copy(
    update={
        "recipe": recipe(epochs=EPOCHS),
        "tracking": Tracking(ratios=RATIOS, look_back=1),
        "tau": {"gradient": 0.9, "magnitude": 0.95},
        "patience": 1,
        "contrast": Contrast(reference=2, last=8),
        "sweeps": {"full": (block((0, 2, 5, 8)), block((3,), (0.3,)), block((4,), criterion="magnitude"))},
    }
)


def spec(at: int | None = None, seed: int = 0, network: str = NET) -> Spec:
    if at is None:
        return PROFILE.spec(architecture=network, seed=seed)
    policy = AtEpoch(epoch=at)
    return PROFILE.spec(architecture=network, seed=seed, criterion="gradient", ratio=0.5, policy=policy)


def watched(
    seed: int = 0, *, psi: Mapping[int, Any] | None = None, jaccard: Mapping[int, Any] | None = None,
    spearman: Mapping[int, Any] | None = None, counts: Sequence[tuple[int, int]] = (STEADY,) * EPOCHS,
    network: str = NET,
) -> Record:  # fmt: skip
    """A dense run; [window, previous] by epoch, psi at one ratio or by ratio."""
    history = []
    for at in range(EPOCHS):
        nothing = [None, None]
        own = (psi or {}).get(at, nothing)
        ratios = {
            f"{ratio:g}": {
                "counts": list(counts[at]),
                "psi": own[ratio] if isinstance(own, dict) else own,
                "hamming": nothing,
                "jaccard": (jaccard or {}).get(at, nothing),
            }
            for ratio in RATIOS
        }
        ranks = (spearman or {}).get(at, nothing)
        tracked = {"gradient": {"spearman": ranks, "kendall": nothing, "ratios": ratios}}
        history.append(epoch(at, tracked=tracked))
    return example(spec(seed=seed, network=network), trunk=None, layers=LAYERS, history=tuple(history))


# The statements in numbers


def test_the_table_has_intervals_and_empty_places() -> None:
    motion = {0: 0.2, 1: 0.4}
    records = [watched(seed, psi={1: [0.9, 1 - early], 8: [0.9, 1.0]}) for seed, early in motion.items()]
    table = settling_table(Evidence(PROFILE, "full", Shelf(records)), [0.5, 0.8])  # type: ignore[arg-type]
    by = table.set_index(["criterion", "ratio"])
    assert by.loc[("gradient", "50 %"), "motion"] == interval(motion.values()).text(3)
    assert by.loc[("gradient", "50 %"), "settling"] == ""
    assert by.loc[("gradient", "80 %"), "motion"] == ""
    assert by.loc[("magnitude", "50 %"), "EPI and epoch"] == ""


# One run in pictures


def settled() -> Record:
    counts = [(9, 3), (3, 9), (5, 7), *[STEADY] * 6]
    return watched(counts=counts, psi={t: [0.5 + t / 20, None] for t in range(1, 9)})


def test_a_run_is_watched_with_the_epoch_in_which_epi_prunes() -> None:
    found = settling_of(settled(), "gradient", 0.5, PROFILE)
    assert found.structure.to_numpy().tolist()[:2] == [[9, 3], [3, 9]]
    assert math.isnan(found.epi[0])
    assert found.epi[8] == pytest.approx(0.9)
    # With r = 1 and a patience of 1: Psi is 1 - (1/11 + 1/13) / 2 = .916 after epoch 3, more than before.
    assert (found.threshold, found.epoch) == (0.9, 4)
    with pytest.raises(ValueError, match=r"did not watch gradient at ratio 0\.7"):
        settling_of(settled(), "gradient", 0.7, PROFILE)


def test_a_map_colours_each_layer_by_its_own_most_and_marks_the_trigger() -> None:
    runs = [settling_of(settled(), "gradient", ratio, PROFILE) for ratio in (0.3, 0.5)]
    figure = settling_maps(runs, "a title")
    (mesh,) = figure.axes[0].collections
    share = np.asarray(mesh.get_array()).reshape(len(LAYERS), EPOCHS)
    assert share[0, :4] == pytest.approx([1, 3 / 9, 5 / 9, 6 / 9])
    assert share[1, :4] == pytest.approx([3 / 9, 1, 7 / 9, 6 / 9])
    above, below = figure.axes[0], figure.axes[3]
    assert above.get_xlim() == below.get_xlim()
    for axis in (above, below):
        assert any(set(line.get_xdata()) == {4} for line in axis.lines)
    assert "prunes in 4" in below.get_xlabel()
    assert any("τ = 0.9" in text.get_text() for axis in figure.axes for text in axis.texts)


def test_a_map_of_a_silent_run_has_no_line_and_mixed_runs_are_refused() -> None:
    moving = watched(counts=[(9, 3), (3, 9)] * 4 + [(9, 3)], psi={t: [0.5, None] for t in range(1, 9)})
    silent = settling_of(moving, "gradient", 0.5, PROFILE)
    figure = settling_maps([silent], "a title")
    assert "silent" in figure.axes[2].get_xlabel()
    assert not figure.axes[0].lines
    with pytest.raises(ValueError, match="at least one run"):
        settling_maps([], "a title")
    tau = PROFILE.model_copy(update={"tau": {"gradient": 0.5, "magnitude": 0.5}})
    with pytest.raises(ValueError, match="one threshold"):
        settling_maps([silent, settling_of(moving, "gradient", 0.5, tau)], "a title")


# EPI's curves


def curves() -> list[Record]:
    def psi(shift: float) -> dict[int, Any]:
        by = {t: {r: [0.9 - r / 2 + shift + t / 100, None] for r in RATIOS} for t in range(1, EPOCHS)}
        return by | {0: [None, None]}

    return [watched(0, psi=psi(0.0)), watched(1, psi=psi(0.02))]


def test_values_to_point_at_are_the_means_with_their_intervals() -> None:
    table = stability_table(curves())
    figure = hover_epi(table, NET, PROFILE.tau)
    assert [trace.name for trace in figure.data] == ["10 %", "30 %", "50 %"]
    trace = figure.data[2]
    assert list(trace.x) == list(range(1, EPOCHS))
    assert trace.y[0] == pytest.approx(0.9 - 0.25 + 0.01 + 0.01)
    expected = interval([0.66, 0.68])
    assert list(trace.customdata[0]) == [pytest.approx(expected.low), pytest.approx(expected.high), 2]
    assert figure.layout.annotations[-1].text == "τ = 0.9"
    assert NET in figure.layout.meta["alt"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_curves_have_intervals_and_the_threshold_with_its_name(seeds: int) -> None:
    table = stability_table(curves()[:seeds])
    figure = epi_curves(table, NET, PROFILE.tau)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["τ = 0.9"]
    assert len(axis.collections) == len(RATIOS)  # a band a curve
    bands = [path.vertices[:, 1] for band in axis.collections for path in band.get_paths()]
    if seeds > 1:
        low = interval([0.86, 0.88]).low  # of the lowest ratio at its first epoch
        assert bands[0].min() == pytest.approx(low)
    else:
        assert not bands
    assert len(figure.legends) == 1


def test_measures_are_drawn_up_for_stable() -> None:
    record = watched(psi={t: [0.9, None] for t in range(1, EPOCHS)})
    table = stability_table([record])
    table.loc[table["measure"] == "mask Hamming", "value"] = 0.25
    figure = measure_curves(table, NET, "gradient", [0.3, 0.5])
    assert [axis.get_title() for axis in figure.axes] == ["gradient, 30 %", "gradient, 50 %"]
    drawn = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata())]
    assert sorted({round(float(np.mean(values)), 6) for values in drawn}) == [0.75, 0.9]


def test_a_ratio_has_one_colour_in_every_figure() -> None:
    assert ratio_colours([0.5, 0.1])[0.5] == ratio_colours([0.5])[0.5]
    shades = list(ratio_colours([0.1, 0.5, 0.9]).values())
    lightness = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in shades]
    assert lightness == sorted(lightness, reverse=True)


# Does the ranking move?


def test_the_motion_of_a_ranking_is_summed_over_the_epochs() -> None:
    moving = {t: [None, value] for t, value in enumerate([0.5, 0.9, 0.8, 1.0], start=1)}
    records = [watched(0, spearman=moving), watched(1, spearman={1: [None, 1.0], 2: [None, 0.8]}), watched(2)]
    found = ranking_motion(records)
    assert found["seed"].tolist() == [0, 1]  # constant scores have no ranking
    assert found["lowest"].tolist() == [0.5, 0.8]
    assert found["median"].tolist() == pytest.approx([0.85, 0.9])
    assert found["motion"].tolist() == pytest.approx([0.8, 0.2])  # once an epoch, not once a ratio
    (row,) = motion_table(found).to_dict("records")
    assert (row["network"], row["criterion"], row["lowest"]) == (NET, "gradient", "0.650")
    assert row["motion"] == interval([0.8, 0.2]).text(2)
    assert ranking_motion([]).empty
    assert motion_table(ranking_motion([])).empty


def test_decay_worked_by_hand() -> None:
    profile: Profile = load_profile("smoke").model_copy(
        update={
            "recipe": recipe(epochs=4, batch_size=500, warmup_epochs=2, learning_rate=0.2, weight_decay=0.01)
        }
    )
    assert iterations(profile) == 4 * 12  # of 6,000 images
    (row,) = decay_table([profile]).to_dict("records")
    assert row["product"] == pytest.approx(0.2 * 0.01 * 48)
    # Warm-up at a half and the whole, then the cosine's 1 and 1/2.
    assert row["over the schedule"] == pytest.approx(0.2 * 0.01 * 12 * (0.5 + 1 + 1 + 0.5))


def test_virtual_epochs_have_fewer_iterations_each() -> None:
    profile = load_profile("smoke")
    cut = profile.recipe.model_copy(update={"epochs": 20, "warmup_epochs": 4, "slices": 4})
    assert iterations(profile.model_copy(update={"recipe": cut})) == iterations(profile)


@pytest.mark.parametrize("name", ["digits", "cifar10-small", "digits-24", "cifar10-small-30"])
def test_weight_decay_and_schedule_follow_the_rule_that_the_chapter_names(name: str) -> None:
    (row,) = decay_table([load_profile(name)]).to_dict("records")
    assert 0.5 < row["product"] < 2
