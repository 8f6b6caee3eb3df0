"""Experiments: which runs each one names, stage after stage, and that all of them train and resume."""

from collections import Counter
from pathlib import Path

import pytest
import tiny

from pat.study import experiments
from pat.study.experiments.pretrained.runs import epochs_of_equal_time
from pat.study.plan.profile import Cells, Contrast, Profile, load_profile
from pat.study.plan.settings import (
    Experiments,
    Pretrained,
    Rival,
    Steps,
    Tickets,
    Units,
    Variations,
    Virtual,
    Window,
)
from pat.study.plan.spec import EPI, AtEpoch, Spec, Tracking
from pat.study.runs.sweep import How
from pat.study.store import Store
from pat.study.store.record import Record

DIGITS = load_profile("digits-24")
PLAIN = {"ratios": (0.5,), "seeds": (0, 1)}
TINY = Profile(
    name="tiny",
    title="Plain digits",
    purpose="Tests.",
    machine="any",
    dataset="digits",
    architectures=("resnet8-bottleneck",),
    recipe=tiny.RECIPE,
    tracking=Tracking(ratios=(0.5, 0.8), look_back=2),
    patience=1,
    tau={"magnitude": 0.983, "gradient": 0.944},
    contrast=Contrast(reference=1, last=3),
    sweeps={
        "few": (
            Cells(architecture="resnet8-bottleneck", criterion="gradient", epochs=(0, 1, 3), **PLAIN),
            Cells(architecture="resnet8-bottleneck", criterion="magnitude", epochs=(1, 3), **PLAIN),
        )
    },
    experiments={
        "few": Experiments(
            sweep="few",
            tickets=Tickets(epochs=(2,), rewind=(0, 1), **PLAIN),
            variations=Variations(epoch=2, same=2, other=1, **PLAIN),
            pretrained=Pretrained(**PLAIN),
            prunetrain=Rival(shares=(0.4,), interval=2, threshold=0.02, ratio=0.5, seeds=(0, 1)),
            window=Window(look_back=1, patience=0),
            steps=Steps(values=(1, 2), **PLAIN),
            units=Units(epochs=(2,), **PLAIN),
            virtual=Virtual(slices=2, seeds=(0, 1)),
        )
    },
)


def kinds(specs: list[Spec]) -> Counter[str]:
    return Counter(spec.experiment for spec in specs)


def test_the_first_stages_of_digits_name_these_runs() -> None:
    own = DIGITS.preset("full")
    assert own.tickets is not None
    assert own.variations is not None
    found = kinds(experiments.specs("tickets", DIGITS, "full"))
    cells = len(own.tickets.seeds) * len(own.tickets.ratios)
    assert found == {"dense": 5, "sweep": cells * 4, "ticket": cells * (1 + 3 * 2)}
    masks = own.variations.same + own.variations.other
    found = kinds(experiments.specs("variations", DIGITS, "full"))
    assert found == {"ticket": 10, "variation": 10 * masks}
    found = kinds(experiments.specs("pretrained", DIGITS, "full"))
    assert found == {"dense": 5, "pretrained": 15, "sweep": 15}
    assert len(experiments.specs("policies", DIGITS, "full")) == len(DIGITS.sweep("full"))


def test_a_ticket_is_never_rewound_to_its_own_epoch_or_later() -> None:
    for spec in experiments.specs("tickets", DIGITS, "full"):
        pruning = spec.pruning
        if pruning is not None and pruning.rewind:
            assert pruning.rewind < pruning.policy.epoch  # type: ignore[union-attr]


def test_virtual_epochs_keep_the_samples_and_the_warm_up() -> None:
    (spec, *_) = experiments.specs("virtual", DIGITS, "full")
    assert spec.recipe.epochs == 4 * DIGITS.recipe.epochs
    assert spec.recipe.warmup_epochs == 4 * DIGITS.recipe.warmup_epochs
    assert spec.recipe.slices == 4
    assert spec.pruning is None


def test_units_differ_from_filters_in_the_dense_run_too() -> None:
    specs = experiments.specs("units", DIGITS, "full")
    assert {spec.neurons.count for spec in specs} == {"unit"}
    assert {spec.trunk.id for spec in specs} == {spec.id for spec in specs if spec.pruning is None}


