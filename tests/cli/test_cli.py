"""The command line: bad input ends at once with one line and code 2; what runs is kept and goes on."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from test_store import written
from tiny import pruned
from torch import nn
from typer.testing import CliRunner, Result

from pat.cli import app
from pat.files import paths
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import EPI
from pat.study.runs import budget
from pat.study.runs import sweep as sweeps
from pat.study.store import Store
from pat.study.store.publishing import publish
from pat.training import models

SMOKE = (paths.PROFILES / "smoke.yaml").read_text()
DENSE = ["run", "--profile", "smoke"]
SWEEP = ["sweep", "--profile", "smoke"]
PRUNED = [*DENSE, "--architecture", "resnet8-basic", "--ratio", "0.5", "--prune-epoch", "2"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pat(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def own_profile(folder: Path, **changes: Any) -> None:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "mine.yaml").write_text(yaml.safe_dump(yaml.safe_load(SMOKE) | changes))


def assert_refused(folder: Path, message: str, *arguments: str) -> None:
    """Exit code 2 and one clear line, soon, with nothing written."""
    before, started = files(folder), time.monotonic()
    result = pat(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("pat: ")
    assert message in lines[0]
    assert files(folder) == before
    assert time.monotonic() - started < 30


BAD: dict[str, tuple[str, list[str]]] = {
    "profile":
        ("unknown profile 'digit'; known are", ["run", "--profile", "digit"]),
    "profile of a sweep":
        ("unknown profile 'digit'; known are", ["sweep", "--profile", "digit"]),
    "sweep":
        ("profile 'smoke' has no sweep 'all'; it has study", [*SWEEP, "--preset", "all"]),
    "jobs":
        ("jobs must be at least 1, got 0", [*SWEEP, "--jobs", "0"]),
    "architecture":
        ("unknown architecture 'resnet9'; known are", [*DENSE, "--architecture", "resnet9"]),
    "an architecture that does not fit":
        ("takes images of 3 channels", [*DENSE, "--architecture", "resnet18"]),
    "ratio of 1":
        ("(got 1.0)", [*PRUNED, "--ratio", "1"]),
    "negative ratio":
        ("(got -0.5)", [*PRUNED, "--ratio", "-0.5"]),
    "ratio of nan":
        ("(got nan)", [*PRUNED, "--ratio", "nan"]),
    "late epoch":
        ("5 is beyond the schedule of 5 epochs (0 to 4)", [*PRUNED, "--prune-epoch", "5"]),
    "negative epoch":
        ("a prune epoch must be a whole number, not negative, got -1", [*PRUNED, "--prune-epoch", "-1"]),
    "no epoch":
        ("--policy epoch needs --prune-epoch", ["run", "--ratio", "0.5", "--policy", "epoch"]),
    "epoch of EPI":
        ("--prune-epoch needs --ratio, and no other --policy", [*PRUNED, "--policy", "epi"]),
    "epoch without ratio":
        ("--prune-epoch needs --ratio", ["run", "--prune-epoch", "3"]),
    "policy without ratio":
        ("--policy random needs --ratio", ["run", "--policy", "random"]),
    "threshold":
        ("threshold must lie in [0, 1], got 1.5", ["run", "--ratio", "0.5", "--threshold", "1.5"]),
    "threshold of an epoch":
        ("--threshold needs", [*PRUNED, "--threshold", "0.5"]),
    "never with a ratio":
        ("--policy never is a dense run: leave out --ratio", [*DENSE, "--ratio", "0.5", "--policy", "never"]),
    "EPI in too few epochs":
        ("EPI prunes in epoch 11 at the earliest, but 'short' ends with epoch 9",
         ["run", "--profile", "short", "--ratio", "0.5"]),
    "an architecture that does not fit, of 16 pixels":
        ("takes images of 3 channels, got 1", [*DENSE, "--architecture", "vgg16-bn"]),
    "criterion":
        ("unknown criterion 'taylor'; known are gradient, magnitude", [*DENSE, "--criterion", "taylor"]),
    "policy":
        ("unknown policy 'soon'; known are epoch, random, epi", [*DENSE, "--policy", "soon"]),
    "method":
        ("unknown method 'soon'; known are prunetrain", [*DENSE, "--method", "soon"]),
    "method with a ratio":
        ("leave out --ratio", [*PRUNED, "--method", "prunetrain"]),
    "a method's setting that is missing":
        ("prunetrain.interval: Field required", [*DENSE, "--method", "prunetrain", "--set", "share=0.2"]),
    "a setting that the policy lacks":
        ("--set look_back needs", [*PRUNED, "--set", "look_back=3"]),
    "a setting without a value":
        ("--set takes NAME=VALUE, each name once, got 'patience'", [*PRUNED, "--set", "patience"]),
    "seed":
        ("seed: Input should be greater than or equal to 0 (got -1)", [*DENSE, "--seed", "-1"]),
    "missing data":
        ("imagenette", ["run", "--profile", "mine"]),
    "dataset":
        ("unknown dataset 'mnist'; known are", ["data", "verify", "mnist"]),
    "folder":
        ("no folder", ["data", "add", "nowhere"]),
    "run":
        ("no run in runs with an id that starts with 'abc'", ["show", "abc"]),
    "nothing to publish":
        ("runs has no finished run", ["results", "publish"]),
    "a part of the seeds of an experiment that needs all":
        ("cannot part the experiment 'policies': its thresholds are tuned on all seeds",
         ["sweep", "--profile", "smoke", "--preset", "study", "--experiment", "all", "--seeds", "0"]),
    "a store that is a file":
        ("profiles/mine.yaml is not a folder", ["status", "--store", "profiles/mine.yaml"]),
    "a store below a file":
        ("profiles/mine.yaml", [*DENSE, "--store", "profiles/mine.yaml/runs"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_at_once(case: str, here: Path) -> None:
    recipe = yaml.safe_load(SMOKE)["recipe"] | {"epochs": 10}
    own_profile(here, recipe=recipe, patience=5, tracking={"ratios": [0.5]})
    (here / "profiles" / "mine.yaml").rename(here / "profiles" / "short.yaml")
    own_profile(here, dataset="imagenette")
    message, arguments = BAD[case]
    assert_refused(here, message, *arguments)


def test_epi_may_prune_in_the_last_epoch_and_takes_the_profiles_patience(here: Path) -> None:
    epochs = load_profile("smoke").recipe.epochs
    result = pat(*DENSE, "--architecture", "resnet8-basic", "--ratio", "0.5", "--threshold", "0")
    assert result.exit_code == 0, result.output
    (record,) = Store(here / "runs").records()
    assert record.spec.pruning is not None
    assert record.spec.pruning.policy == EPI(threshold=0.0, look_back=2, patience=1)
    assert record.result is not None
    assert record.result.prune_epoch == 4 == epochs - 1  # look-back + patience + 1


def test_a_network_too_deep_for_the_images_is_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As vgg16-bn on small images: its poolings leave no pixel."""

    def deep(num_classes: int, in_channels: int, image_size: int) -> nn.Module:
        layers = [nn.Conv2d(in_channels, 4, 3, padding=1), *(nn.MaxPool2d(2) for _ in range(5))]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, num_classes))

    monkeypatch.setitem(models._BUILDERS, "resnet8-basic", deep)
    message = "resnet8-basic does not run on 16-pixel images: Given input size"
    assert_refused(here, message, *DENSE, "--architecture", "resnet8-basic")


