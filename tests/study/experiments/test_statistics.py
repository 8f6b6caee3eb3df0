"""Statistics of the claims: hand-made records in, one value a seed out, with the records behind it."""

import math
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats
from test_analysis import epoch, scored
from test_record import ORIGIN, example
from tiny import recipe

from pat.rivals.prunetrain import PruneTrainSettings
from pat.stability import similarity
from pat.study.analysis.regret import policy_regret, regrets
from pat.study.claims import statistics
from pat.study.experiments import stages
from pat.study.experiments.evidence import Evidence, Sample, paired
from pat.study.plan.profile import Cells, Contrast, Profile, load_profile
from pat.study.plan.settings import Experiments, Pretrained, Rival, Steps, Tickets, Variations
from pat.study.plan.spec import EPI, AtEpoch, Spec, Tracking, Variation
from pat.study.store.record import CostRecord, MissingRun, Record, Result
from pat.study.store.speeds import Seconds, Session, Speeds, StepTime, network_key, write_speeds

EPOCHS = 9
GRID = (0, 2, 8)
RATIOS = (0.1, 0.3, 0.5)
SEEDS = (0, 1)
LAYERS = ("conv", "layer1.0.conv1")


class Shelf:
    """A store in memory."""

    trains = False
    root = Path("shelf")

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = {record.id: record for record in records}

    def record(self, spec: Spec) -> Record | None:
        return self._records.get(spec.id)

    def file(self, spec: Spec) -> Path:
        return self.root / f"{spec.id}.json"


def small_profile(**changes: Any) -> Profile:
    """Three networks, both criteria, three ratios, three pruning epochs, two seeds."""
    sweep = tuple(
        Cells(architecture=name, criterion=criterion, ratios=RATIOS, epochs=GRID, seeds=SEEDS)
        for name, criterion in product(
            ("resnet8-bottleneck", "resnet8-basic", "mobilenetv1-tiny"), ("gradient", "magnitude")
        )
    )
    settings = {
        "recipe": recipe(epochs=EPOCHS),
        "tracking": Tracking(ratios=RATIOS, look_back=1),
        "patience": 1,
        "contrast": Contrast(reference=2, last=8),
        "sweeps": {"full": sweep, "study": sweep[:1]},
        "experiments": {},
    }
    return load_profile("smoke").model_copy(update=settings | changes)


PROFILE = small_profile()
BOTTLENECK, BASIC, MOBILENET = PROFILE.architectures


def spec(
    at: int | None,
    seed: int = 0,
    *,
    ratio: float = 0.5,
    criterion: Any = "gradient",
    network: str = BOTTLENECK,
) -> Spec:
    """A run of the profile, dense without an epoch."""
    if at is None:
        return PROFILE.spec(architecture=network, seed=seed)
    policy = AtEpoch(epoch=at)
    return PROFILE.spec(architecture=network, seed=seed, criterion=criterion, ratio=ratio, policy=policy)


def evidence(*records: Record, profile: Profile = PROFILE, preset: str = "full") -> Evidence:
    return Evidence(profile, preset, Shelf(records))  # type: ignore[arg-type]


def runs(accuracies: dict[int | None, tuple[float | None, ...]], **settings: Any) -> list[Record]:
    """By pruning epoch, the test accuracy of each seed."""
    return [
        scored(spec(at, seed, **settings), accuracy)
        for at, by_seed in accuracies.items()
        for seed, accuracy in enumerate(by_seed)
    ]


# Samples


def test_a_sample_leaves_missing_values_out_and_groups_records_by_seed() -> None:
    records = runs({None: (80.0, 81.0), 2: (70.0, 71.0)})
    found = Sample.of(pd.Series({0: 1.5, 1: math.nan}), records)
    assert found.values == {0: 1.5}
    assert found.records == {0: (spec(None).id, spec(2).id)}


def test_samples_are_paired_by_seed() -> None:
    first = Sample({0: 5.0, 1: 7.0}, {0: ("a",), 1: ("b",)})
    second = Sample({1: 4.0, 2: 1.0}, {1: ("b", "c"), 2: ("d",)})
    assert paired(lambda a, b: a - b, first, second) == Sample({1: 3.0}, {1: ("b", "c")})
    assert paired(lambda a, b: a - b, first, Sample()).values == {}


# Evidence


