"""What is spent on a GPU runs to its end on a CPU, so that no minute there is lost to a typing error."""

import json
import os
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pat
from pat.study.store import Store
from pat.study.store.merging import merge

ROOT = Path(__file__).resolve().parents[2]
BACK = 8
"""Files that may come back, of at most 16 MiB each."""


def test_the_script_comes_to_its_end_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folders = {"OUT": out, "STORE": tmp_path / "runs", "DATA": tmp_path, "WHEELS": tmp_path}
    limits = {"TOTAL": 300, "CHECK": 120, "RATIOS": 100, "UNITS": 90, "TIMED": "--turns 1 --steps 2"}
    settings = {
        **folders,
        **limits,
        "PYTHON": sys.executable,
        "PROFILE": "tiny",
        "PRESET": "few",
        "DEVICE": "cpu",
    }
    done = subprocess.run(
        [ROOT / "tools" / "gpu.sh"],
        env={**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in settings.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {file.name: file.stat().st_size for file in out.iterdir()}
    assert set(files) == {
        "log.txt", "environment.json", "check.json", "ratios.json", "records.tar.gz", "seconds.txt",
    }  # fmt: skip
    assert len(files) <= BACK
    assert max(files.values()) < 16 * 2**20
    checks = json.loads((out / "check.json").read_text())
    assert [row["check"] for row in checks["checks"] if not row["held"]] == []
    assert len(checks["checks"]) == 7
    ratios = json.loads((out / "ratios.json").read_text())
    assert "images per second" in ratios["loop"]
    assert [name for name, answer in ratios.items() if "error" in answer] == []
    spent = [line.split() for line in (out / "seconds.txt").read_text().splitlines()]
    assert [line[0] for line in spent] == ["environment", "data", "check", "ratios", "units"]
    with tarfile.open(out / "records.tar.gz") as archive:
        archive.extractall(tmp_path / "back", filter="data")
    mine = Store(tmp_path / "mine")
    merge(Store(tmp_path / "back"), mine)
    records = mine.records()
    assert records
    assert {record.spec.profile for record in records} == {"tiny"}
    assert {record.spec.title for record in records} >= {"resnet8-bottleneck dense, seed 0"}


def test_the_version_is_the_distributions() -> None:
    assert pat.__version__ == metadata.version("pruning-aware-training")