def test_a_sweep_with_lost_runs_has_exit_code_1(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (sweeps.RunsLost("2 runs ended"), sweeps.WorkerLost("a training process died")):

        def lose(*arguments: Any, error: Exception = error, **options: Any) -> None:
            raise error

        monkeypatch.setattr(sweeps, "sweep", lose)
        result = pat(*SWEEP)
        assert (result.exit_code, result.stderr) == (1, f"pat: {error}\n")


def test_data_that_is_missing_says_where_it_should_be(here: Path) -> None:
    own_profile(here, dataset="cifar10-small")
    assert_refused(here, "cifar", "run", "--profile", "mine", "--data", "nowhere")
    assert "nowhere" in pat("run", "--profile", "mine", "--data", "nowhere").stderr
    verified = pat("data", "verify", "cifar10", "--data", "nowhere")
    assert verified.exit_code == 2
    assert "nowhere/cifar-10-batches-bin/data_batch_1.bin" in verified.stderr
    assert verified.stderr.endswith("pat: cifar10: 6 problems\n")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--workers", "-1"),
        ("--ratio", "half"),
        ("--sed", "1"),
    ],
)
def test_options_that_there_are_not_are_refused(option: str, value: str, here: Path) -> None:
    result = pat("run", option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnist"}, "unknown dataset 'mnist'; known are"),
        ({"architectures": ["resnet9"]}, "unknown architecture 'resnet9'"),
        ({"tau": {"snip": 0.9}}, "unknown criterion 'snip'; known are gradient, magnitude"),
        ({"plugins": ["os.path/"]}, "plugins.0: String should match pattern"),
        ({"plugins": ["nowhere"]}, "the plugin 'nowhere' cannot be imported: No module named 'nowhere'"),
        ({"recipes": {}}, "recipes: Extra inputs are not permitted"),
    ],
)
def test_a_bad_profile_of_ones_own_is_named(changes: dict[str, Any], message: str, here: Path) -> None:
    own_profile(here, **changes)
    assert_refused(here, message, "run", "--profile", "mine")
    assert_refused(here, message, "sweep", "--profile", "mine")


