"""What the README shows works: its commands and its code are run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if language == "bash"]
CODE = [text for language, text in BLOCKS if language == "python"]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """An empty folder with the checkout's notebooks."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    return tmp_path


@pytest.mark.parametrize("block", COMMANDS, ids=["pat", "papermill"])
def test_commands_run(block: str, workplace: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "papermill" in block:
        assert (workplace / "build" / "own_model-out.ipynb").is_file()
    else:
        assert len(list((workplace / "runs").glob("*/record.json"))) == 2
        assert "at epoch 2" in done.stdout
        assert "all files are as the manifest says" in done.stdout


def test_code_runs(tmp_path: Path) -> None:
    (block,) = CODE
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["dense", "prune", "sparse"]
    assert (tmp_path / "pruned.safetensors").is_file()


def test_tree_names_what_exists() -> None:
    tree = next(text for language, text in BLOCKS if language == "" and "src/pat/ " in text)
    for path in re.findall(r"^([\w/]+/)|  ([\w/]+\.py|tests/)", tree, re.MULTILINE):
        named = next(part for part in path if part)
        if named != "results/":  # there once runs are published
            assert (ROOT / named).exists(), named


def test_its_two_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
