"""The sentence on a split's images comes from a sealed record."""

import json
from pathlib import Path

import pytest

from pat.files.sealed import seal
from pat.study.report.pages import splits
from pat.study.store import open_store

FOUND = {
    "profile": "digits",
    "difference of two accuracies": {"0": {"3000": 0.6, "20000": 0.2}, "1": {"3000": 0.8, "20000": 0.3}},
    "cost of the choice": {"0": {"1500": 0.25}, "1": {"1500": 0.35}},
}


def test_means_over_seeds_are_told(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert splits.facts(store) == ""
    file = tmp_path / "measured" / "splits" / "digits.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(seal(FOUND)))
    text = splits.facts(store)
    assert "2 pilot seeds of `digits`" in text
    assert "0.70 points with 3,000 and 0.25 points with 20,000 images" in text
    assert "costs 0.30 points with 1,500 images" in text
    file.write_text(file.read_text().replace("0.25", "0.24"))
    with pytest.raises(ValueError, match="checksum"):
        splits.facts(store)