def test_a_criterion_without_a_threshold_breaks_no_profile(here: Path) -> None:
    own_profile(here, tau={"gradient": 0.9})
    given = ["run", "--profile", "mine", "--ratio", "0.5", "--criterion"]
    message = "EPI has no threshold for 'magnitude': the profile's tau has gradient"
    assert_refused(here, message, *given, "magnitude")
    assert pat(*given, "magnitude", "--prune-epoch", "1").exit_code == 0


def test_a_profile_that_is_no_yaml_is_one_line(here: Path) -> None:
    own_profile(here)
    (here / "profiles" / "mine.yaml").write_text("title: [a\nrecipe: {\n")
    assert_refused(here, "profiles/mine.yaml: ", "run", "--profile", "mine")


def test_a_folder_of_pictures_and_one_that_is_damaged(here: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        folder = here / "data" / "pets" / name
        folder.mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    added = pat("data", "add", "data/pets")
    assert added.exit_code == 0, added.output
    assert "pets" in pat("data", "list").output
    assert pat("data", "verify", "pets").output == "pets: all files are as the manifest says\n"
    own_profile(here, dataset="pets")
    damaged = here / "data" / "pets" / "dog" / "3.png"
    content = bytearray(damaged.read_bytes())
    content[-30] ^= 1
    damaged.write_bytes(content)
    assert_refused(here, "data/pets", "run", "--profile", "mine", "--architecture", "resnet8-basic")
    verified = pat("data", "verify", "pets")
    assert verified.exit_code == 2
    assert "dog/3.png" in verified.stderr
    damaged.unlink()
    assert_refused(here, "pets", "sweep", "--profile", "mine")
    assert "dog/3.png" in pat("data", "verify", "pets").stderr


def test_a_published_store_is_not_trained_into(here: Path) -> None:
    runs = len(load_profile("smoke").sweep("study"))
    publish(written(Store(here / "runs"), pruned(1)), here / "results")
    assert_refused(here, "results holds published records", "run", "--profile", "smoke", "--store", "results")
    assert_refused(
        here, f"results lacks {runs} of {runs} runs", "sweep", "--profile", "smoke", "--store", "results"
    )
    assert_refused(here, "published records, which have no checkpoints", "gc", "--store", "results")
    assert_refused(here, "working store", "results", "publish", "--target", "runs")


def test_a_run_its_record_and_what_can_be_done_with_it(here: Path) -> None:
    first = pat(*PRUNED)
    assert first.exit_code == 0, first.output
    assert "epoch 4 of 0-4  sparse" in first.output
    (record,) = Store(here / "runs").records()
    assert record.id in first.output
    again = pat(*PRUNED)
    assert "epoch 4 of" not in again.output
    assert record.id in again.output
    assert Store(here / "runs").records() == [record]

    shown = pat("show", record.id[:6])
    assert shown.exit_code == 0
    for text in (record.id, "resnet8-basic gradient 50 % at epoch 2, seed 0", "in epoch 2", "done"):
        assert text in shown.output
    assert record.result is not None
    assert f"{record.result.test_accuracy:.2f} %" in shown.output

    assert "resnet8-basic" in pat("status").output
    assert f"{record.result.test_accuracy:.2f}" in pat("results", "table").output
    (row,) = csv.DictReader(io.StringIO(pat("results", "table", "--csv").output))
    assert (row["id"], float(row["prune_epoch"]), row["status"]) == (record.id, 2, "done")

    assert_refused(here, "no finished run of profile 'digits'", "results", "publish", "--profile", "digits")
    assert "1 records published to results, 0 were there" in pat("results", "publish").output
    assert "0 records published to results, 1 were there" in pat("results", "publish").output
    assert "resnet8-basic" in pat("status", "--store", "results").output
    assert pat("gc").output == "0.0 MB freed\n"


def test_a_budget_cuts_a_run_and_the_same_command_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "process_age", lambda: 0.0)  # the tests' process is older than any command
    cut = pat(*PRUNED, "--budget", "0.01s")
    assert cut.exit_code == 0, cut.output
    assert "the time is up after 1 of 5 epochs" in cut.output
    assert "the same command goes on" in cut.output
    assert Store(here / "runs").records() == []
    assert "epoch 0 of" not in pat(*PRUNED, "--budget", "9m").output
    assert len(Store(here / "runs").records()) == 1
    assert_refused(here, "a budget is a time above 0 such as 9m", *PRUNED, "--budget", "soon")
    swept = pat("sweep", "--profile", "smoke", "--jobs", "1", "--store", "others", "--budget", "0.01s")
    assert swept.exit_code == 0, swept.output
    assert "the time is up with 0 of 16 runs done; the same command goes on" in swept.output


