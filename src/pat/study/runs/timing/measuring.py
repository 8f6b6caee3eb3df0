"""Measuring training steps: networks of the structures that runs left, beside the dense network, in turn."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat import surgery
from pat.channels import trace
from pat.latency.timing import AUTOCAST, Clock, clock, settle_allocator
from pat.study.plan.spec import Spec
from pat.study.store import Store, measured
from pat.study.store.record import Record, command, hardware, provenance
from pat.study.store.speeds import (
    Seconds,
    Session,
    Speeds,
    StepTime,
    final_structure,
    network_key,
    read_speeds,
    write_speeds,
)
from pat.training import models
from pat.training.data import load_manifest

_WARM_UP = 5


def network(spec: Spec, structure: dict[str, int] | None = None) -> nn.Module:
    """A freshly initialised network of a run's architecture, cut to a structure by surgery.

    Which channels stay does not matter to its speed: the first of each group.

    Args:
        spec: of the run.
        structure: channels per layer (per group, if the run counts units); layers that are not named stay
            whole. None: the dense network.

    Raises:
        ValueError: if the structure does not fit the network.
    """
    data = load_manifest(spec.dataset)
    model = models.build(
        spec.architecture,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        image_size=data.image_size,
    )
    if structure:
        example = torch.zeros(2, data.in_channels, data.image_size, data.image_size)
        groups = trace(model, example)
        known = {name: (name,) if spec.neurons.count == "unit" else g.layers for name, g in groups.items()}
        owners: dict[str, list[str]] = {}
        for name, layers in known.items():
            for layer in layers:
                owners.setdefault(layer, []).append(name)
        kept: dict[str, Tensor] = {}
        for layer, count in structure.items():
            if len(owners.get(layer, ())) != 1:
                problem = (
                    "belongs to several channel groups" if layer in owners else "is no layer with channels"
                )
                raise ValueError(f"{layer!r} of the structure {problem} of {spec.architecture}")
            name = owners[layer][0]
            size = groups[name].size
            mask = torch.arange(size) < count
            if not 0 <= count <= size or not torch.equal(kept.setdefault(name, mask), mask):
                raise ValueError(f"{layer!r} cannot have {count} channels in {spec.architecture}")
        surgery.remove(model, kept, groups=groups)
    if spec.recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    return model.to(spec.device).train()


@dataclass
class Stepper:
    """A network in training: its optimizer and one batch, on which it steps again and again.

    Args:
        spec: says batch size, precision, memory format and device.
        model: on that device.
        now: the clock.
    """

    spec: Spec
    model: nn.Module
    now: Clock

    def __post_init__(self) -> None:
        recipe, data = self.spec.recipe, load_manifest(self.spec.dataset)
        generator = torch.Generator().manual_seed(0)
        shape = (recipe.batch_size, data.in_channels, data.image_size, data.image_size)
        images = torch.randn(shape, generator=generator).to(self.spec.device)
        if recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        self._images = images
        self._labels = torch.randint(data.num_classes, shape[:1], generator=generator).to(self.spec.device)
        self._optimizer = recipe.build_optimizer(self.model)
        for group in self._optimizer.param_groups:
            group["lr"] = 1e-6  # the weights stay near where they are, step after step
        self._scaler = torch.amp.GradScaler(self.spec.device, enabled=recipe.precision == "fp16")

    def step(self) -> tuple[float, float, float]:
        """One training step: seconds of forward pass with loss, backward pass, and update."""
        dtype = AUTOCAST.get(self.spec.recipe.precision)
        begin = self.now()
        with torch.autocast(self.spec.device, dtype, enabled=dtype is not None):
            output = self.model(self._images)
            loss = F.cross_entropy(output, self._labels, label_smoothing=self.spec.recipe.label_smoothing)
        forward = self.now()
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        backward = self.now()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return forward - begin, backward - forward, self.now() - backward


def compare(
    dense: Stepper, pruned: Stepper, *, rounds: int, steps: int
) -> tuple[Seconds, Seconds, list[float]]:
    """Run two networks in turn.

    Both step in each round, and which one begins alternates, so that a machine that is busy for a while slows
    both down, and the ratio within a round stays.

    Returns:
        Medians over rounds of each one's step, and of every round the ratio of pruned to dense.
    """
    for stepper in (dense, pruned):
        for _ in range(_WARM_UP):
            stepper.step()
    times: dict[int, list[tuple[float, ...]]] = {0: [], 1: []}
    for i in range(rounds):
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            stepper = (dense, pruned)[which]
            parts = zip(*(stepper.step() for _ in range(steps)), strict=True)
            times[which].append(tuple(sum(part) / steps for part in parts))
    shares = [sum(p) / sum(d) for d, p in zip(times[0], times[1], strict=True)]
    return _median(times[0]), _median(times[1]), shares


def _median(times: Sequence[tuple[float, ...]]) -> Seconds:
    forward, backward, update = (median(part) for part in zip(*times, strict=True))
    return Seconds(forward=forward, backward=backward, update=update)


def measure_speeds(
    records: Iterable[Record],
    store: Store,
    *,
    rounds: int = 20,
    steps: int = 4,
    again: bool = False,
    now: Clock | None = None,
    on_network: Callable[[int, int], None] = lambda done, total: None,
) -> Speeds | None:
    """Measure the training step of every pruned run's network that the store has no time of.

    Args:
        records: of one profile; dense and collapsed ones are passed over, equal networks measured once.
        store: where the times are kept.
        rounds: how often dense and pruned network take turns.
        steps: steps of each in a round.
        again: measure those as well that the store has.
        now: another clock than :func:`pat.latency.timing.clock` has for the device.
        on_network: told (done, all) after every network.

    Returns:
        The store's step times on this machine; None if no record has a network to measure.

    Raises:
        ValueError: if the records' conditions differ from one another's or from the store's, or the device is
            not there.
    """
    if rounds < 1 or steps < 1:
        raise ValueError(f"rounds and steps must be at least 1, got {rounds} and {steps}")
    wanted: dict[str, tuple[Spec, dict[str, int]]] = {}
    for record in records:
        structure = final_structure(record)
        if structure is not None:
            wanted.setdefault(network_key(record.spec, structure), (record.spec, structure))
    if not wanted:
        return None
    empty = _same_conditions([spec for spec, _ in wanted.values()])
    if empty.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but no CUDA device is available")
    with measured.alone(measured.speed_folder(store.root, empty.profile) / empty.file):
        known = [s for s in read_speeds(store.root, empty.profile) if s.hardware == empty.hardware]
        speeds = empty if not known else known[0].merged(empty)
        missing = {key: value for key, value in wanted.items() if again or key not in speeds.times}
        if missing:
            session = _session(missing, rounds, steps, now, on_network)
            speeds = speeds.merged(empty.model_copy(update={"sessions": (session,)}))
            write_speeds(store.root, speeds)
    return speeds


def _same_conditions(specs: Sequence[Spec]) -> Speeds:
    found = [
        Speeds(
            profile=spec.profile,
            hardware=hardware(spec.device),
            device=spec.device,
            threads=spec.threads,
            batch=spec.recipe.batch_size,
            precision=spec.recipe.precision,
            channels_last=spec.recipe.channels_last,
            clock="processor" if spec.device == "cpu" and spec.threads == 1 else "wall",
        )
        for spec in specs
    ]
    for other in found[1:]:
        found[0].merged(other)
    return found[0]


def _session(
    networks: dict[str, tuple[Spec, dict[str, int]]],
    rounds: int,
    steps: int,
    now: Clock | None,
    on_network: Callable[[int, int], None],
) -> Session:
    begin = time.perf_counter()
    first = next(iter(networks.values()))[0]
    times: dict[str, StepTime] = {}
    dense: dict[str, Stepper] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(first.threads)
    try:
        tick = now or clock(first.device)[1]
        settle_allocator()
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            for i, (key, (spec, structure)) in enumerate(networks.items()):
                if spec.architecture not in dense:
                    dense[spec.architecture] = Stepper(spec, network(spec), tick)
                pruned = Stepper(spec, network(spec, structure), tick)
                whole, cut, shares = compare(dense[spec.architecture], pruned, rounds=rounds, steps=steps)
                times[key] = StepTime(
                    architecture=spec.architecture,
                    structure=structure,
                    dense=_rounded(whole),
                    pruned=_rounded(cut),
                    shares=tuple(round(share, 5) for share in shares),
                )
                on_network(i + 1, len(networks))
    finally:
        torch.set_num_threads(threads)
    seconds = time.perf_counter() - begin
    origin = provenance(seconds=seconds, device=first.device, command=command())
    return Session(provenance=origin, steps=steps, times=times)


def _rounded(seconds: Seconds) -> Seconds:
    return Seconds(**{name: round(value, 9) for name, value in seconds})
