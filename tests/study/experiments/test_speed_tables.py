"""Speed and cost as numbers: made-up runs and times, worked by hand."""

from typing import Any

import pandas as pd
import pytest
from test_policies import EPOCHS, FIRST, NEVER, SETTLES, TRACKING, TWELVE, profile, trunk
from test_record import ORIGIN, example
from tiny import pruned

from pat.study import analysis, figures
from pat.study.experiments.speed.runs import (
    by_seed,
    cost_ratio,
    finetuned_share,
    macs_difference,
    step_difference,
    training_saving,
)
from pat.study.paper.numbers import Paper
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import AtEpoch, LatencyAware, Pruning
from pat.study.store.record import CostRecord, Record, Result
from pat.study.store.speeds import Seconds, Session, Speeds, StepTime, network_key

EPI = 5  # what SETTLES picks with tau 0.7
TABLE = "a" * 64


def run(
    seed: int,
    epoch: int,
    macs: int,
    accuracy: float,
    ratio: float = 0.5,
    weight: float | None = None,
    **changes: Any,
) -> Record:
    """A run of a network of 100 multiply-accumulates; its one layer is left as many channels as MACs."""
    aware = None if weight is None else LatencyAware(weight=weight, table=changes.pop("table", TABLE))
    policy = AtEpoch(epoch=epoch)
    pruning = Pruning(criterion="gradient", ratio=ratio, policy=policy, latency=aware, **changes)
    fields = {"architecture": FIRST, "recipe": TWELVE, "tracking": TRACKING, "seed": seed}
    spec = pruned(epoch, pruning=pruning, **fields)
    share = (epoch + 1 + (EPOCHS - epoch - 1) * macs / 100) / EPOCHS
    cost = CostRecord(dense_macs=100, macs=macs, dense_parameters=1, parameters=1, training_share=share)
    result = Result(test_accuracy=accuracy, test_loss=1, validation_accuracy=accuracy, prune_epoch=epoch)
    record = example(spec, cost=cost, result=result)
    row = record.history[-1].model_copy(update={"structure": {"conv": macs}})
    return record.model_copy(update={"history": (record.history[0], row)})


def times(**shares: float) -> Speeds:
    """The step's share by multiply-accumulates left, such as ``m40=0.8``; a dense step takes a second."""
    one = Seconds(forward=0.5, backward=0.25, update=0.25)
    found = {}
    for name, share in shares.items():
        structure = {"conv": int(name[1:])}
        key = network_key(pruned(0, architecture=FIRST), structure)
        found[key] = StepTime(
            architecture=FIRST,
            structure=structure,
            dense=one,
            pruned=one,
            shares=(share - 0.1, share, share + 0.2),
        )
    session = Session(provenance=ORIGIN, steps=1, times=found)
    return Speeds(
        profile="tiny", hardware="a processor", device="cpu", threads=1, batch=149, precision="fp32",
        channels_last=False, clock="processor", sessions=(session,),
    )  # fmt: skip


SCALE = profile()
RECORDS = [
    trunk(SETTLES, seed=0),
    trunk(SETTLES, seed=1),
    run(0, 0, 60, 70.0),
    run(1, 0, 50, 74.0),
    run(0, EPI, 40, 80.0),
    run(1, EPI, 30, 82.0),
    run(0, EPI, 20, 76.0, weight=0.1),
    run(1, EPI, 20, 78.0, weight=0.1),
]
TIMES = times(m60=0.9, m50=0.8, m40=0.8, m30=0.6, m20=0.5)


def table(records: list[Record] = RECORDS, speeds: Speeds | None = TIMES) -> pd.DataFrame:
    return analysis.speed_table(records, SCALE, speeds)


# The runs of Fig. 5