def test_evidence_is_what_the_store_has_of_a_preset() -> None:
    mine, other = runs({None: (80.0, 81.0), 2: (70.0,)}), runs({1: (1.0,)})  # epoch 1 is not on the grid
    found = evidence(*mine, *other)
    assert {r.id for r in found.sweep} == {r.id for r in found.records} == {r.id for r in mine}
    assert [r.spec.seed for r in found.dense("bottleneck")] == [0, 1]
    assert found.dense("basic") == []
    grid = found.grid("bottleneck", "gradient")
    assert list(grid) == list(RATIOS)
    assert {at: len(own) for at, own in grid[0.5].items()} == {0: 0, 2: 1, 8: 0}
    with pytest.raises(ValueError, match="has no sweep 'all'"):
        evidence(preset="all")


def test_a_network_that_a_profile_lacks_has_no_runs() -> None:
    fewer = PROFILE.model_copy(update={"architectures": (BOTTLENECK,)})
    found = evidence(*runs({None: (80.0,)}), profile=fewer)
    assert found.architecture("basic") is None
    assert found.dense("mobilenet") == []
    assert found.grid("basic", "gradient") == {}


def test_experiments_are_read_stage_by_stage() -> None:
    own = Experiments(sweep="full", steps=Steps(values=(1, 30), ratios=(0.5,), seeds=SEEDS))
    profile = PROFILE.model_copy(update={"experiments": {"mine": own}})
    found = evidence(*runs({None: (80.0, 80.0), 2: (70.0, 71.0)}), profile=profile, preset="mine")
    assert found.sweep_name == "full"
    assert {r.id for r in found.experiment("steps")} == {spec(2, seed).id for seed in SEEDS}
    assert found.experiment("tickets") == ()
    assert evidence().experiment("steps") == ()


def test_runs_that_hang_on_missing_ones_are_missing_but_a_fault_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dense = runs({None: (80.0, 80.0)})

    def stage(error: Exception) -> Any:
        def later(*anything: object) -> list[Spec]:
            raise error

        return lambda profile, settings, records: [spec(None, seed) for seed in SEEDS], later

    own = Experiments(sweep="full", steps=Steps(values=(1,), ratios=(0.5,), seeds=SEEDS))
    profile = PROFILE.model_copy(update={"experiments": {"mine": own}})
    monkeypatch.setitem(stages.STAGES, "steps", stage(MissingRun("not run")))
    assert len(evidence(*dense, profile=profile, preset="mine").experiment("steps")) == len(SEEDS)
    monkeypatch.setitem(stages.STAGES, "steps", stage(ValueError("a fault")))
    with pytest.raises(ValueError, match="a fault"):
        evidence(*dense, profile=profile, preset="mine").experiment("steps")


# Sec. 4.1


def difference(first: str, second: str, *records: Record, **settings: Any) -> Sample:
    wanted = {
        "network": "bottleneck",
        "criterion": "gradient",
        "ratio": 0.5,
        "first": first,
        "second": second,
    }
    return statistics.compute("accuracy_difference", evidence(*records), wanted | settings)


def test_a_difference_is_the_first_minus_the_second() -> None:
    records = runs({0: (60.0, 61.0), 2: (70.0, 73.0), 8: (50.0, None), None: (75.0, 74.0)})
    assert difference("reference", "first", *records).values == {0: 10.0, 1: 12.0}
    assert difference("reference", "last", *records).values == {0: 20.0}  # a failed run has no accuracy
    assert difference("dense", "reference", *records).values == {0: 5.0, 1: 1.0}
    found = difference("first", "dense", *records)
    assert found.records[1] == (spec(0, 1).id, spec(None, 1).id)
    assert difference("reference", "first", *records, ratio=0.3).values == {}
    assert difference("reference", "first", *records, criterion="magnitude").values == {}
    assert difference("reference", "first", *records, network="basic").values == {}


def test_the_oracle_is_chosen_on_validation_a_seed_at_a_time() -> None:
    values = {
        0: ((60.0, 61.0), (90.0, 10.0)),
        2: ((70.0, 72.0), (80.0, 95.0)),
        8: ((65.0, 20.0), (85.0, 30.0)),
    }
    records = [
        scored(spec(at, seed), *(values[at][seed])) for at, seed in product(GRID, SEEDS)
    ]  # test and validation
    records += runs({None: (95.0, 95.0)})
    found = difference("dense", "oracle", *records)
    # Seed 0: validation 61, 72, 20 chooses 2, test 70. Seed 1: 10, 95, 30 chooses 2, test 80, not 90.
    assert found.values == {0: 25.0, 1: 15.0}
    assert set(found.records[0]) == {spec(at).id for at in (*GRID, None)}
    assert difference("dense", "oracle", *records[1:]).values == {1: 15.0}  # seed 0's grid is not whole


