"""Loader and step side by side: what is measured, and what it says."""

import pytest
from tiny import dense
from typer.testing import CliRunner

from pat.cli import app
from pat.study.runs.timing.throughput import Throughput, measure


def test_both_sides_are_measured() -> None:
    found = measure(dense(), steps=2)
    assert found.step > 0
    assert found.loader > 0
    assert found.together < min(found.loader, found.step)
    with pytest.raises(ValueError, match="at least 1 step has to be timed, got 0"):
        measure(dense(), steps=0)


@pytest.mark.parametrize(
    ("loader", "step", "workers", "said", "together"),
    [
        (200.0, 100.0, 2, "the loader waits", 100.0),
        (100.0, 350.0, 2, "about 7 workers would keep up", 100.0),
        (100.0, 300.0, 0, "about 3 workers would keep up", 75.0),
        (90000.0, 1000.0, 0, "workers bring nothing", 90000 / 91),
    ],
)
def test_who_waits(loader: float, step: float, workers: int, said: str, together: float) -> None:
    found = Throughput(loader, step, workers)
    assert said in found.advice()
    assert found.together == pytest.approx(together)


def test_the_command_shows_them() -> None:
    done = CliRunner().invoke(app, ["throughput", "--profile", "smoke", "--steps", "1"])
    assert done.exit_code == 0, done.output
    assert "training step" in done.output
    done = CliRunner().invoke(app, ["throughput", "--profile", "nowhere"])
    assert done.exit_code == 2
