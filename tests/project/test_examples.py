"""The examples run as a user would run them, and say what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SETTINGS = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}


def run(name: str, folder: Path) -> str:
    """The first as anybody would, in a fresh interpreter; the others in a fork, which has much imported."""
    if name == "plain_loop.py":
        command = [sys.executable, "-W", "error::UserWarning", str(EXAMPLES / name)]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **SETTINGS},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said = done.stdout
    else:
        said = run_file(EXAMPLES / name, folder, **SETTINGS)
    assert list(folder.iterdir()) == [], "an example leaves files behind"
    return said


def phases(output: str) -> list[str]:
    return re.findall(r"^epoch \d+: (\w+)", output, re.MULTILINE)


def test_every_example_is_tested_and_short() -> None:
    tested = {"plain_loop.py", "gradient_accumulation.py", "adamw.py", "ema.py"}
    tested |= {"accelerate_loop.py", "hugging_face_trainer.py", "short_schedule.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 55, path.name


def test_plain_loop(tmp_path: Path) -> None:
    output = run("plain_loop.py", tmp_path)
    order = phases(output)
    assert len(order) == 10
    pruned = order.index("prune")
    assert order == ["dense"] * pruned + ["prune"] + ["sparse"] * (9 - pruned)
    epi = [float(value) for value in re.findall(r"EPI ([\d.]+)", output)]
    assert len(epi) == pruned - 2  # defined from epoch 2 on
    assert pruned == 8 or epi[-1] >= 0.944
    assert float(re.findall(r"accuracy ([\d.]+)", output)[-1]) > 0.85
    first, second, third = map(int, re.findall(r"channels \[(\d+), (\d+), (\d+)\]", output)[0])
    assert first == 16  # the stem
    assert second + third == 48


def test_a_short_schedule_is_pruned_early_in_it(tmp_path: Path) -> None:
    output = run("short_schedule.py", tmp_path)
    ((epoch, share),) = re.findall(r"pruned in epoch (\d+), after (\d+) %", output)
    assert 12 <= int(share) <= 36  # of 90 epochs EPI cannot prune before the 12th; the fall-back is the 31st
    assert int(epoch) <= 2
    assert phases(output)[-1] == "sparse"


def test_gradient_accumulation(tmp_path: Path) -> None:
    output = run("gradient_accumulation.py", tmp_path)
    assert phases(output) == ["dense", "dense", "prune", "sparse", "sparse"]
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", output)]
    assert losses[-1] < losses[0] / 2
    assert output.endswith("channels [16, 16]\n")


def test_adamw(tmp_path: Path) -> None:
    output = run("adamw.py", tmp_path)
    assert phases(output) == ["dense", "dense", "prune", "sparse", "sparse", "sparse"]
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", output)]
    assert losses[-1] < losses[0] / 4
    assert output.endswith("second convolution (24, 16, 3, 3), its moments (24, 16, 3, 3)\n")


def test_ema(tmp_path: Path) -> None:
    output = run("ema.py", tmp_path)
    assert phases(output) == ["dense", "dense", "prune", "sparse", "sparse", "sparse"]
    assert "average of 19 channels" in output  # 40 % of 32 are 12.8: 13 go
    assert float(re.findall(r"accuracy ([\d.]+)", output)[0]) > 0.85


@pytest.mark.parametrize("name", ["accelerate_loop", "hugging_face_trainer"])
def test_other_peoples_loops(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"accelerate_loop": "accelerate", "hugging_face_trainer": "transformers"}[name])
    output = run(f"{name}.py", tmp_path)
    assert phases(output) == ["dense", "dense", "prune", "sparse", "sparse", "sparse"]
    assert "19 channels" in output  # 40 % of 32 are 12.8: 13 go
    assert float(re.findall(r"accuracy ([\d.]+)", output)[0]) > 0.8