def test_a_share_is_of_the_same_seeds_dense_run() -> None:
    records = runs({0: (20.0, 30.0), None: (80.0, 90.0)})
    settings = {"network": "bottleneck", "criterion": "gradient", "ratio": 0.5, "at": "first"}
    found = statistics.compute("accuracy_share", evidence(*records), settings)
    assert found.values == {0: 0.25, 1: pytest.approx(1 / 3)}


def test_the_loss_at_initialisation_by_criterion_is_magnitudes_minus_the_gradients() -> None:
    records = runs({0: (60.0, 60.0), 2: (70.0, 71.0)})
    records += runs({0: (20.0, 30.0), 2: (70.0, 60.0)}, criterion="magnitude")
    found = statistics.compute(
        "initialisation_loss_by_criterion", evidence(*records), {"network": "bottleneck", "ratio": 0.5}
    )
    assert found.values == {0: 40.0, 1: 19.0}
    assert len(found.records[0]) == 4


def test_what_initialisation_costs_can_be_held_against_the_dense_run() -> None:
    records = runs({None: (80.0, 81.0), 0: (60.0, 60.0), 2: (70.0, 71.0)})
    records += runs({0: (20.0, 30.0), 2: (70.0, 60.0)}, criterion="magnitude")
    settings = {"network": "bottleneck", "ratio": 0.5, "against": "dense"}
    found = statistics.compute("initialisation_loss_by_criterion", evidence(*records), settings)
    assert found.values == {0: 40.0, 1: 30.0}
    settings = {"network": "bottleneck", "criterion": "gradient"}
    losses = {0.1: 9.0, 0.3: 4.0, 0.5: 1.0}
    records = [
        record
        for ratio, loss in losses.items()
        for record in runs({0: (70.0 - loss,), 2: (70.0 - 2 * ratio - loss,)}, ratio=ratio)
    ]
    # Against the reference it grows with the ratio, against the dense run it falls.
    found = statistics.compute("initialisation_loss_trend", evidence(*records), settings)
    assert found.values == {0: pytest.approx(-1.0)}
    dense = evidence(*records, *runs({None: (80.0,)}))
    found = statistics.compute("initialisation_loss_trend", dense, settings | {"against": "dense"})
    assert found.values == {0: pytest.approx(-1.0)}


def test_the_trend_of_the_loss_is_a_rank_correlation_over_all_ratios() -> None:
    losses = {0.1: (1.0, 5.0), 0.3: (4.0, 5.0), 0.5: (3.0, 5.0)}
    records = [
        record
        for ratio, (first, second) in losses.items()
        for record in runs({0: (70.0 - first, 70.0 - second), 2: (70.0, 70.0)}, ratio=ratio)
    ]
    settings = {"network": "bottleneck", "criterion": "gradient"}
    found = statistics.compute("initialisation_loss_trend", evidence(*records), settings)
    assert found.values == {0: pytest.approx(0.5), 1: 0.0}  # ranks 1, 3, 2; and no change at all
    missing = [r for r in records if r.id != spec(0, ratio=0.1).id]
    assert statistics.compute("initialisation_loss_trend", evidence(*missing), settings).values == {1: 0.0}
    few = PROFILE.model_copy(
        update={"sweeps": {"full": (PROFILE.sweeps["full"][0].model_copy(update={"ratios": (0.1, 0.5)}),)}}
    )
    found = statistics.compute("initialisation_loss_trend", evidence(*records, profile=few), settings)
    assert found.values == {}


# Structures


def left(at: int, seed: int, counts: tuple[int, int] | None, **settings: Any) -> Record:
    structure = dict(zip(LAYERS, counts, strict=True)) if counts else None
    history = (epoch(at, "prune", structure=structure),) if counts else ()
    return example(spec(at, seed, **settings), history=history)