def test_runs_are_chosen_by_what_they_are() -> None:
    others = [
        run(0, 4, 45, 79.0),  # another epoch than EPI's
        run(0, EPI, 41, 80.0, steps=5),  # another S
        run(0, EPI, 42, 80.0, rewind=0),  # a ticket
        run(0, 4, 21, 70.0, weight=0.1),  # latency-aware in another epoch
        run(5, EPI, 40, 80.0),  # its dense run is not there
    ]
    found = table([*others, *RECORDS])
    assert list(zip(found["choice"], found["seed"], found["prune_epoch"], strict=True)) == [
        ("init", 0, 0), ("init", 1, 0), ("epi", 0, EPI), ("epi", 1, EPI),
        ("latency", 0, EPI), ("latency", 1, EPI),
    ]  # fmt: skip
    assert found["macs_share"].tolist() == [0.6, 0.5, 0.4, 0.3, 0.2, 0.2]
    assert found["step_share"].tolist() == pytest.approx([0.9, 0.8, 0.8, 0.6, 0.5, 0.5])
    assert found["weight"].dropna().tolist() == [0.1, 0.1]
    assert found[found["choice"] == "epi"]["triggered"].tolist() == [True, True]
    assert found["step_low"].tolist()[0] == pytest.approx(0.85)
    assert found["step_high"].tolist()[0] == pytest.approx(1.0)


def test_where_epi_stays_silent_the_predefined_epoch_counts() -> None:
    found = table([trunk(NEVER, seed=0), run(0, 4, 40, 80.0), run(0, EPI, 30, 80.0)])
    assert found[["choice", "prune_epoch", "triggered"]].to_numpy().tolist() == [["epi", 4, False]]


def test_without_measurements_the_rest_is_there() -> None:
    found = table(speeds=None)
    assert found["step_share"].isna().all()
    assert found["step_training_share"].isna().all()
    assert len(macs_difference(found, 0.5)) == 2
    assert step_difference(found, 0.5, "init", "epi").empty
    assert len(training_saving(found, 0.5)) == 2


def test_a_collapsed_run_has_an_accuracy_and_no_cost() -> None:
    collapsed = run(0, 0, 60, 10.0).model_copy(update={"status": "collapsed", "cost": None})
    found = table([collapsed if record.id == collapsed.id else record for record in RECORDS])
    first = found.iloc[0]
    assert (first["status"], first["test_accuracy"]) == ("collapsed", 10)
    assert first[["macs_share", "training_share", "step_share"]].isna().all()
    assert macs_difference(found, 0.5).to_dict() == {1: pytest.approx(0.2)}
    assert analysis.speedup_table(found).loc[("50 %", "initialisation"), "collapsed"] == 1


def test_nothing_gives_an_empty_table() -> None:
    found = table([])
    assert found.empty
    assert list(found.columns) == list(table().columns)
    assert analysis.speedup_table(found).empty
    assert analysis.differences_table(found).empty
    assert analysis.cost_table(found, 10).empty
    assert macs_difference(found, 0.5).empty
    assert cost_ratio(found, 0.5).empty


def test_several_latency_tables_are_refused() -> None:
    other = run(0, EPI, 25, 76.0, weight=0.1, table="b" * 64)
    with pytest.raises(ValueError, match="with 2 latency tables, aaaaaaaaaaaa, bbbbbbbbbbbb"):
        table([*RECORDS, other])


# Statistics by seed


def test_statistics_worked_by_hand() -> None:
    found = table()
    assert macs_difference(found, 0.5).to_dict() == pytest.approx({0: 0.2, 1: 0.2})
    assert step_difference(found, 0.5, "init", "epi").to_dict() == pytest.approx({0: 0.1, 1: 0.2})
    assert step_difference(found, 0.5, "epi", "latency").to_dict() == pytest.approx({0: 0.3, 1: 0.1})
    # Six of twelve epochs are dense (0 to 5), the other half costs 0.4 and 0.3.
    assert training_saving(found, 0.5).to_dict() == pytest.approx({0: 0.3, 1: 0.35})
    assert training_saving(found, 0.5, "step_training_share").to_dict() == pytest.approx({0: 0.1, 1: 0.2})
    # A dense training, and twelve epochs of which the first is dense.
    assert finetuned_share(found, 0.5)[0] == pytest.approx(1 + (1 + 11 * 0.4) / 12)
    assert cost_ratio(found, 0.5)[0] == pytest.approx((1 + 5.4 / 12) / 0.7)
    assert cost_ratio(found, 0.5, "step_share")[0] == pytest.approx((1 + (1 + 11 * 0.8) / 12) / 0.9)