def test_all_specs_are_valid_as_written_and_read(tmp_path: Path) -> None:
    for profile in (DIGITS, load_profile("smoke"), load_profile("cifar10-small-30")):
        for preset in profile.experiments:
            for name in experiments.names(profile, preset):
                for spec in experiments.specs(name, profile, preset):
                    assert Spec.model_validate_json(spec.model_dump_json()).id == spec.id


def test_bad_names_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no experiments 'all'; it has full, quick"):
        experiments.names(DIGITS, "all")
    with pytest.raises(ValueError, match="no experiment 'masks' in preset 'few'; it has policies, tickets"):
        experiments.run("masks", TINY, "few", Store(tmp_path))
    with pytest.raises(ValueError, match="no experiment 'units' in preset 'full'"):
        experiments.run("units", load_profile("cifar10-small-30"), "full", Store(tmp_path))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def run(name: str, store: Store) -> list[Record]:
    return experiments.run(name, TINY, "few", store)


@pytest.mark.parametrize("name", experiments.names(TINY, "few"))
def test_every_experiment_runs_and_is_then_only_read(name: str, store: Store) -> None:
    records = run(name, store)
    assert {record.status for record in records} <= {"done", "collapsed"}
    again: list[object] = []
    experiments.run(name, TINY, "few", store, How(on_progress=again.append))
    assert again == []
    assert {s.id for s in experiments.specs(name, TINY, "few", records)} == {r.id for r in records}


def test_experiments_together_train_what_they_share_once_and_end_like_each_alone(
    store: Store, tmp_path: Path
) -> None:
    trained: list[object] = []
    names = ["policies", "window", "steps"]
    found = experiments.run_together(
        names, TINY, "few", Store(tmp_path), How(on_progress=lambda told: trained.append(told.record.id))
    )
    assert list(found) == names
    assert len(trained) == len(set(trained)) == len({r.id for own in found.values() for r in own})
    for name in names:
        assert results(found[name]) == results(run(name, store))


def results(records: list[Record]) -> dict[str, object]:
    return {record.id: record.result for record in records}


def test_pretrained_runs_stand_beside_epi_at_equal_epochs_and_equal_time(store: Store) -> None:
    records = run("pretrained", store)
    by_epi = [r for r in records if r.spec.pruning and isinstance(r.spec.pruning.policy, EPI)]
    lengths = Counter(r.spec.recipe.epochs for r in by_epi)
    assert 2 * TINY.recipe.epochs in lengths
    assert sum(lengths.values()) in (2, 4)  # 2 if equal time happens to be equal epochs
    for record in by_epi:
        assert record.result is not None
        assert record.result.prune_epoch is not None


def test_epochs_of_equal_time_by_hand(store: Store) -> None:
    """With every epoch at one second, a budget of 4 + 4 epochs is 8 epochs."""

    def timed(record: Record, dense: float, sparse: float) -> Record:
        history = tuple(
            e.model_copy(update={"seconds": sparse if e.phase == "sparse" else dense}) for e in record.history
        )
        return record.model_copy(update={"history": history})

    records = run("pretrained", store)
    assert epochs_of_equal_time([timed(r, 1, 1) for r in records], 0.5) == 8
    own = next(r for r in records if r.spec.pruning and isinstance(r.spec.pruning.policy, EPI))
    assert own.result is not None
    assert own.result.prune_epoch is not None
    # Finetuning: one pruning epoch and three sparse ones, median 1; EPI: p + 1 dense ones at 2, others at 1.
    found = epochs_of_equal_time([timed(r, 2, 1) for r in records], 0.5)
    before = own.result.prune_epoch + 1
    assert found == before + (4 * 2 + 4 * 1 - before * 2)
    with pytest.raises(ValueError, match=r"no finetuned run at ratio 0\.3"):
        epochs_of_equal_time(records, 0.3)


def test_rival_picks_prune_where_epi_would(store: Store) -> None:
    picks = [r.spec for r in run("prunetrain", store) if r.spec.experiment == "sweep"]
    assert {spec.pruning.ratio for spec in picks if spec.pruning} == {0.5}
    assert all(isinstance(spec.pruning.policy, AtEpoch) for spec in picks if spec.pruning)