def test_structures_settle_if_the_reference_is_nearer_to_the_last_than_the_first_is() -> None:
    first, reference, last = (9, 3), (6, 6), (7, 5)
    records = [left(at, 0, n) for at, n in ((0, first), (2, reference), (8, last))]
    records += [left(0, 1, None), left(2, 1, reference), left(8, 1, last)]  # the first one collapsed
    found = statistics.compute(
        "structure_settling", evidence(*records), {"criterion": "gradient", "ratio": 0.5}
    )
    late = similarity(list(reference), list(last))
    early = similarity(list(first), list(last))
    assert found.values == {0: pytest.approx(late - early)}
    assert late > early
    assert set(found.records[0]) == {spec(at).id for at in (0, 2, 8)}


def watched(seed: int, rows: dict[int, dict[str, Any]], criterion: str = "gradient") -> Record:
    """A dense run; by epoch, [window, previous] of psi and jaccard, at 50 %, or by ratio of psi alone."""
    history = []
    for number in range(EPOCHS):
        at = {"counts": [6, 6], "psi": [None, None], "hamming": [None, None], "jaccard": [None, None]}
        ratios = {"0.5": at | rows.get(number, {})}
        for ratio, value in rows.get(number, {}).get("by_ratio", {}).items():
            ratios[ratio] = at | {"psi": [value, None]}
        ratios["0.5"].pop("by_ratio", None)
        tracked = {criterion: {"spearman": [None, None], "kendall": [None, None], "ratios": ratios}}
        history.append(epoch(number, tracked=tracked))
    return example(spec(None, seed), trunk=None, layers=LAYERS, history=tuple(history))


HALF = {"criterion": "gradient", "ratio": 0.5}


def test_motion_is_the_first_thirds_minus_the_last_thirds() -> None:
    similar = {1: 0.5, 2: 0.7, 3: 0.1, 4: 0.1, 5: 0.1, 6: 0.9, 7: 0.9, 8: 0.8}  # of 9 epochs: 0-2 and 6-8
    rows = {t: {"psi": [None, value]} for t, value in similar.items()}
    found = statistics.compute("structure_motion", evidence(watched(1, rows)), HALF)
    assert found.values == {1: pytest.approx(0.4 - 0.4 / 3)}
    assert found.records == {1: (spec(None, 1).id,)}


def test_the_first_ninth_s_motion_against_the_rest() -> None:
    similar = {1: 0.5, 2: 0.7, 3: 0.9, 4: 0.9, 5: 0.9, 6: 0.9, 7: 0.9, 8: 0.9}
    rows = {t: {"psi": [None, value]} for t, value in similar.items()}
    longer = PROFILE.model_copy(update={"recipe": PROFILE.recipe.model_copy(update={"epochs": 27})})
    run = watched(0, rows)
    spec = longer.spec(architecture=BOTTLENECK, seed=0)
    moved = run.model_copy(update={"spec": spec, "id": spec.id})
    found = statistics.compute("early_motion", evidence(moved, profile=longer), HALF | {"times": 2.0})
    assert found.values == {0: pytest.approx((0.5 + 0.3) / 2 - 2 * 0.1)}
    stays = statistics.compute("structure_stays", evidence(moved, profile=longer), HALF)
    assert stays.values == {0: pytest.approx(0.9)}


def test_epi_rises_where_it_does_not_fall() -> None:
    rows = {t: {"psi": [value, None]} for t, value in {3: 0.5, 4: 0.7, 5: 0.6, 6: 0.6, 7: 0.8}.items()}
    found = statistics.compute("epi_rises", evidence(watched(0, rows)), HALF)
    assert found.values == {0: pytest.approx(3 / 4)}


def test_the_trend_of_epi_is_over_the_epochs() -> None:
    epi = {3: 0.5, 4: 0.7, 5: 0.6, 6: 0.9}
    rows = {t: {"psi": [value, 0.3]} for t, value in epi.items()}
    constant = {t: {"psi": [1.0, 0.3]} for t in range(3, 9)}
    found = statistics.compute("epi_trend", evidence(watched(0, rows), watched(1, constant)), HALF)
    expected = stats.spearmanr(list(epi), list(epi.values())).statistic
    assert found.values == {0: pytest.approx(expected), 1: 0.0}
    assert statistics.compute("epi_trend", evidence(watched(0, {})), HALF).values == {}


def test_epi_against_the_ratio() -> None:
    falling = {3: {"by_ratio": {"0.1": 0.9, "0.3": 0.8, "0.5": 0.7}}}
    rising = {3: {"by_ratio": {"0.1": 0.7, "0.3": 0.8, "0.5": 0.9}}}
    records = watched(0, falling), watched(1, rising)
    found = statistics.compute("epi_ratio_trend", evidence(*records), {"criterion": "gradient"})
    assert found.values == {0: pytest.approx(-1), 1: pytest.approx(1)}
    assert statistics.compute("epi_ratio_trend", evidence(*records), {"criterion": "magnitude"}).values == {}


