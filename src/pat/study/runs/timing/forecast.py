"""Forecasts: what runs will take on this machine, from times measured here, before any of them is trained."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from pat.study.plan.spec import AtEpoch, Spec
from pat.study.runs.budget import dense_key, pruned_key
from pat.study.runs.building import check_device
from pat.study.runs.timing.trials import Source, Times, Trials
from pat.study.runs.trunks import Trunk, plan
from pat.study.store import AnyStore, Store
from pat.study.store.record import record_text

_SAMPLE = 50  # records whose size is looked at


@dataclass(frozen=True)
class Part:
    """Runs of one network.

    Attributes:
        architecture: its name.
        runs: all that were asked for, and the dense ones that they start from.
        done: those that the store has.
        shared: dense runs that others continue.
        epochs: that are left to train.
        seconds: that they take, one run at a time.
        apart: the same if each run that is missing began at its first epoch, as a grid without shared dense
            epochs would.
    """

    architecture: str
    runs: int
    done: int
    shared: int
    epochs: int
    seconds: float
    apart: float


@dataclass(frozen=True)
class Forecast:
    """What a set of runs will take.

    Attributes:
        parts: by network.
        longest: seconds of the longest chain, a dense run with the longest that continues it.
        kept: bytes that stay: records, and weights of pruned networks.
        meanwhile: bytes of checkpoints at the same time at most.
        sources: how the times were measured.
    """

    parts: tuple[Part, ...]
    longest: float = 0.0
    kept: int = 0
    meanwhile: int = 0
    sources: frozenset[Source] = field(default_factory=frozenset)

    @property
    def seconds(self) -> float:
        """Of one device that trains all runs, one at a time."""
        return sum(part.seconds for part in self.parts)

    def wall(self, jobs: int) -> float:
        """Seconds until the end with so many devices or processes that do not slow each other down."""
        return max(self.seconds / jobs, self.longest)


def forecast(
    specs: Iterable[Spec], store: AnyStore, *, jobs: int = 1, measure: Callable[[Spec], Times] | None = None
) -> Forecast:
    """Time each network that is to be trained, dense and pruned, and add up what the store lacks.

    Args:
        specs: the runs.
        store: has those that are done.
        jobs: that will run at the same time.
        measure: tells the times of a dense run, or of one that prunes in its first epoch; by default
            :class:`~pat.study.runs.timing.trials.Trials`.

    Raises:
        ValueError: for a network that cannot be trained on the data, or a device that is not there.
    """
    wanted = list(dict.fromkeys(specs))
    records = {spec.id: store.record(spec) for spec in wanted}
    missing = [spec for spec in wanted if records[spec.id] is None]
    for spec in missing[:1]:
        check_device(spec)
    trunks = plan(missing)
    records |= {trunk.spec.id: store.record(trunk.spec) for trunk in trunks}
    times = _Times(measure or Trials())
    chains = [_chain(trunk, store, times, done=records[trunk.spec.id] is not None) for trunk in trunks]
    parts = []
    for name in dict.fromkeys(spec.architecture for spec in wanted):
        own = [chain for chain in chains if chain.architecture == name]
        runs = {spec.id for spec in wanted if spec.architecture == name}
        runs |= {trunk.spec.id for trunk in trunks if trunk.spec.architecture == name}
        parts.append(
            Part(
                architecture=name,
                runs=len(runs),
                done=sum(records[run] is not None for run in runs),
                shared=sum(chain.shared for chain in own),
                epochs=sum(chain.epochs for chain in own),
                seconds=sum(chain.seconds for chain in own),
                apart=sum(chain.apart for chain in own),
            )
        )
    sizes = [len(record_text(record)) for record in list(filter(None, records.values()))[:_SAMPLE]]
    record_size = fmean(sizes) if sizes else None
    busy = sorted((chain.checkpoints for chain in chains), reverse=True)
    return Forecast(
        parts=tuple(parts),
        longest=max((chain.longest for chain in chains), default=0.0),
        kept=round(sum(chain.kept(record_size) for chain in chains)),
        meanwhile=sum(busy[:jobs]),
        sources=times.sources,
    )


@dataclass(frozen=True)
class _Chain:
    """A dense run and those that continue it, as far as they are missing."""

    architecture: str
    shared: int
    epochs: int
    seconds: float
    apart: float
    longest: float
    checkpoints: int
    weights: int
    logs: Sequence[int]

    def kept(self, record: float | None) -> float:
        """Bytes that stay, of records of a known mean size or else of as many lines as they have epochs."""
        return self.weights + (sum(self.logs) if record is None else record * len(self.logs))


def _chain(trunk: Trunk, store: AnyStore, times: "_Times", *, done: bool) -> _Chain:
    dense = times.dense(trunk.spec)
    whole = trunk.spec.recipe.epochs
    there = set(store.checkpoints(trunk.spec)) if isinstance(store, Store) else set()
    needed = {epochs for branch in trunk.branches for epochs in branch.needs if epochs}
    # A dense run that is finished is trained again as far as a checkpoint of it is needed and gone.
    own = max(needed - there, default=0) if done else (whole if trunk.wanted or needed else 0)
    first = own * dense.epoch + dense.around if own else 0.0
    ends, epochs, apart, weights, logs = [0.0], own, first if trunk.wanted and not done else 0.0, 0, []
    if own and not done:
        weights, logs = dense.weights, [whole * dense.log]
    for branch in trunk.branches:
        pruned, start, at = times.pruned(branch), *_course(branch)
        after = pruned.around + (branch.recipe.epochs - at) * pruned.epoch
        ends.append(after + (at - start) * dense.epoch)
        apart += after + at * dense.epoch
        epochs += branch.recipe.epochs - start
        weights += pruned.weights
        logs.append(branch.recipe.epochs * pruned.log)
    return _Chain(
        architecture=trunk.spec.architecture,
        shared=int(bool(needed)),
        epochs=epochs,
        seconds=first + sum(ends),
        apart=apart,
        longest=first + max(ends),
        checkpoints=(len(needed) + 2) * dense.checkpoint,
        weights=weights,
        logs=logs,
    )


def _course(spec: Spec) -> tuple[int, int]:
    """The epochs behind a run when it begins, and those behind it when it trains on as a smaller network.

    The pruning epoch itself counts as dense. Of a policy that watches only the earliest epoch is known.
    """
    if spec.method is not None:
        return 0, 0
    assert spec.pruning is not None
    if spec.pruning.rewind is not None:
        return spec.pruning.rewind, spec.pruning.rewind
    policy = spec.pruning.policy
    at = policy.earliest if policy.watches else spec.prune_epoch or 0
    at = min(at + 1, spec.recipe.epochs)
    return (0 if spec.pretrained or policy.watches else at - 1), at


class _Times:
    """Times of networks, each measured once, when it is first asked for."""

    def __init__(self, measure: Callable[[Spec], Times]) -> None:
        self._measure = measure
        self._known: dict[Hashable, Times] = {}

    @property
    def sources(self) -> frozenset[Source]:
        return frozenset(times.source for times in self._known.values())

    def dense(self, spec: Spec) -> Times:
        key = dense_key(spec)
        if key not in self._known:
            self._known[key] = self._measure(spec.trunk)
        return self._known[key]

    def pruned(self, spec: Spec) -> Times:
        """Of a run after its pruning epoch."""
        if spec.pruning is None:  # a rival that prunes all along: its dense time is an upper limit
            return self.dense(spec)
        key = pruned_key(spec)
        if key not in self._known:
            plain = {"policy": AtEpoch(epoch=0), "rewind": None, "variation": None, "latency": None}
            at_once = {"pruning": spec.pruning.model_copy(update=plain), "pretrained": False}
            self._known[key] = self._measure(spec.model_copy(update=at_once))
        return self._known[key]
