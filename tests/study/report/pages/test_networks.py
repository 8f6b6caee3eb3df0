"""The page of networks comes from a sealed record, and the tool that writes it tells exact from not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pat.files.sealed import seal, unseal
from pat.study.report.pages import networks
from pat.study.store import open_store

FOUND = {
    "networks": [
        {"library": "torchvision", "name": "a", "pixels": 64,
         "pat": {"outcome": "exact", "difference": 1e-15, "left": 0.25, "groups": 3},
         "Torch-Pruning": {"outcome": "differs", "difference": 0.2, "left": 0.3, "groups": 3}},
        {"library": "torchvision", "name": "b", "pixels": 224,
         "pat": {"outcome": "refused", "why": "cannot follow the channels | of x"},
         "Torch-Pruning": {"outcome": "fails", "why": "IndexError: 3"}},
        {"library": "timm", "name": "c", "pixels": 64,
         "pat": {"outcome": "exact", "difference": 0.0, "left": 0.5, "groups": 1},
         "Torch-Pruning": {"outcome": "exact", "difference": 0.0, "left": 0.5, "groups": 1}},
    ],
    "libraries": {"timm": "1.2", "torch-pruning": "3.4"},
    "provenance": {"packages": {"torch": "5.6", "torchvision": "7.8"}, "commit": "0123456789abcdef"},
}  # fmt: skip


def published(root: Path) -> Path:
    file = root / "measured" / "networks" / "survey.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(seal(FOUND)))
    return file


def test_without_a_record_the_page_says_so(tmp_path: Path) -> None:
    found = networks.facts(open_store(tmp_path))
    assert set(found) == {"summary", "counts", "left_out", "all"}
    assert set(found.values()) == {networks.NONE}


def test_outcomes_are_counted_by_library_and_side(tmp_path: Path) -> None:
    published(tmp_path)
    found = networks.facts(open_store(tmp_path))
    assert found["summary"].startswith("Of 3 networks pat prunes 2 exactly and Torch-Pruning 1.")
    assert "refuses 1 before anything is changed, and gets none wrong" in found["summary"]
    assert "torch 5.6, torchvision 7.8, timm 1.2, torch-pruning 3.4" in found["summary"]
    assert "at commit `0123456789ab`" in found["summary"]
    first = found["counts"][0]
    assert first["Networks of"] == "torchvision (2)"
    assert (first["Pruned by"], first["Exact"], first["Refused"], first["Other outputs"]) == (
        "pat",
        "1",
        "1",
        "–",
    )
    assert found["left_out"] == [
        {"Network": "torchvision `b`", "Why": "cannot follow the channels / of x",
         "Torch-Pruning": "stops with an error"}
    ]  # fmt: skip
    assert [row["Parameters left"] for row in found["all"]] == ["25 %", "–", "50 %"]


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    file = published(tmp_path)
    file.write_text(file.read_text().replace('"differs"', '"exact"'))
    with pytest.raises(ValueError, match="checksum"):
        networks.facts(open_store(tmp_path))


def test_the_tool_tells_exact_from_not(tmp_path: Path) -> None:
    out = tmp_path / "survey.json"
    tool = Path(__file__).parents[4] / "tools" / "networks.py"
    done = subprocess.run(
        [sys.executable, str(tool), "torchvision/resnet18", "timm/convnext_atto", "--out", str(out)],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in unseal(out)["networks"]}
    assert {name: row["pat"]["outcome"] for name, row in rows.items()} == {
        "resnet18": "exact", "convnext_atto": "exact"
    }  # fmt: skip
    # A mean over all channels counts those that were zeroed, so that removing them changes the outputs.
    assert rows["resnet18"]["Torch-Pruning"]["outcome"] == "exact"
    assert rows["convnext_atto"]["Torch-Pruning"]["outcome"] == "differs"
    assert all(0.2 < row["pat"]["left"] < 0.6 for row in rows.values())