def test_structures_against_masks_in_the_last_third() -> None:
    rows = {t: {"psi": [0.1, 0.0], "jaccard": [0.9, 0.0]} for t in range(1, 6)}
    rows |= {t: {"psi": [0.9, 0.0], "jaccard": [0.5 + t / 100, 0.0]} for t in range(6, 9)}
    found = statistics.compute("structure_minus_mask", evidence(watched(0, rows)), HALF)
    assert found.values == {0: pytest.approx(0.9 - 0.57)}
    assert statistics.compute("structure_minus_mask", evidence(), HALF).values == {}


# Policies


def test_regrets_come_from_the_policies_table() -> None:
    rows = {t: {"psi": [0.99, 0.99]} for t in range(1, EPOCHS)}
    records = [watched(seed, rows) for seed in SEEDS]
    one = PROFILE.model_copy(
        update={"sweeps": {"full": (PROFILE.sweeps["full"][0].model_copy(update={"ratios": (0.5,)}),)}}
    )
    records += runs({0: (60.0, 61.0), 2: (70.0, 72.0), 8: (50.0, 55.0), 3: (69.0, 69.0)})
    found = evidence(*records, profile=one)
    settings = {"network": "bottleneck", "criterion": "gradient"}
    init = statistics.compute("policy_regret", found, settings | {"policy": "init"})
    assert init.values == {0: 10.0, 1: 11.0}
    expected = policy_regret(regrets(found.sweep, one), one, "bottleneck", "gradient", "random")
    random = statistics.compute("policy_regret", found, settings | {"policy": "random"})
    assert random.values == expected.to_dict()
    against = statistics.compute("regret_difference", found, settings | {"first": "init", "second": "random"})
    assert against.values == {s: init.values[s] - random.values[s] for s in SEEDS}
    assert set(init.records[0]) == {spec(at).id for at in (None, *GRID)}


# Other experiments


def with_experiments(**settings: Any) -> Profile:
    return PROFILE.model_copy(update={"experiments": {"mine": Experiments(sweep="full", **settings)}})


def changed(at: int, seed: int, **changes: Any) -> Spec:
    """A run that prunes in an epoch at 50 %, with other settings of the pruning."""
    plain = spec(at, seed)
    assert plain.pruning is not None
    return plain.model_copy(update={"pruning": plain.pruning.model_copy(update=changes)})


def test_tickets_are_compared_with_the_run_that_found_their_mask() -> None:
    own = Tickets(ratios=(0.5,), epochs=(2,), rewind=(0, 1), seeds=SEEDS)
    records = runs({None: (80.0, 80.0), 2: (70.0, 71.0)})
    records += [scored(changed(2, seed, rewind=0), 65.0) for seed in SEEDS]
    records += [scored(changed(2, seed, rewind=1), 72.0) for seed in SEEDS]
    found = evidence(*records, profile=with_experiments(tickets=own), preset="mine")
    wanted = {"ratio": 0.5, "rewind": 0}
    ticket = statistics.compute("ticket_difference", found, wanted)
    assert ticket.values == {0: 5.0, 1: 6.0}
    assert set(ticket.records[1]) == {spec(2, 1).id, changed(2, 1, rewind=0).id}
    assert statistics.compute("ticket_difference", found, wanted | {"rewind": 1}).values == {0: -2.0, 1: -1.0}
    for missing in ({"ratio": 0.3}, {"rewind": 2}):
        assert statistics.compute("ticket_difference", found, wanted | missing) == Sample()


def test_other_masks_are_compared_with_the_original() -> None:
    own = Variations(ratios=(0.5,), epoch=2, same=2, other=1, seeds=(0,))
    accuracies = {
        None: 70.0,
        Variation(kind="same", draw=0): 71.0,
        Variation(kind="same", draw=1): 68.0,
        Variation(kind="other", draw=0): 60.0,
    }
    records = [scored(changed(2, 0, rewind=2, variation=v), a) for v, a in accuracies.items()]
    found = evidence(*records, profile=with_experiments(variations=own), preset="mine")
    same = statistics.compute("variation_distance", found, {"ratio": 0.5, "kind": "same"})
    assert same.values == {0: 1.5}  # of 1 and 2 points
    assert len(same.records[0]) == 3
    assert statistics.compute("variation_contrast", found, {"ratio": 0.5}).values == {0: 8.5}
    assert statistics.compute("variation_contrast", found, {"ratio": 0.3}) == Sample()


