"""Ratios: sides in turns, their spread, a record of every question, and the page that is made of it."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pat.files.sealed import seal, unseal
from pat.study.report.pages import benchmarks
from pat.study.store import open_store

ROOT = Path(__file__).resolve().parents[4]
BESIDE = {"clock": "processor", "seconds on": 0.9}
FOUND: dict[str, Any] = {
    "quick": False,
    "questions": {
        "tracking": {"title": "Tracking", "seconds": 100.0, "ratios": [
            {"what": "on / off", "aim": "at most 1.005", "rounds": 3, "median": 1.004,
             "quartiles": [1.002, 1.00612], "values": [1.0, 1.004, 1.00824], "beside": BESIDE},
            {"what": "end / step", "aim": "", "rounds": 1, "median": 0.5, "quartiles": [0.5, 0.5],
             "values": [0.5], "beside": {}},
        ]},
    },
    "libraries": {"torch-pruning": "3.4"},
    "provenance": {"packages": {"torch": "5.6", "torchvision": "7.8"}, "commit": "0123456789abcdef",
                   "hardware": "a processor", "seconds": 600.0, "date": "2030-01-02T03:04:05+00:00"},
}  # fmt: skip


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    import benchmarks.rounds

    return benchmarks.rounds


def test_sides_take_turns_and_each_begins(rounds: ModuleType) -> None:
    order: list[str] = []

    def side(name: str) -> Any:
        def work() -> float:
            order.append(name)
            return float(len(order))

        return work

    times = rounds.take_turns({"a": side("a"), "b": side("b")}, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]  # the first round does not count
    assert times == {"a": [4.0, 5.0, 8.0], "b": [3.0, 6.0, 7.0]}
    found = rounds.ratio(times, "a", "b", "at most 1", clock="wall").content()
    assert found["values"] == [1.33333, 0.833333, 1.14286]
    assert (found["median"], found["quartiles"]) == (1.14286, [0.988095, 1.2381])
    assert found["beside"] == {"clock": "wall", "seconds a": 5.0, "seconds b": 6.0}
    assert (found["what"], found["rounds"], found["aim"]) == ("a / b", 3, "at most 1")


def test_one_round_has_no_spread(rounds: ModuleType) -> None:
    only = rounds.Ratio("a / b", [2.0], beside={"cells": 3})
    assert only.content()["quartiles"] == [2.0, 2.0]
    assert only.line() == "a / b: 2 (2 to 2, 1 rounds); cells 3"


def published(root: Path, **changes: Any) -> Path:
    file = root / "measured" / "bench" / "bench.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(seal(FOUND | changes)))
    return file


def test_without_a_record_the_page_says_so(tmp_path: Path) -> None:
    found = benchmarks.facts(open_store(tmp_path))
    assert "has not been run" in found.pop("summary")
    assert found == dict.fromkeys(benchmarks.QUESTIONS, benchmarks.NONE)


def test_ratios_stand_with_spread_and_aim(tmp_path: Path) -> None:
    published(tmp_path)
    found = benchmarks.facts(open_store(tmp_path))
    assert found["summary"] == (
        "Measured on a processor in 10 minutes, 2030-01-02, with torch 5.6, torchvision 7.8, "
        "torch-pruning 3.4, at commit `0123456789ab`."
    )
    assert found["tracking"] == [
        {"Ratio": "on / off", "Median": "1.004", "Quartiles": "1.002 to 1.006", "Rounds": "3",
         "Aim": "at most 1.005", "Beside it": "clock processor, seconds on 0.9"},
        {"Ratio": "end / step", "Median": "0.5", "Quartiles": "–", "Rounds": "1", "Aim": "–",
         "Beside it": "–"},
    ]  # fmt: skip
    assert found["ranks"] == benchmarks.NONE


def test_a_smoke_tests_record_says_so_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    file = published(tmp_path, quick=True)
    assert "these numbers mean nothing" in benchmarks.facts(open_store(tmp_path))["summary"]
    file.write_text(file.read_text().replace("1.004", "1.001"))
    with pytest.raises(ValueError, match="checksum"):
        benchmarks.facts(open_store(tmp_path))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)


def test_every_question_has_its_place_on_the_page() -> None:
    page = (ROOT / "book" / "benchmarks.md").read_text(encoding="utf-8")
    for name in benchmarks.QUESTIONS:
        assert f"{{{{ benchmarks.{name} }}}}" in page


def test_questions_are_answered(tmp_path: Path) -> None:
    asked = ("removal", "trunks")  # all of them take a minute and more
    out = tmp_path / "measured" / "bench" / "bench.json"
    done = bench(*asked, "--quick", "--out", str(out))
    assert done.returncode == 0, done.stderr
    record = unseal(out)
    assert tuple(record["questions"]) == asked
    for answer in record["questions"].values():
        assert answer["ratios"]
        for ratio in answer["ratios"]:
            assert ratio["median"] > 0
            assert f"  {ratio['what']}: " in done.stdout
    rows = {row["Ratio"]: row for row in benchmarks.facts(open_store(tmp_path))["trunks"]}
    assert rows["epochs whole / shared"]["Median"] == "1.2"  # three runs of two epochs, one shared


def test_an_unknown_question_is_refused() -> None:
    done = bench("speed")
    assert done.returncode == 2
    assert "unknown question 'speed'; known are tracking, removal" in done.stderr
