"""A criterion, a policy and a rival of one's own are one file each, and a profile that names it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from processes import run_file

from pat.files import paths

PLUGINS = Path(__file__).resolve().parents[2] / "examples" / "plugins"
NETWORK = "resnet8-basic"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files beside a small profile."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copytree(PLUGINS, folder / "profiles")
    profile: dict[str, Any] = yaml.safe_load((paths.PROFILES / "smoke.yaml").read_text())
    profile["plugins"] = sorted(file.stem for file in PLUGINS.glob("*.py"))
    profile["recipe"]["epochs"] = 3
    profile["tracking"]["criteria"] = ["gradient", "median"]
    cells = {"architecture": NETWORK, "ratios": [0.5], "seeds": [0]}
    profile["sweeps"] = {
        "study": [
            {**cells, "criterion": "median", "epochs": [0, 1]},
            {**cells, "criterion": "magnitude", "epochs": [1]},
        ]
    }
    profile["contrast"] = {"reference": 1, "last": 2}
    profile["neurons"] = {"min_channels": 1}
    del profile["experiments"]
    (folder / "profiles" / "mine.yaml").write_text(yaml.safe_dump(profile))
    return folder


def python(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


COMMANDS = {
    "methods": ("show", "methods"),
    "sweep": ("sweep", "--jobs", "2"),
    # No loss falls by all of itself.
    "waits": (
        "run",
        "--architecture",
        NETWORK,
        "--ratio",
        "0.5",
        "--policy",
        "plateau",
        "--set",
        "share=1.0",
    ),
    "falls back": (
        *("run", "--architecture", NETWORK, "--ratio", "0.5", "--policy", "plateau"),
        *("--set", "share=0", "--set", "fallback=1", "--criterion", "median"),
    ),
    "in another store": ("run", "--architecture", NETWORK, "--store", "other"),
    "rival": ("run", "--architecture", NETWORK, "--method", "random_start", "--set", "share=0.5"),
}

# One process for all commands: starting one takes longer than what most of them do.
ALL = """
import json
from typer.testing import CliRunner
from pat.cli import app

def main():
    said = {}
    for name, command in json.load(open("commands.json")).items():
        done = CliRunner().invoke(app, [*command, "--profile", "mine"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said[name] = done.output
    from pat.study.store import open_store
    runs = []
    for record in open_store("runs").records():
        spec, cost = record.spec, record.cost
        kind = spec.method.name if spec.method else spec.pruning.policy.kind if spec.pruning else "dense"
        runs.append({"kind": kind, "criterion": spec.pruning.criterion if spec.pruning else None,
                     "epoch": record.result.prune_epoch, "tracked": list(record.history[0].tracked or []),
                     "left": cost.macs / cost.dense_macs, "trained": cost.training_share})
    json.dump({"said": said, "runs": runs}, open("found.json", "w"))

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def found(here: Path) -> dict[str, Any]:
    """What each command said, and the runs that they left."""
    (here / "commands.json").write_text(json.dumps(COMMANDS))
    (here / "commands.py").write_text(ALL)
    run_file(here / "commands.py", here, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    answers: dict[str, Any] = json.loads((here / "found.json").read_text())
    return answers


def of_kind(found: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [run for run in found["runs"] if run["kind"] in kinds]


def test_each_is_a_short_file_with_a_source() -> None:
    assert {file.name for file in PLUGINS.iterdir() if file.suffix} == {
        "median.py",
        "plateau.py",
        "random_start.py",
    }
    for file in PLUGINS.glob("*.py"):
        assert len(file.read_text().splitlines()) <= 60, file.name


def test_they_are_listed_with_settings_and_source(found: dict[str, Any]) -> None:
    lines = found["said"]["methods"].splitlines()
    for words in (
        ("criterion", "median", "He et al. 2019"),
        ("criterion", "gradient", "Eq. 3"),
        ("policy", "plateau", "share"),
        ("policy", "epi", "Algorithm 2"),
        ("method", "random_start", "Blalock et al. 2020"),
        ("method", "prunetrain", "Lym et al. 2019"),
    ):
        assert any(all(word in line for word in words) for line in lines), words


def test_a_criterion_is_swept_by_several_processes_and_followed_beside_others(found: dict[str, Any]) -> None:
    runs = of_kind(found, "epoch", "dense")
    assert sorted((run["kind"], str(run["criterion"]), str(run["epoch"])) for run in runs) == [
        ("dense", "None", "None"),
        ("epoch", "magnitude", "1"),
        ("epoch", "median", "0"),
        ("epoch", "median", "1"),
    ]
    (dense,) = of_kind(found, "dense")
    assert dense["tracked"] == ["gradient", "median"]


def test_a_policy_prunes_after_what_it_watches(found: dict[str, Any]) -> None:
    runs = of_kind(found, "plateau")
    assert {(run["criterion"], run["epoch"]) for run in runs} == {("gradient", 2), ("median", 1)}


def test_a_rival_trains_and_says_what_it_cost(found: dict[str, Any]) -> None:
    assert f"{NETWORK} random channels at the start, seed 0" in found["said"]["rival"]
    (run,) = of_kind(found, "random_start")
    assert 0.2 < run["left"] < 0.6
    assert run["trained"] == run["left"]


def test_without_its_plugin_a_record_is_named_and_left_as_it_is(here: Path, found: dict[str, Any]) -> None:
    (file,) = here.glob("other/*/record.json")
    before = file.read_bytes()
    command = [sys.executable, "-m", "pat.cli", "status", "--store", "other"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "needs a plugin that is not loaded: unknown criterion 'median'" in done.stderr
    assert file.read_bytes() == before


def test_modules_of_installed_packages_are_found(tmp_path: Path) -> None:
    shutil.copy(PLUGINS / "plateau.py", tmp_path)
    made = tmp_path / "plateau-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: plateau\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[pat]\nplateau = plateau\n")
    show = "from pat.policy import POLICIES; print(*POLICIES)"
    named = python(tmp_path, "-c", show, PYTHONPATH=str(tmp_path)).split()
    assert named[:3] == ["epoch", "random", "epi"]
    assert "early_bird" in named  # the package's own are there, too
    assert named[-1] == "plateau"