def test_finetuning_is_compared_with_epi_on_twice_the_epochs() -> None:
    own = Pretrained(ratios=(0.5,), seeds=(0,))
    policy = EPI(threshold=PROFILE.tau["gradient"], look_back=1, patience=1, fallback=2 * EPOCHS // 3)
    longer = changed(2, 0, policy=policy).model_copy(update={"recipe": recipe(epochs=2 * EPOCHS)})
    tuned = spec(0).model_copy(update={"pretrained": True})
    pruned = Result(test_accuracy=79.5, test_loss=1.0, validation_accuracy=79.0, prune_epoch=3)
    phases = [epoch(t, "dense" if t < 4 else "sparse") for t in range(2 * EPOCHS)]
    whole = example(longer, result=pruned, history=tuple(phases))
    records = [scored(spec(None), 80.0), scored(tuned, 78.0), whole]
    profile = with_experiments(pretrained=own)
    found = evidence(*records, profile=profile, preset="mine")
    equal = statistics.compute("pretrained_difference", found, {"budget": "epochs"})
    assert equal.values == {0: 1.5}
    assert set(equal.records[0]) == {record.id for record in records}
    # Where a run failed, what hangs on its result cannot be named; the rest is there all the same.
    failed = evidence(*records[:2], scored(longer, None), profile=profile, preset="mine")
    assert len(failed.experiment("pretrained")) == 3
    assert statistics.compute("pretrained_difference", failed, {"budget": "epochs"}) == Sample()


def priced(record: Record, macs: int, share: float) -> Record:
    cost = CostRecord(dense_macs=100, macs=macs, dense_parameters=10, parameters=5, training_share=share)
    return record.model_copy(update={"cost": cost})


def settled(seed: int) -> Record:
    """A dense run in which EPI triggers after epoch 2, so that it prunes in epoch 3."""
    rows = {t: {"psi": [0.99, 0.99], "by_ratio": {"0.1": 0.99, "0.3": 0.99}} for t in range(EPOCHS)}
    return watched(seed, rows)


def test_cost_is_of_the_runs_at_initialisation_and_at_epis_epoch() -> None:
    records = [settled(0), priced(scored(spec(0), 60.0), 70, 0.75), priced(scored(spec(3), 70.0), 40, 0.65)]
    one = PROFILE.sweeps["full"][0].model_copy(update={"ratios": (0.5,), "epochs": (0, 3)})
    found = evidence(*records, profile=PROFILE.model_copy(update={"sweeps": {"full": (one,)}}))
    at = {"ratio": 0.5}
    macs = statistics.compute("macs_difference", found, at)
    assert macs.values == {0: pytest.approx(0.3)}
    assert set(macs.records[0]) == {record.id for record in records}
    saving = statistics.compute("training_saving", found, at)
    assert saving.values == {0: pytest.approx(0.35)}
    assert spec(0).id not in saving.records[0]
    # One dense schedule, and a second one of 9 epochs of which the first is dense, the others at 40 %.
    tuned = 1 + (1 + 8 * 0.4) / 9
    assert statistics.compute("cost_ratio", found, at).values == {0: pytest.approx(tuned / 0.65)}
    steps = statistics.compute("step_difference", found, at | {"first": "init", "second": "epi"})
    assert steps == Sample()  # no step was timed


def test_timed_steps_name_their_file(tmp_path: Path) -> None:
    records = [settled(0)]
    structures = {0: {"layer1.0.conv1": 3}, 3: {"layer1.0.conv1": 2}}
    for at, structure in structures.items():
        history = (epoch(at, "prune", structure=structure),)
        records.append(priced(scored(spec(at), 60.0), 50, 0.7).model_copy(update={"history": history}))
    second = Seconds(forward=0.1, backward=0.1, update=0.1)
    times = {
        network_key(spec(at), structure): StepTime(
            architecture=BOTTLENECK, structure=structure, dense=second, pruned=second, shares=(share,)
        )
        for (at, structure), share in zip(structures.items(), (0.8, 0.5), strict=True)
    }
    session = Session(provenance=ORIGIN, steps=1, times=times)
    speeds = Speeds(profile="smoke", hardware=ORIGIN.hardware, device="cpu", threads=1, batch=1,
                    precision="float32", channels_last=True, clock="wall", sessions=(session,))  # fmt: skip
    file = write_speeds(tmp_path, speeds)
    one = PROFILE.sweeps["full"][0].model_copy(update={"ratios": (0.5,), "epochs": (0, 3)})
    store = Shelf(records)
    store.root = tmp_path
    profile = PROFILE.model_copy(update={"sweeps": {"full": (one,)}})
    wanted = {"ratio": 0.5, "first": "init", "second": "epi"}
    found = statistics.compute("step_difference", Evidence(profile, "full", store), wanted)  # type: ignore[arg-type]
    assert found.values == {0: pytest.approx(0.3)}
    assert found.files == (file,)
    assert paired(lambda a: a, found).files == (file,)
    # Epochs 0 to 3 are dense, the five that are left take half as long.
    ours, theirs = (4 + 5 * 0.5) / 9, 1 + (1 + 8 * 0.5) / 9
    for name, value in (("training_saving", 1 - ours), ("cost_ratio", theirs / ours)):
        timed = statistics.compute(
            name,
            Evidence(profile, "full", store),  # type: ignore[arg-type]
            {"ratio": 0.5, "by": "steps"},
        )
        assert timed.values == {0: pytest.approx(value)}
        assert timed.files == (file,)


def test_prunetrain_is_compared_at_the_share_that_removes_as_much() -> None:
    own = Rival(shares=(0.2,), interval=2, threshold=0.02, ratio=0.5, seeds=(0,))
    theirs = spec(None).model_copy(
        update={"method": PruneTrainSettings(share=0.2, interval=2, threshold=0.02)}
    )
    records = [
        settled(0),
        priced(scored(spec(3), 70.0), 40, 0.65).model_copy(update={"history": ()}),
        priced(scored(theirs, 72.0), 60, 0.9).model_copy(update={"history": ()}),
    ]
    found = evidence(*records, profile=with_experiments(prunetrain=own), preset="mine")
    accuracy = statistics.compute("rival_difference", found, {"value": "accuracy"})
    assert accuracy.values == {0: -2.0}
    assert statistics.compute("rival_difference", found, {"value": "saving"}).values == {
        0: pytest.approx(0.25)
    }
    assert {theirs.id, spec(3).id} <= set(accuracy.records[0])


# Arguments


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("accuracy", {}, "unknown statistic 'accuracy'; known are accuracy_difference"),
        ("epi_trend", {"criterion": "gradient"}, "statistic epi_trend: ratio: Field required"),
        ("epi_trend", HALF | {"network": "basic"}, "network: Extra inputs are not permitted"),
        ("epi_trend", {"criterion": "random", "ratio": 0.5}, r"criterion: .*\(got 'random'\)"),
        ("epi_trend", {"criterion": "gradient", "ratio": 1.5}, r"ratio: .*less than 1 \(got 1.5\)"),
        ("epi_trend", {"criterion": "gradient", "ratio": "0.5"}, "ratio: .*valid number"),
        ("threshold_difference", {"ratio": 0.5}, "ratio: Extra inputs"),
    ],
)
def test_wrong_arguments_are_refused_by_name(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        statistics.check(name, arguments)
    with pytest.raises(ValueError, match=message):
        statistics.compute(name, evidence(), arguments)


def test_without_any_run_every_statistic_is_an_empty_sample() -> None:
    values: dict[str, Any] = {
        "network": "bottleneck", "criterion": "gradient", "ratio": 0.5, "at": "first", "policy": "epi",
    }  # fmt: skip
    for name, function in statistics.STATISTICS.items():
        wanted = list(function.__annotations__)
        given = {key: value for key, value in values.items() if key in wanted}
        if "first" in wanted:
            moments = ("reference", "first") if name == "accuracy_difference" else ("init", "epi")
            given |= dict(zip(("first", "second"), moments, strict=True))
        given |= {key: value for key, value in OTHERS.items() if key in wanted}
        given |= {"at": "later"} if name == "ticket_difference" else {}
        assert statistics.compute(name, evidence(), given) == Sample(), name


OTHERS: dict[str, Any] = {
    "rewind": 0, "kind": "same", "budget": "epochs", "value": "saving",
    "times": 2.0, "ratios": [0.5], "share": 0.5, "of": "init",
}  # fmt: skip