def test_only_seeds_that_have_both_count() -> None:
    found = table([record for record in RECORDS if record.id != RECORDS[2].id])
    assert list(macs_difference(found, 0.5).index) == [1]


def test_other_ratios_have_no_value() -> None:
    assert macs_difference(table(), 0.2).empty
    assert training_saving(table(), 0.2).empty
    assert cost_ratio(table(), 0.2).empty


def test_a_weight_is_named_where_there_are_several() -> None:
    found = table([*RECORDS, run(0, EPI, 30, 77.0, weight=0.2)])
    with pytest.raises(ValueError, match=r"name one of the weights 0\.1, 0\.2"):
        step_difference(found, 0.5, "epi", "latency")
    assert by_seed(found, 0.5, "latency", "macs_share", 0.2).to_dict() == {0: 0.3}
    assert step_difference(found, 0.5, "epi", "latency", 0.2).to_dict() == pytest.approx({0: 0.2})
    names = analysis.speedup_table(found).index.get_level_values(1)
    assert [name for name in names if "λ" in name] == [
        "EPI, latency-aware, λ = 0.1",
        "EPI, latency-aware, λ = 0.2",
    ]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a choice of init, epi, latency, got 'late'"):
        step_difference(table(), 0.5, "init", "late")  # type: ignore[arg-type]


# Text


def test_the_table_of_runs_worked_by_hand() -> None:
    found = analysis.speedup_table(table())
    assert found.index.tolist() == [
        ("50 %", "initialisation"), ("50 %", "EPI, paper's τ"), ("50 %", "EPI, latency-aware"),
    ]  # fmt: skip
    row = found.loc[("50 %", "EPI, paper's τ")]
    assert row["pruned in"] == "5, 5"
    assert row["accuracy"].startswith("81.0 ± ")
    assert row["multiply-accumulates"].startswith("0.350 ± ")
    assert row["step"].startswith("0.700 ± ")
    assert row["runs"] == 2


def test_the_table_of_differences_worked_by_hand() -> None:
    found = analysis.differences_table(table())
    assert found.loc[("50 %", "initialisation − EPI, paper's τ"), "step"].startswith("0.150 [")
    assert found.loc[("50 %", "EPI, paper's τ − EPI, latency-aware"), "accuracy"].startswith("4.0 [")
    assert found["n"].tolist() == [2, 2]


def test_the_table_of_costs_worked_by_hand() -> None:
    found = analysis.cost_table(table(), 100)
    assert found.loc[("50 %", "dense"), "seconds"].startswith("100.0 ± 0.0")
    ours = found.loc[("50 %", "PaT at EPI's epoch")]
    assert ours["multiply-accumulates"].startswith("0.675 ± ")
    assert ours["seconds"].startswith("85.0 ± ")  # 0.9 and 0.8 of a hundred steps of a second
    theirs = found.loc[("50 %", "train, prune, finetune")]
    assert theirs["factor over PaT, multiply-accumulates"].startswith("2.0")


def test_the_papers_example_is_recomputed() -> None:
    paper = Paper.read()
    found = analysis.price_table(table(), paper, 0.5)
    printed, recomputed, macs, steps = (found[column] for column in found.columns)
    assert printed["PaT"] == f"${paper.number('cost.pat_usd').text}" == recomputed["PaT"]
    assert recomputed["train, prune, finetune over PaT"] == "2.36"  # 364 / 154
    assert recomputed["sparse epoch, in dense epochs"] == "0.655"  # (364 - 220) / 220
    assert recomputed["pruning epoch, share of the schedule"] == "0.13"  # 11.75 of 90
    assert macs["PaT"].startswith("$148 ± ")  # 220 times 0.675
    assert steps["PaT"].startswith("$187 ± ")  # 220 times 0.85
    assert macs["share of the training saved"].startswith("32.5 ± ")
    nothing = analysis.price_table(table(speeds=None), paper, 0.5)
    assert (
        nothing[nothing.columns[3]].drop(["dense training", "pruning epoch, share of the schedule"]) == ""
    ).all()


