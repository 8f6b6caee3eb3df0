"""The page of the protocol counts the deciding runs by what their records carry."""

from pathlib import Path

import pytest
from test_analysis import scored

from pat.study import experiments
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Spec
from pat.study.report.pages import protocol
from pat.study.store import Store

TEXT = "commit: 0123456789abcdef\nchecksum: fedcba9876543210\nprofiles: [digits]\n"


def fixed(folder: Path, text: str = TEXT) -> Path:
    (folder / protocol.FILE).write_text(text)
    return folder


def made(store: Store, number: int, checksum: str | None) -> None:
    write(store, load_profile("digits").sweep("full")[number], checksum)


def write(store: Store, spec: Spec, checksum: str | None) -> None:
    record = scored(spec, 80.0)
    store.write(
        record.model_copy(update={"provenance": record.provenance.model_copy(update={"protocol": checksum})})
    )


def test_runs_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    assert protocol.facts(store, tmp_path) == protocol.NONE
    whole = len(load_profile("digits").sweep("full"))
    text = protocol.facts(store, fixed(tmp_path))
    assert text.startswith("Fixed in commit `0123456789ab`, whose files have the checksum `fedcba987654`.")
    assert text.endswith(f": 0 of {whole:,} runs of the oracle sweep on `digits`.")
    made(store, 0, "fedcba9876543210")
    assert f"1 of {whole:,} runs of the oracle sweep on `digits` (seed 200)." in protocol.facts(
        store, tmp_path
    )
    made(store, 1, "fedcba9876543210")
    assert "2 of" in protocol.facts(store, tmp_path)
    ticket = next(
        s for s in experiments.specs("tickets", load_profile("digits"), "full") if s.experiment == "ticket"
    )
    write(store, ticket, "fedcba9876543210")
    assert f"2 of {whole:,} runs of the oracle sweep on `digits` and 1 of the experiments beside it" in (
        protocol.facts(store, tmp_path)
    )
    write(store, ticket, "0")
    with pytest.raises(ValueError, match="1 runs of 'digits' carry another protocol's checksum"):
        protocol.facts(store, tmp_path)


def test_a_run_under_another_protocol_is_no_deciding_one(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    made(store, 0, "fedcba9876543210")
    made(store, 1, None)
    with pytest.raises(ValueError, match="1 runs of 'digits' carry another protocol's checksum"):
        protocol.facts(store, fixed(tmp_path))


def test_a_file_without_a_commit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"protocol\.yaml: commit"):
        protocol.facts(Store(tmp_path / "runs"), fixed(tmp_path, "checksum: a\nprofiles: []\n"))
