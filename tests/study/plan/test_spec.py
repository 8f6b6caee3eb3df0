"""Specs: ids that stay, ids that differ, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError
from tiny import dense, pruned, recipe

from pat.files.errors import explain
from pat.files.sealed import canonical
from pat.rivals.prunetrain import PruneTrainSettings
from pat.study.plan.spec import EPI, AtEpoch, Neurons, Pruning, RandomEpoch, Spec, Tracking
from pat.study.store import Store
from pat.study.store.record import read_record, write_record
from pat.training.recipe import Recipe

METHOD = PruneTrainSettings(share=0.2, interval=1, threshold=0.1)
GOLDEN = Path(__file__).parent / "golden" / "spec_ids.txt"


def with_policy(policy: Any, **changes: Any) -> Spec:
    return dense(pruning=Pruning(criterion="gradient", ratio=0.5, policy=policy), **changes)


def pinned() -> dict[str, Spec]:
    """Specs that say everything themselves, so that no manifest or recipe of the project moves them."""
    fields: dict[str, Any] = {
        "profile": "golden",
        "dataset": "digits",
        "data_checksum": "0" * 64,
        "architecture": "resnet8-basic",
        "recipe": Recipe(
            epochs=24,
            batch_size=100,
            learning_rate=0.2,
            warmup_epochs=2,
            weight_decay=5e-3,
            channels_last=True,
        ),
        "tracking": Tracking(ratios=(0.1, 0.5)),
        "seed": 3,
        "method_version": 1,
    }
    policies = {
        "epoch": AtEpoch(epoch=5),
        "epi": EPI(threshold=0.983, look_back=3, fallback=20),
        "random": RandomEpoch(high=8),
    }
    return {"dense": Spec(**fields)} | {
        name: Spec(**fields, pruning=Pruning(criterion="magnitude", ratio=0.5, policy=policy))
        for name, policy in policies.items()
    }


def test_ids_are_the_pinned_ones() -> None:
    lines = [line for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    assert dict(line.split() for line in lines) == {name: spec.id for name, spec in pinned().items()}


def test_a_field_that_is_added_later_with_a_default_changes_no_id() -> None:
    class LaterRecipe(Recipe):
        ema: float | None = None

    class LaterNeurons(Neurons):
        exclude: tuple[str, ...] = ()

    class LaterPruning(Pruning):
        rival: str = "none"

    class LaterSpec(Spec):
        recipe: LaterRecipe
        neurons: LaterNeurons = LaterNeurons()
        pruning: LaterPruning | None = None
        compiled: bool = False
        workers: int = Field(default=0)

    for spec in pinned().values():
        later = LaterSpec.model_validate(spec.model_dump())
        assert later.id == spec.id
        assert later.model_copy(update={"compiled": True}).id != spec.id


def test_the_id_is_the_same_in_another_process() -> None:
    code = (
        "import sys; sys.path.append('../..'); import test_spec; "
        "print(*(s.id for s in test_spec.pinned().values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.split() == [spec.id for spec in pinned().values()]


CHANGES: dict[str, dict[str, Any]] = {
    "profile": {"profile": "other"},
    "dataset": {"dataset": "digits-cluttered"},
    "checksum": {"data_checksum": "f" * 64},
    "architecture": {"architecture": "mobilenetv1-tiny"},
    "seed": {"seed": 1},
    "threads": {"threads": 2},
    "device": {"device": "cuda"},
    "method": {"method_version": 99},
    "ratios": {"tracking": Tracking(ratios=(0.5,), look_back=2)},
    "look back": {"tracking": Tracking(ratios=(0.5, 0.8), look_back=3)},
    "neurons": {"neurons": Neurons(count="unit")},
    "epochs": {"recipe": recipe(epochs=5)},
    "precision": {"recipe": recipe(precision="bf16")},
    "augmentation": {"recipe": recipe(augment={"flip": True})},
    "pruning": {"pruning": Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=1))},
}


def test_whatever_decides_the_result_changes_the_id() -> None:
    policies = [AtEpoch(epoch=0), AtEpoch(epoch=2), RandomEpoch(high=2), EPI(threshold=0.9),
                EPI(threshold=0.9, fallback=2), EPI(threshold=0.9, patience=4)]  # fmt: skip
    specs = [dense(), *(dense(**change) for change in CHANGES.values())]
    specs += [with_policy(policy) for policy in policies]
    specs += [pruned(1, "magnitude"), pruned(1, ratio=0.6)]
    assert len({spec.id for spec in specs}) == len(specs)


def test_the_same_spec_written_otherwise_has_the_same_id() -> None:
    content = pruned(2).model_dump(mode="json")
    shuffled = json.loads(json.dumps(content, sort_keys=True))
    assert Spec.model_validate(shuffled).id == pruned(2).id
    assert dense(neurons=Neurons(count="filter"), threads=1).id == dense().id
    assert dense(recipe=recipe(learning_rate=1)).id == dense(recipe=recipe(learning_rate=1.0)).id


@pytest.mark.parametrize("name", ["dense", "epoch", "epi", "random"])
def test_a_spec_survives_json(name: str) -> None:
    spec = pinned()[name]
    back = Spec.model_validate_json(spec.model_dump_json())
    assert back == spec
    assert back.id == spec.id
    assert hash(back) == hash(spec)


def test_canonical_json() -> None:
    assert canonical({"b": [1, 0.5], "a": None}) == b'{"a":null,"b":[1,0.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


def test_the_trunk_is_the_dense_run() -> None:
    for spec in (dense(), pruned(0), pruned(3, "magnitude", 0.8), with_policy(EPI(threshold=0.9))):
        assert spec.trunk == dense()
        assert spec.trunk.id == dense().id


def test_the_pruning_epoch_where_the_spec_alone_tells() -> None:
    assert dense().prune_epoch is None
    assert pruned(3).prune_epoch == 3
    assert with_policy(EPI(threshold=0.9)).prune_epoch is None
    drawn = {with_policy(RandomEpoch(low=1, high=3), seed=seed).prune_epoch for seed in range(30)}
    assert drawn == {1, 2, 3}
    assert with_policy(RandomEpoch(high=3)).prune_epoch == with_policy(RandomEpoch(high=3)).prune_epoch


def test_epi_with_a_fallback_is_not_a_fixed_epoch() -> None:
    """EPI may trigger before it, so that such a run must not branch there."""
    spec = with_policy(EPI(threshold=0.9, fallback=2))
    assert spec.prune_epoch is None
    assert spec.title.endswith("by EPI, seed 0")


def test_titles() -> None:
    assert dense().title == "resnet8-basic dense, seed 0"
    assert pruned(2, ratio=0.55).title == "resnet8-basic gradient 55 % at epoch 2, seed 0"


BAD: dict[str, tuple[Any, str]] = {
    "ratio of 1": (lambda: pruned(1, ratio=1.0), r"ratio: .*less than 1 \(got 1.0\)"),
    "negative ratio": (lambda: pruned(1, ratio=-0.1), r"ratio: .*greater than or equal to 0 \(got -0.1\)"),
    "ratio not a number": (lambda: pruned(1, ratio=float("nan")), r"ratio: .*\(got nan\)"),
    "criterion": (
        lambda: pruned(1, "taylor"),
        "criterion: unknown .*'taylor'; known are gradient, magnitude",
    ),
    "late": (lambda: pruned(4), r"pruning.policy.epoch: 4 is beyond the schedule of 4 epochs \(0 to 3\)"),
    "negative epoch": (lambda: with_policy({"kind": "epoch", "epoch": -1}), "not negative, got -1"),
    "range": (lambda: with_policy(RandomEpoch(high=4)), r"policy.high: 4 is beyond .* \(0 to 3\)"),
    "empty range": (
        lambda: with_policy({"kind": "random", "low": 3, "high": 2}),
        r"low <= high, got \[3, 2\]",
    ),
    "no range": (lambda: with_policy({"kind": "random"}), "low <= high"),
    "fallback": (lambda: with_policy(EPI(threshold=0.9, fallback=4)), r"fallback: 4 is beyond .* 4 epochs"),
    "threshold": (lambda: with_policy({"kind": "epi", "threshold": 1.1}), r"lie in \[0, 1\], got 1.1"),
    "no threshold": (lambda: with_policy({"kind": "epi"}), "threshold: Field required"),
    "setting": (lambda: with_policy({"kind": "epoch", "epoch": 1, "low": 0}), "low: Extra inputs"),
    "seed": (lambda: dense(seed=-1), r"seed: .*\(got -1\)"),
    "threads": (lambda: dense(threads=0), r"threads: .*\(got 0\)"),
    "device": (lambda: dense(device="tpu"), r"device: .*'cpu' or 'cuda'.*\(got 'tpu'\)"),
    "unknown field": (lambda: dense(sed=1), r"sed: Extra inputs are not permitted \(got 1\)"),
    "watched ratio": (lambda: Tracking(ratios=(0.5, 1.0)), r"ratios.1: .*\(got 1.0\)"),
    "policy": (
        lambda: with_policy({"kind": "soon"}),
        "policy: unknown .*'soon'; known are epoch, random, epi",
    ),
    "no policy": (lambda: with_policy(3), "policy: expected a kind, one of epoch, random, epi"),
    "method": (
        lambda: dense(prunetrain={"share": 2.0, "interval": 1, "threshold": 0.1}),
        "share must lie in",
    ),
    "two methods": (lambda: dense(prunetrain={}, method=METHOD), "expected one method"),
}


@pytest.mark.parametrize("case", BAD)
def test_messages_name_field_value_and_expectation(case: str) -> None:
    make, message = BAD[case]
    with pytest.raises(ValidationError) as caught:
        make()
    text = explain(caught.value)
    assert "\n" not in text
    import re

    assert re.search(message, text), text


def test_records_keep_the_spec(tmp_path: Path) -> None:
    from test_record import example

    for number, spec in enumerate(pinned().values()):
        write_record(tmp_path / f"{number}.json", example(spec))
        back = read_record(tmp_path / f"{number}.json").spec
        assert (back, back.id) == (spec, spec.id)
        assert Store(tmp_path).folder(back) == tmp_path / spec.id
