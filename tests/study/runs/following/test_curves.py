"""Curves for TensorBoard: every number of the record, an event an epoch, written over where a run goes on."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from pat.cli import app
from pat.study.runs.following.curves import FOLDER
from pat.study.store import Store

AT = 4
RUN = ["run", "--profile", "smoke", "--ratio", "0.5", "--prune-epoch", str(AT), "--log", "tensorboard"]


def test_a_run_writes_what_its_record_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, RUN)
    assert done.exit_code == 0, done.output
    (record,) = Store(tmp_path / "runs").records()
    events = EventAccumulator(str(tmp_path / "runs" / FOLDER / record.id)).Reload()

    def values(name: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(name)}

    by_epoch = {log.epoch: log for log in record.history}
    assert values("loss/train") == pytest.approx({t: log.loss for t, log in by_epoch.items()})
    assert values("accuracy/validation") == pytest.approx(
        {t: log.validation_accuracy for t, log in by_epoch.items()}
    )
    tracked = {t: log.tracked["gradient"]["ratios"]["0.5"] for t, log in by_epoch.items() if log.tracked}
    known = {t: at["psi"][0] for t, at in tracked.items() if at["psi"][0] is not None}
    assert known
    assert values("EPI/gradient 50 %") == pytest.approx(known)
    left = by_epoch[AT].structure
    assert left is not None
    assert {name: values(f"channels/{name}")[AT] for name in left} == left


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    done = CliRunner().invoke(app, RUN)
    assert done.exit_code == 2
    assert "pip install 'pruning-aware-training[log]'" in " ".join(done.stderr.split())
    assert Store(tmp_path / "runs").records() == []
