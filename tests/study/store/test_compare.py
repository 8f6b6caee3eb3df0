"""A store's runs against published ones."""

from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from pat.cli import app
from pat.study.runs.run import run
from pat.study.store import Published, Store
from pat.study.store.comparing import compare
from pat.study.store.publishing import publish
from pat.study.store.record import Record


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("own"))
    run(tiny.dense(), store)
    run(tiny.pruned(2), store)
    return store


def moved(record: Record, points: float) -> Record:
    assert record.result is not None
    result = record.result.model_copy(update={"test_accuracy": record.result.test_accuracy + points})
    return record.model_copy(update={"result": result})


def test_equal_different_and_unknown_runs_are_told_apart(own: Store, tmp_path: Path) -> None:
    dense, pruned = run(tiny.dense(), own), run(tiny.pruned(2), own)
    publish([dense], tmp_path)
    found = compare([dense, pruned], Published(tmp_path))
    assert (found.equal, found.different, found.unknown) == (1, [], [pruned])
    assert found.largest == 0
    other = compare([moved(dense, -0.25)], Published(tmp_path))
    assert other.equal == 0
    assert other.largest == pytest.approx(0.25)


def test_the_command_says_which_and_by_how_much(own: Store, tmp_path: Path) -> None:
    dense, pruned = run(tiny.dense(), own), run(tiny.pruned(2), own)
    run(tiny.dense(seed=1), own)
    publish([dense, moved(pruned, 1.5)], tmp_path)
    said = CliRunner().invoke(
        app, ["results", "compare", "--store", str(own.root), "--published", str(tmp_path)]
    )
    assert said.exit_code == 0
    assert "1 runs are equal to the published ones, 1 are not; 1 of" in said.output
    assert f"{pruned.id[:12]} {pruned.spec.title}" in said.output
    assert "largest difference of test accuracy: 1.50 points" in said.output


def test_nothing_in_common_is_an_error(own: Store, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    arguments = ["results", "compare", "--store", str(own.root), "--published", str(tmp_path / "none")]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 2
    assert "have no run in common" in said.output
