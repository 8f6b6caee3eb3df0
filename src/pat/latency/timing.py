"""Timing: a model in, its latency table out, measured on this machine."""

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.channels.fitting import spoiled
from pat.latency.table import Geometry, Grid, LatencyTable, Precision

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TIMED = 2  # steps that are timed at one visit of a cell, after one that is not
Clock = Callable[[], float]
"""Seconds since some moment."""
TimeLayer = Callable[[Geometry, int, int], float]
"""A geometry, input and output channels in, seconds of one training step out."""


def clock(device: torch.device | str) -> tuple[Literal["wall", "processor"], Clock]:
    """The clock to time a device's work with, and its name.

    On one CPU thread that is the time this process had on the processor, the same as on the wall unless
    others run beside it: a machine that is busy hardly disturbs it. On several threads, and on an accelerator
    once it has done all its work, it is the clock on the wall.
    """
    device = torch.device(device)
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return "processor", time.process_time

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return "wall", now


def settle_allocator() -> None:
    """Let the C library keep freed memory, as in a process that has trained for a while.

    glibc hands blocks back to the system, and takes them anew with page faults that would be timed, until it
    has once seen a block of that size freed; 32 MB is the most that it learns from.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8).fill_(0)


def measure(
    model: nn.Module,
    example_input: Tensor,
    *,
    points: int = 9,
    repeats: int = 5,
    budget: float = math.inf,
    precision: Precision = "fp32",
    channels_last: bool = False,
    hardware: str | None = None,
    time_layer: TimeLayer | None = None,
) -> LatencyTable:
    """Measure the table of a model's convolutions on this machine.

    Every geometry is measured at numbers of channels from 1 up to the model's, spaced evenly: one and the
    eighths, which are multiples of what kernels work in. The cells are visited in turn, again and again, and
    the least time counts, so that a machine that is busy for a while spoils no cell for good.

    Args:
        model: the network; it is not changed.
        example_input: a batch ``[N, C, H, W]`` of the size that is trained with, on the model's device.
        points: numbers of channels a dimension.
        repeats: visits of each cell.
        budget: seconds on the wall after which no further round of visits begins.
        precision: autocast type of the forward pass.
        channels_last: memory format.
        hardware: name of the machine; the processor's or accelerator's by default.
        time_layer: times one visit; by default by the clock.

    Raises:
        ValueError: for fewer than 2 points or 1 repeat, or a convolution that is not two-dimensional.
    """
    if points < 2 or repeats < 1:
        raise ValueError(f"points must be at least 2 and repeats at least 1, got {points} and {repeats}")
    layers, largest = _layers(model, example_input)
    device, batch = example_input.device, example_input.shape[0]
    kind, now = clock(device)
    settle_allocator()
    visit = time_layer or _Visit(batch, device, precision, channels_last, now)
    axes = {g: _axes(g, *sizes, points) for g, sizes in largest.items()}
    best: dict[tuple[Geometry, int, int], float] = {}
    begin, rounds = time.perf_counter(), 0
    while rounds < repeats and (rounds == 0 or time.perf_counter() - begin < budget):
        rounds += 1
        for geometry, (inputs, outputs) in axes.items():
            for c_in in inputs:
                for c_out in outputs:
                    cell = (geometry, c_in, c_out or c_in * geometry.multiplier)
                    best[cell] = min(best.get(cell, math.inf), visit(*cell))
    grids = {}
    for geometry, (inputs, outputs) in axes.items():
        rows = [[best[geometry, i, o or i * geometry.multiplier] for o in outputs] for i in inputs]
        grids[geometry] = Grid(inputs, outputs, tuple(tuple(round(s, 9) for s in row) for row in rows))
    return LatencyTable(
        hardware=hardware or _hardware(device),
        device=device.type,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        batch=batch,
        precision=precision,
        channels_last=channels_last,
        clock=kind,
        repeats=rounds,
        layers=layers,
        grids=grids,
    )


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def _layers(
    model: nn.Module, example_input: Tensor
) -> tuple[dict[str, tuple[Geometry, ...]], dict[Geometry, tuple[int, int]]]:
    """Each convolution's calls in one forward pass, and each geometry's largest numbers of channels."""
    layers: dict[str, tuple[Geometry, ...]] = {}
    largest: dict[Geometry, tuple[int, int]] = {}

    def note(name: str, conv: nn.Conv2d, given: tuple[Tensor, ...]) -> None:
        geometry = _geometry(conv, given[0])
        layers[name] = (*layers.get(name, ()), geometry)
        known = largest.get(geometry, (0, 0))
        largest[geometry] = max(known[0], conv.in_channels), max(known[1], conv.out_channels)

    handles = []
    try:
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                handles.append(
                    module.register_forward_pre_hook(lambda conv, given, name=name: note(name, conv, given))
                )
            elif isinstance(module, nn.modules.conv._ConvNd):
                raise ValueError(f"latency is measured of Conv2d, {name!r} is {type(module).__name__}")
        training = {module: module.training for module in model.modules()}
        model.eval()
        with torch.no_grad():
            model(example_input[:1])
        for module, was in training.items():
            module.training = was
    finally:
        for handle in handles:
            handle.remove()
    return layers, largest


def _geometry(conv: nn.Conv2d, given: Tensor) -> Geometry:
    depthwise = conv.groups == conv.in_channels and conv.groups > 1
    padding = conv.padding
    return Geometry(
        height=given.shape[2],
        width=given.shape[3],
        kernel=(conv.kernel_size[0], conv.kernel_size[1]),
        stride=(conv.stride[0], conv.stride[1]),
        padding=padding if isinstance(padding, str) else (padding[0], padding[1]),
        dilation=(conv.dilation[0], conv.dilation[1]),
        groups=0 if depthwise else conv.groups,
        multiplier=conv.out_channels // conv.in_channels if depthwise else 1,
    )


def _axes(geometry: Geometry, c_in: int, c_out: int, points: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    step = max(geometry.groups, 1)
    return _axis(c_in, points, step), _axis(c_out, points, step) if geometry.groups else (0,)


def _axis(total: int, points: int, step: int) -> tuple[int, ...]:
    """Multiples of ``step`` up to ``total``: one of it, and ``points - 1`` evenly spaced."""
    whole = total // step
    parts = {1, *(math.ceil(whole * i / (points - 1)) for i in range(1, points))}
    return tuple(step * part for part in sorted(parts))


@dataclass(frozen=True)
class _Visit:
    """Times a convolution with BatchNorm: the least of a few steps."""

    batch: int
    device: torch.device
    precision: Precision
    channels_last: bool
    now: Clock

    def __call__(self, geometry: Geometry, c_in: int, c_out: int) -> float:
        groups = geometry.groups or c_in
        generator = torch.Generator(self.device).manual_seed(0)  # leaves the caller's random state alone

        def leaf(*shape: int) -> Tensor:
            tensor = torch.randn(shape, device=self.device, generator=generator)
            if self.channels_last and tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            return tensor.requires_grad_()

        x = leaf(self.batch, c_in, geometry.height, geometry.width)
        weight = leaf(c_out, c_in // groups, *geometry.kernel)
        gamma, beta = leaf(c_out), leaf(c_out)
        mean, variance = torch.zeros(c_out, device=self.device), torch.ones(c_out, device=self.device)
        type_ = AUTOCAST.get(self.precision)
        stride = geometry.stride
        thinned = spoiled(weight, stride, geometry.padding, groups)  # as a layer that pruning leaves is
        best, gradient = math.inf, None
        for i in range(1 + _TIMED):
            for tensor in (x, weight, gamma, beta):
                tensor.grad = None
            begin = self.now()
            with torch.autocast(self.device.type, type_, enabled=type_ is not None):
                seen, step = (x[..., :: stride[0], :: stride[1]], 1) if thinned else (x, stride)
                y = F.conv2d(seen, weight, None, step, geometry.padding, geometry.dilation, groups)
                y = F.batch_norm(y, mean, variance, gamma, beta, training=True)
            if gradient is None:
                gradient = torch.randn(y.shape, device=self.device, generator=generator).to(y)
                if self.channels_last:
                    gradient = gradient.contiguous(memory_format=torch.channels_last)
            torch.autograd.backward(y, gradient)
            spent = self.now() - begin
            best = min(best, spent) if i else best  # the first step chooses kernels
        return best
