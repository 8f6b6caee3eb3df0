"""A sweep on a Ray cluster: one node with a core against two."""

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.forecasts import cells
from benchmarks.rounds import Ratio, ratio, take_turns
from pat.study.plan.spec import Spec
from pat.study.runs.cluster import Cluster
from pat.study.runs.sweep import How, sweep
from pat.study.store import Store

TITLE = "One node of a Ray cluster against two"
AIM = "2, with a core for each"
EPOCHS = 24


def ask(quick: bool) -> Iterator[Ratio]:
    """Two seeds' dense runs with their branches; both sides have the cluster up before the clock starts."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    wanted = [spec for seed in (0, 1) for spec in cells("smoke" if quick else "digits", seed, (0,), EPOCHS)]
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        sides = {
            "1 node": partial(_seconds, nodes, wanted, 1),
            "2 nodes": partial(_seconds, nodes, wanted, 2),
        }
        times = take_turns(sides, 1 if quick else 2, warm_up=0)
        yield ratio(times, "1 node", "2 nodes", AIM, runs=len(wanted))
    finally:
        nodes.shutdown()


def _seconds(nodes: Any, wanted: list[Spec], count: int) -> float:
    """Of the whole sweep on so many nodes, the head among them."""
    others = [nodes.add_node(num_cpus=1) for _ in range(count - 1)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            with Cluster(nodes.address).executor(None, store.root) as pool:
                assert pool.jobs == count
                begin = time.perf_counter()
                sweep(wanted, store, How(jobs=pool.jobs, pool=pool))
                return time.perf_counter() - begin
    finally:
        for node in others:
            nodes.remove_node(node)
