"""`pat plan`: what runs will take, said before any is trained, with nothing written."""

from pathlib import Path

import pytest
from test_cli import assert_refused, files, pat

from pat.study.plan.profile import load_profile
from pat.study.runs.timing import trials
from pat.study.runs.timing.trials import Times


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    given = Times(epoch=100.0, around=0.0, checkpoint=10, weights=10, log=10, source="trial")
    monkeypatch.setattr(trials.Trials, "__call__", lambda self, spec: given)
    return tmp_path


def test_a_sweep_is_counted_timed_and_priced(here: Path) -> None:
    result = pat("plan", "--profile", "smoke", "--price", "36")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "resnet8-bottleneck" in text
    whole = load_profile("smoke").recipe.epochs
    branches = [*(0, 2, 4), *(2, 4) * 2] * 2  # magnitude, the gradient at two ratios; two seeds
    epochs = 2 * whole + sum(whole - epoch for epoch in branches)
    hours = epochs * 100 / 3600
    assert f"{hours:.2f} device-hours" in text
    assert f"price: {36 * hours:,.2f} at 36 an hour" in text
    assert files(here) == {}


def test_all_experiments_are_planned_as_far_as_they_can_be_named(here: Path) -> None:
    result = pat("plan", "--profile", "smoke", "--preset", "study", "--experiment", "all")
    assert result.exit_code == 0, result.output
    assert "times as many" in " ".join(result.output.split())


def test_bad_options_are_refused(here: Path) -> None:
    assert_refused(here, "no sweep 'none'", "plan", "--profile", "smoke", "--preset", "none")
    assert_refused(here, "at least 1", "plan", "--profile", "smoke", "--jobs", "0")
    assert_refused(
        here, "no experiment 'x'", "plan", "--profile", "smoke", "--preset", "study", "--experiment", "x"
    )
    assert_refused(here, "no CUDA device", "plan", "--profile", "smoke", "--device", "cuda")