def test_the_steps_of_a_run() -> None:
    digits = load_profile("digits-24")
    assert analysis.training_steps(digits) == 24 * 60  # 6,000 images in batches of 100
    assert analysis.training_steps(load_profile("smoke")) == 5 * 12


def test_channels_by_layer_worked_by_hand() -> None:
    real = load_profile("smoke").model_copy(update={"dataset": "digits"})
    records = []
    for record, count in zip(RECORDS[2:], (8, 6, 4, 2, 0, 0), strict=True):
        row = record.history[-1].model_copy(update={"structure": {"layer1.0.conv1": count}})
        records.append(record.model_copy(update={"history": (row,)}))
    found = analysis.kept_by_choice(table(speeds=None), records, real, 0.5)
    assert found.loc["layer1.0.conv1"].to_dict() == {"init": 87.5, "epi": 37.5, "latency": 0.0}
    assert len(found) == 1


# Figures


def test_speed_against_accuracy_draws_every_choice_and_ratio() -> None:
    more = [run(0, 0, 15, 60.0, ratio=0.8), run(0, EPI, 20, 65.0, ratio=0.8)]
    speeds = times(m60=0.9, m50=0.8, m40=0.8, m30=0.6, m20=0.5, m15=0.4)
    figure = figures.speed_and_accuracy(table([*RECORDS, *more], speeds), [83.0, 82.0])
    far, near = ([text.get_text() for text in axis.texts] for axis in figure.axes)
    assert far == ["50 %", "80 %", "80 %"]  # two of initialisation, one of EPI
    assert near == ["50 %", "50 %"]  # EPI's 81 and latency-aware 77 are within six points of 82.5
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["dense", "initialisation", "EPI, paper's τ", "EPI, latency-aware, λ = 0.1"]


def test_one_weight_can_be_drawn_alone() -> None:
    both = table([*RECORDS, run(0, EPI, 20, 77.0, weight=0.2)])
    labels = [
        [text.get_text() for text in figures.speed_and_accuracy(both, [83.0], w).legends[0].get_texts()]
        for w in (None, 0.2)
    ]
    assert [len(names) for names in labels] == [5, 4]
    assert labels[1][-1] == "EPI, latency-aware, λ = 0.2"


def test_where_nothing_is_near_the_dense_network_there_is_one_panel() -> None:
    assert len(figures.speed_and_accuracy(table(), [99.0]).axes) == 1
    assert len(figures.speed_and_accuracy(table(), [83.0]).axes) == 2


def test_a_single_seed_is_drawn_without_an_interval() -> None:
    figure = figures.speed_and_accuracy(table(RECORDS[::2]), [83.0])
    assert sum(len(axis.texts) for axis in figure.axes) == 3


def test_figures_of_nothing_are_empty() -> None:
    empty = table([])
    assert list(figures.speed_and_accuracy(empty, []).axes[0].texts) == []
    assert figures.step_against_macs(empty).axes
    assert figures.training_costs(analysis.cost_shares(empty), Paper.read(), 0.5).axes


def test_costs_are_drawn_with_the_papers_prices() -> None:
    figure = figures.training_costs(analysis.cost_shares(table()), Paper.read(), 0.5)
    heights = [round(patch.get_height(), 3) for patch in figure.axes[0].patches]
    assert heights[0] == 0.675
    diamonds = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert sorted(round(float(y), 3) for y in diamonds) == [0.7, 1.655]


def test_a_map_of_layers_has_a_cell_for_each_choice() -> None:
    kept = pd.DataFrame({"init": [80.0, 20.0], "epi": [70.0, 30.0]}, index=["conv1", "conv2"])
    axis = figures.layers_by_choice(kept, "a title").axes[0]
    assert [text.get_text() for text in axis.texts] == ["80", "70", "20", "30"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["initialisation", "EPI, paper's τ"]
