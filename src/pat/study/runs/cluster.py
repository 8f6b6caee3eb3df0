"""Where runs are trained, beyond one machine: on the nodes of a Ray cluster."""

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pat import registry

RETRIES = 3
"""How often a run is begun again, from its last checkpoint, after its process or its node died."""
_PATIENCE = 120.0
"""Seconds in which every node has to say whether it sees the store."""


class NotShared(ValueError):
    """A node of the cluster has no access to the store's folder."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what of it a run takes.

    Attributes:
        address: of a running one, as ``HOST:PORT``; without it ``RAY_ADDRESS``'s, or else one of this machine
            alone, started for the sweep.
        cpus: cores of a run.
        gpus: GPUs of a run; a share such as 0.5 lets several runs use one.

    Raises:
        ValueError: for cores under 1, or a share of GPUs that is negative or over 1 and no whole number.
    """

    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ValueError(f"a run needs at least 1 core, got {self.cpus}")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise ValueError(f"--gpus takes a share up to 1, or a whole number of GPUs, got {self.gpus:g}")

    @contextmanager
    def executor(self, jobs: int | None, folder: Path) -> "Iterator[RayExecutor]":
        """Runs as tasks of the cluster.

        Args:
            jobs: how many at a time; on a cluster of this machine alone it gets as many cores. Without it as
                many as the cluster has room for.
            folder: the store's; every node has to see it under the same path.

        Raises:
            ValueError: if Ray is not installed, there is no such cluster, it has no room for one run, or a
                node does not see the folder (:class:`NotShared`).
        """
        ray = _import_ray()
        address = self.address or os.environ.get("RAY_ADDRESS")
        _connect(ray, address, None if jobs is None else jobs * self.cpus)
        try:
            room = self._room(ray)
            if room < 1:
                raise ValueError(
                    f"no node of the cluster has room for a run of {self.cpus} cores and {self.gpus:g} GPUs"
                )
            _check_shared(ray, folder)
            with RayExecutor(ray, self, min(jobs or room, room)) as pool:
                yield pool
        finally:
            ray.shutdown()

    def _room(self, ray: Any) -> int:
        """How many runs the nodes that are there can hold at a time."""
        found = 0
        for node in ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                by_cores = int(has.get("CPU", 0) // self.cpus)
                found += min(by_cores, int(has.get("GPU", 0) / self.gpus)) if self.gpus else by_cores
        return found


class RayExecutor(Executor):
    """Jobs as Ray tasks.

    A task whose process or node dies is begun again, elsewhere if need be, and a run goes on from its last
    checkpoint. Whatever a job raises comes back as it was raised.

    Attributes:
        jobs: how many the cluster has room for, or was asked for.
    """

    def __init__(self, ray: Any, cluster: Cluster, jobs: int) -> None:
        self.jobs = jobs
        self._ray = ray
        self._task = ray.remote(_task).options(
            num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES, name="pat run"
        )
        self._running: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Let the cluster call a function, which has to be importable on its nodes."""
        reference = self._task.remote(str(Path.cwd()), registry.plugins(), fn, args, kwargs)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._running[future] = reference

        def ended(inner: Future[Any]) -> None:
            self._running.pop(future, None)
            if (
                died := inner.exception()
            ) is not None:  # not the job's own: the process, the node, the cluster
                future.set_exception(died)
                return
            value, error = inner.result()
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        reference.future().add_done_callback(ended)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks that run, or end them."""
        if cancel_futures:
            for reference in list(self._running.values()):
                self._ray.cancel(reference, force=True)
        elif wait:
            self._ray.wait(list(self._running.values()), num_returns=len(self._running))


def _task(
    folder: str, plugins: tuple[str, ...], fn: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Any, Exception | None]:
    """A job in a worker: in the folder of the process that sent it, since paths may be relative."""
    try:
        os.chdir(folder)
        registry.load(plugins)
        return fn(*args, **kwargs), None
    except Exception as error:
        return None, error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ValueError(
            "--executor ray needs Ray: pip install 'pruning-aware-training[sweep]', on every node"
        ) from None
    return ray


def _connect(ray: Any, address: str | None, cores: int | None) -> None:
    """Join a cluster, or start one of this machine, which tells nobody of it and shows no page."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    try:
        if address is None:
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ValueError(f"no Ray cluster at {address or 'this machine'}: {error}") from None


def _check_shared(ray: Any, folder: Path) -> None:
    """Every node sees what is written into the folder, and may write there itself."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / f".shared-{uuid.uuid4().hex}"
    token.touch()
    try:
        asked = {}
        for node in ray.nodes():
            if node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                look = ray.remote(_sees).options(num_cpus=0, scheduling_strategy=there)
                asked[look.remote(str(token))] = node["NodeManagerHostname"]
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_PATIENCE)
        blind = [asked[reference] for reference in late]
        blind += [asked[reference] for reference in done if not ray.get(reference)]
    finally:
        token.unlink(missing_ok=True)
    if blind:
        raise NotShared(
            f"{folder} is not one folder on all nodes ({', '.join(sorted(set(blind)))} cannot write into "
            "it): name a --store on a file system that they share"
        )


def _sees(token: str) -> bool:
    return os.access(token, os.W_OK)
