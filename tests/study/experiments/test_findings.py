"""Findings: the sentence that a chapter begins with, from hand-made records."""

import importlib

import pytest
from test_statistics import evidence, runs
from test_wording import spaced

from pat.study import wording
from pat.study.experiments.evidence import Sample
from pat.study.experiments.oracle_sweep.finding import finding as of_the_sweep
from pat.study.experiments.policies.finding import finding as of_policies
from pat.study.experiments.pretrained import finding as pretrained

CHAPTERS = (
    "oracle_sweep", "policies", "stability", "tickets", "variations", "pretrained", "speed", "in_training",
    "rival_triggers",
)  # fmt: skip


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_without_runs_that_is_said(chapter: str) -> None:
    found = importlib.import_module(f"pat.study.experiments.{chapter}.finding").finding(evidence())
    assert found == wording.NOT_RUN


def test_the_pruning_epoch() -> None:
    records = runs({None: (90.0, 90.0), 0: (70.0, 68.0), 2: (80.0, 80.0), 8: (75.0, 85.0)})
    assert spaced(of_the_sweep(evidence(*records))) == (
        "Of `resnet8-bottleneck`, 50 % of the filters were pruned in epoch 2 of 9: with the gradient "
        "criterion pruning at initialisation instead loses 11.0 points [−1.7, 23.7] (or nothing), and "
        "pruning in epoch 8 loses 0.0 points [−63.5, 63.5] (or nothing) (2 seeds)."
    )


def test_a_criterion_without_its_runs_is_left_out() -> None:
    gradient = runs({0: (70.0, 70.1), 2: (80.0, 80.0), 8: (75.0, 75.2)})
    magnitude = runs({0: (50.0, 50.0), 2: (60.0, 60.0)}, criterion="magnitude")
    found = of_the_sweep(evidence(*gradient, *magnitude))
    assert "gradient criterion" in found
    assert "magnitude" not in found


def test_policies_need_every_ratio() -> None:
    assert of_policies(evidence(*runs({0: (70.0, 70.0), 2: (80.0, 80.0)}))) == wording.NOT_RUN


def test_equal_times_were_set_equal_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"epochs": {1: 1.0, 2: 1.0}, "time": {1: 2.0, 2: 2.0}}
    monkeypatch.setattr(pretrained, "pretrained_difference", lambda _, budget: Sample(given[budget]))
    assert spaced(pretrained.finding(evidence())) == (
        "Pruning by EPI in training, against training to the end, pruning and finetuning, gains 1.0 points "
        "[1.0, 1.0] with the same number of epochs and gains 2.0 points [2.0, 2.0] with nominally the same "
        "training time (mean over the ratios, 2 seeds). Times were set equal beforehand, from measured "
        "epochs of the other runs."
    )
    given["time"] = {}
    assert "beforehand" not in pretrained.finding(evidence())
