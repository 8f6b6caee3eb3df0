"""Runs on a Ray cluster: two nodes on this machine, one of which dies, and the records of one machine."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sweep import EPOCHS, assert_as, singly
from tiny import dense, pruned, records_by_id
from typer.testing import CliRunner

from pat.cli import app
from pat.study.runs import cluster
from pat.study.runs.budget import OutOfTime
from pat.study.runs.cluster import Cluster, NotShared
from pat.study.runs.sweep import How, Progress, sweep
from pat.study.store import Store

pytest.importorskip("ray")

SPECS = [dense(), *(pruned(epoch) for epoch in EPOCHS)]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster whose head has a core, and that notices a dead node within a second or two."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
        started = Nodes(initialize_head=True, head_node_args=head)
        yield started
        started.shutdown()


def test_a_node_that_dies_loses_nothing(nodes: Any, tmp_path: Path) -> None:
    expected = records_by_id(singly(SPECS, Store(tmp_path / "expected")))
    second = nodes.add_node(num_cpus=1)
    store, told = Store(tmp_path / "runs"), []

    def killing(progress: Progress) -> None:
        told.append(progress.record.id)
        if len(told) == 1:
            nodes.remove_node(second, allow_graceful=False)

    with Cluster(nodes.address).executor(None, store.root) as pool:
        assert pool.jobs == 2
        records = sweep(SPECS, store, How(jobs=pool.jobs, pool=pool, on_progress=killing))
    assert_as(expected, records)
    assert sorted(told) == sorted(expected)
    assert not list(store.root.glob(".shared-*"))


def test_what_a_job_raises_comes_back_and_a_deadline_is_kept(nodes: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    with Cluster(nodes.address).executor(1, store.root) as pool:
        with pytest.raises(ZeroDivisionError, match="by zero"):
            pool.submit(divmod, 1, 0).result(300)
        assert pool.submit(os.getcwd).result(300) == os.getcwd()
        with pytest.raises(OutOfTime):
            sweep(SPECS[:2], store, How(pool=pool, deadline=time.monotonic() + 0.01))


def test_what_cannot_be_done_is_told_before_any_training(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(ValueError, match="no node of the cluster has room for a run of 64 cores and 0 GPUs"),
        Cluster(nodes.address, cpus=64).executor(None, tmp_path),
    ):
        pass
    monkeypatch.setattr(cluster, "_sees", lambda token: False)
    with (
        pytest.raises(NotShared, match="is not one folder on all nodes"),
        Cluster(nodes.address).executor(None, tmp_path),
    ):
        pass


@pytest.mark.parametrize(("cpus", "gpus", "said"), [(0, 0, "at least 1 core"), (1, 1.5, "a share up to 1")])
def test_an_impossible_share_is_refused(cpus: int, gpus: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cluster(cpus=cpus, gpus=gpus)


def test_without_ray_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    options = ["--profile", "smoke", "--store", str(tmp_path / "runs")]
    found = CliRunner().invoke(app, ["sweep", *options, "--executor", "ray"])
    assert found.exit_code == 2
    assert "pip install 'pruning-aware-training[sweep]'" in found.output
    found = CliRunner().invoke(app, ["sweep", *options, "--gpus", "0.5"])
    assert found.exit_code == 2
    assert "add --executor ray" in found.output