def test_a_device_is_part_of_the_run(here: Path) -> None:
    assert_refused(here, "no CUDA device is available", *PRUNED, "--device", "cuda")
    assert_refused(here, "no CUDA device is available", "sweep", "--profile", "smoke", "--device", "cuda")
    assert "imagenette-128" in pat("run", "--profile", "imagenette-128", "--device", "cpu").stderr


def test_a_damaged_record_is_done_again(here: Path) -> None:
    own_profile(here, dataset="digits")
    command = ["run", "--profile", "mine", "--architecture", "resnet8-basic"]
    pat(*command)
    (before,) = Store(here / "runs").records()
    file = here / "runs" / before.id / "record.json"
    file.write_text(file.read_text().replace('"done"', '"failed"'))
    again = pat(*command)
    assert again.exit_code == 0
    assert "record.json is damaged" in again.stderr
    (after,) = Store(here / "runs").records()
    assert after.same_outcome(before)


def test_a_failed_run_has_exit_code_1_and_its_reason(here: Path) -> None:
    recipe = yaml.safe_load(SMOKE)["recipe"] | {"learning_rate": 1e30, "epochs": 2}
    own_profile(here, recipe=recipe, dataset="digits")
    result = pat("run", "--profile", "mine", "--architecture", "resnet8-basic")
    assert result.exit_code == 1
    assert "failed: the loss is nan" in " ".join(result.output.split())


@pytest.fixture
def process(here: Path) -> Iterator["subprocess.Popen[str]"]:
    # A shell starts what runs in its background deaf to interrupts, and all that these start.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", code + "from pat.cli import main; main()", *PRUNED]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL) as child:
        yield child
        if child.poll() is None:
            child.kill()


def test_an_interrupted_run_goes_on(here: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not list(here.glob("runs/*/epochs/0001.ckpt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "pat: stopped; the same command goes on from the last checkpoint\n"
    assert "unfinished: " in pat("status").output
    resumed = pat(*PRUNED)
    assert resumed.exit_code == 0, resumed.stderr
    assert "epoch 0 of" not in resumed.output
    assert "epoch 4 of" in resumed.output
    assert "unfinished" not in pat("status").output


def test_a_sweep_says_what_was_trained(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "executor", lambda jobs: ThreadPoolExecutor(1))
    cells = {"architecture": "resnet8-basic", "criterion": "gradient", "ratios": [0.5]}
    own_profile(here, dataset="digits", sweeps={"study": [cells | {"epochs": [2], "seeds": [0]}]})
    first = pat("sweep", "--profile", "mine", "--jobs", "1")
    assert first.exit_code == 0, first.output
    assert "2/2  resnet8-basic gradient 50 % at epoch 2, seed 0: done" in first.output
    assert "2 runs in runs, 2 trained now, 0 failed" in first.output
    assert "2 runs in runs, 0 trained now, 0 failed" in pat("sweep", "--profile", "mine").output


def test_lists_are_complete() -> None:
    shown = pat("profiles").output
    assert all(file.stem in shown for file in paths.PROFILES.glob("*.yaml"))
    shown = pat("data", "list").output
    assert all(file.stem in shown for file in paths.MANIFESTS.glob("*.yaml"))
    assert "digits: all files are as the manifest says" in pat("data", "verify", "digits").output


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for sub, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {sub}")


ALL = dict(commands(typer.main.get_command(app), "pat"))


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    command = ALL[name]
    assert command.help
    assert command.help.strip().splitlines()[0].endswith(".")
    for parameter in command.params:
        if "--install-completion" in parameter.opts or "--show-completion" in parameter.opts:
            continue
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"
    result = pat(*name.split()[1:], "--help")
    assert result.exit_code == 0
    assert command.help.strip().split()[0] in result.output


def test_the_commands_are_the_announced_ones() -> None:
    announced = {"run", "sweep", "status", "results", "data", "show"}
    assert announced <= set(ALL["pat"].commands)


@pytest.mark.parametrize("command", [["status"], ["results", "table"], ["gc"]])
def test_a_store_that_is_not_there_is_told(command: list[str], tmp_path: Path) -> None:
    said = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "nowhere")])
    assert said.exit_code == 0
    assert "nowhere is not there yet: no run has been kept in it" in said.stderr
    assert not (tmp_path / "nowhere").exists()


def test_notebooks_have_a_command_of_the_same_words() -> None:
    there = subprocess.run(
        [sys.executable, "-m", "pat.study.notebooks", "--help"], capture_output=True, text=True, check=False
    )
    here = pat("notebooks", "--help")
    assert "an unknown name is refused" in " ".join(here.output.split())
    assert here.output.split() == there.stdout.split()
    refused = pat("notebooks", "nosuch", "--profile", "smoke")
    assert refused.exit_code == 2
    assert "unknown notebook 'nosuch'" in refused.output
