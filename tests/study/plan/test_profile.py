"""Profiles: those that come with the package, users' own, and files that are none."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pat.files import paths
from pat.study.plan.profile import Cells, list_profiles, load_profile
from pat.study.plan.spec import EPI, AtEpoch
from pat.training.data import load_manifest

PACKAGED = sorted(file.stem for file in paths.PROFILES.glob("*.yaml"))
CONTENT: dict[str, Any] = yaml.safe_load((paths.PROFILES / "smoke.yaml").read_text())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder of profiles."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


def write(folder: Path, **changes: Any) -> None:
    content = {k: v for k, v in (CONTENT | changes).items() if v is not None}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("name", PACKAGED)
def test_every_packaged_profile_builds_its_sweeps(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    load_manifest(profile.dataset)
    for preset, blocks in profile.sweeps.items():
        specs = profile.sweep(preset)
        assert len({spec.id for spec in specs}) == len(specs) > 0
        assert {spec.architecture for spec in specs} <= set(profile.architectures)
        phases = [spec.pruning is not None for spec in specs]
        assert phases == sorted(phases)
        trunks = {spec.id for spec in specs if spec.pruning is None}
        assert {spec.trunk.id for spec in specs} == trunks
        expected = {
            (c.architecture, c.criterion, ratio, epoch, seed)
            for c in blocks
            for ratio in c.ratios
            for epoch in c.epochs
            for seed in c.seeds
        }
        found = {
            (s.architecture, s.pruning.criterion, s.pruning.ratio, s.prune_epoch, s.seed)
            for s in specs
            if s.pruning
        }
        assert found == expected
        watched = set(profile.tracking.ratios)
        assert {spec.pruning.ratio for spec in specs if spec.pruning} <= watched


def test_the_study_and_smoke_profiles_are_there() -> None:
    assert {"digits", "smoke", "cifar10", "cifar10-small", "imagenette", "imagenet"} <= set(list_profiles())


def test_a_users_profile_is_found_and_does_not_hide_a_packaged_one(own: Path) -> None:
    write(own, title="My own")
    (own / "smoke.yaml").write_text((own / "mine.yaml").read_text())
    assert "mine" in list_profiles()
    assert load_profile("mine").title == "My own"
    assert load_profile("smoke").title != "My own"


@pytest.mark.parametrize("name", ["digit", "", "../digits", "/etc/passwd", "digits.yaml"])
def test_an_unknown_profile_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown profile .*; known are .*digits, .*smoke"):
        load_profile(name)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"architecture": "x"}, "architecture: Extra inputs"),
    "missing field": ({"recipe": None}, "recipe: Field required"),
    "architecture": ({"architectures": ["resnet9"]}, "unknown architecture 'resnet9'; known are"),
    "no architecture": ({"architectures": []}, "architectures: .*at least 1 item"),
    "recipe": ({"recipe": CONTENT["recipe"] | {"epochs": -1}}, r"recipe.epochs: .*\(got -1\)"),
    "warm-up": ({"recipe": CONTENT["recipe"] | {"warmup_epochs": 5}}, "warmup_epochs: 5 must be under"),
    "tau too high": ({"tau": {"gradient": 0.9, "magnitude": 98}}, r"tau.magnitude: .*\(got 98\)"),
    "tau of another": ({"tau": {"gradient": 0.9, "magnitude": 0.9, "snip": 0.9}}, "unknown criterion 'snip'"),
    "tracked ratio": ({"tracking": {"ratios": [1.5]}}, r"tracking.ratios.0: .*\(got 1.5\)"),
    "ratio": ({"sweeps": {"s": [{"architecture": "resnet8-basic", "criterion": "gradient",
                                 "ratios": [1.0], "epochs": [0], "seeds": [0]}]}}, r"\(got 1.0\)"),
    "sweep": ({"experiments": {"few": {"sweep": "none"}}}, r"experiments.few.sweep: 'none' is no sweep"),
    "EPI's ratio": ({"experiments": {"few": {"sweep": "study", "latency": {
        "ratios": [0.55], "weights": [0.1], "seeds": [0]}}}}, "EPI is not tracked at ratio 0.55"),
    "the same window": ({"patience": 3, "experiments": {"few": {"sweep": "study", "window": {
        "look_back": CONTENT["tracking"]["look_back"], "patience": 3}}}}, "2 and 3 are the profile's own"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_profile_is_named_with_its_field(case: str, own: Path) -> None:
    changes, message = BAD[case]
    write(own, **changes)
    with pytest.raises(ValueError, match=rf"(?s)profile .*mine\.yaml: .*{message}"):
        load_profile("mine")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch was-run']",
        "title: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [was-run]]",
        "title: !!python/name:os.system",
        "- a list",
        "just text",
        "",
        "title: [unclosed",
        "\x00",
        "{1: 2}",
    ],
)
def test_files_that_are_no_profile_are_refused_and_run_nothing(text: str, own: Path) -> None:
    (own / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"profile .*mine\.yaml: "):
        load_profile("mine")
    assert not Path("was-run").exists()
    (own / "mine.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"profile .*mine\.yaml: "):
        load_profile("mine")


def test_one_run_of_a_profile() -> None:
    profile = load_profile("smoke")
    spec = profile.spec(seed=4, criterion="magnitude", ratio=0.5, policy=AtEpoch(epoch=3))
    assert (spec.profile, spec.architecture, spec.seed) == ("smoke", profile.architectures[0], 4)
    assert spec.data_checksum == load_manifest(profile.dataset).checksum
    assert spec.recipe == profile.recipe
    assert profile.spec(seed=4) == spec.trunk
    other = profile.spec(dataset="digits", threads=2)
    assert (other.data_checksum, other.threads) == (load_manifest("digits").checksum, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "vgg"}, "unknown architecture 'vgg'; known are resnet8-bottleneck"),
        ({"ratio": 0.5}, "needs criterion, ratio and policy, got only ratio"),
        (
            {"criterion": "gradient", "ratio": 0.5, "policy": AtEpoch(epoch=5)},
            "5 is beyond the schedule of 5",
        ),
        ({"criterion": "gradient", "ratio": 1, "policy": AtEpoch(epoch=1)}, "ratio: .*less than 1"),
        ({"criterion": "snip", "ratio": 0.5, "policy": EPI(threshold=0.9)}, "criterion: .*'snip'"),
        ({"seed": -1}, r"seed: .*\(got -1\)"),
        ({"dataset": "mnist"}, "unknown dataset 'mnist'; known are"),
        ({"optimiser": "adam"}, "optimiser: Extra inputs are not permitted"),
    ],
)
def test_a_bad_run_is_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_profile("smoke").spec(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_sweep_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="profile 'smoke' has no sweep 'all'; it has study"):
        load_profile("smoke").sweep("all")


def test_a_grid_has_each_run_once_and_dense_ones_first() -> None:
    block = Cells(
        architecture="resnet8-basic", criterion="gradient", ratios=(0.5,), epochs=(0, 2), seeds=(0, 1)
    )
    specs = load_profile("smoke").grid([block, block, block.model_copy(update={"epochs": (2, 3)})])
    assert [spec.prune_epoch for spec in specs] == [None, None, 0, 2, 0, 2, 3, 3]
    assert len(set(specs)) == len(specs)


def test_a_grid_beyond_the_schedule_is_refused(own: Path) -> None:
    cells = {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5]}
    write(own, sweeps={"late": [cells | {"epochs": [9], "seeds": [0]}]}, experiments={})
    with pytest.raises(ValueError, match="9 is beyond the schedule of 5 epochs"):
        load_profile("mine").sweep("late")


def test_a_part_of_the_seeds_is_a_part_of_the_runs() -> None:
    whole = load_profile("digits")
    part = whole.of_seeds([201, 203])
    assert {spec.seed for spec in part.sweep("full")} == {201, 203}
    assert {spec.id for spec in part.sweep("full")} == {
        spec.id for spec in whole.sweep("full") if spec.seed in (201, 203)
    }
    assert part.sweep("quick") == []
    settings = part.preset("full")
    assert settings.tickets is not None
    assert settings.tickets.seeds == (201, 203)
    assert whole.of_seeds([211]).preset("full").steps is None  # five seeds have it
    with pytest.raises(ValueError, match="no sweep of profile 'digits' has seed 999"):
        whole.of_seeds([201, 999])
