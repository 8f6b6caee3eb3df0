"""Progress in a notebook: what is done and what is left, and nothing where nothing is trained."""

import pytest
from test_analysis import scored
from tiny import dense

from pat.study.runs.following import progress
from pat.study.runs.sweep import Progress


def test_a_notebook_shows_the_runs_done_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.in_notebook() as bar:
        for done in (1, 2):
            record = scored(dense(seed=done), 80.0)
            bar(Progress(record=record, done=done, total=4, trained=True))
    said = capsys.readouterr()
    assert said.out == ""
    *_, last = (line for line in said.err.split("\r") if line.strip())
    assert "2/4" in last
    assert "seed 2" in last
    assert "<" in last  # time passed < time left


def test_a_sweep_that_trains_nothing_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.in_notebook():
        pass
    assert capsys.readouterr().err == ""
