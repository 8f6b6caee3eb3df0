"""Explorations on the command line: their runs, all or those of some seeds."""

from pathlib import Path

import pytest
from test_cli import assert_refused, pat

from pat.study.experiments.comparisons.at_initialisation import AT_INITIALISATION
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Spec
from pat.study.runs import sweep as sweeps
from pat.study.runs.timing import trials
from pat.study.runs.timing.trials import Times

OWN = ["--profile", "digits", "--preset", "full", "--experiment", AT_INITIALISATION.name]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """The runs that a sweep was asked for; none is trained."""
    found: list[Spec] = []

    def sweep(specs: list[Spec], *rest: object) -> list[object]:
        found.extend(specs)
        return []

    monkeypatch.setattr(sweeps, "sweep", sweep)
    return found


def test_a_sweep_has_all_runs_or_those_of_some_seeds(asked: list[Spec]) -> None:
    digits = load_profile("digits")
    assert pat("sweep", *OWN).exit_code == 0
    assert asked == AT_INITIALISATION.runs(digits, "full")
    asked.clear()
    assert pat("sweep", *OWN, "--seeds", "303-304,307").exit_code == 0
    assert asked == AT_INITIALISATION.runs(digits, "full", (303, 304, 307))


def test_a_plan_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Times(epoch=1.0, around=0.0, checkpoint=10, weights=10, log=10, source="trial")
    monkeypatch.setattr(trials.Trials, "__call__", lambda self, spec: given)
    result = pat("plan", *OWN)
    assert result.exit_code == 0, result.output
    assert " 210 " in result.output


def test_what_it_does_not_have_is_refused(here: Path) -> None:
    assert_refused(here, "no seed 200 in preset 'full'", "sweep", *OWN, "--seeds", "200")
    assert_refused(
        here, "no preset 'pilot'", "sweep", "--preset", "pilot", "--experiment", AT_INITIALISATION.name
    )
    assert_refused(
        here, "no preset 'primary'", "plan", "--preset", "primary", "--experiment", AT_INITIALISATION.name
    )
