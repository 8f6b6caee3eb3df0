"""Latency tables: measured step times of a model's convolutions, by their numbers of channels (Sec. 4.3)."""

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from pat.files.sealed import checksum, seal, unsealed

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Geometry:
    """What a convolution's time depends on beside the batch and its channels.

    Attributes:
        height, width: of its input.
        kernel, stride, dilation: vertical, horizontal.
        padding: vertical, horizontal, or ``"same"`` or ``"valid"``.
        groups: of the convolution; 0: as many as input channels (depthwise), however many are left.
        multiplier: output channels for each input channel, if depthwise.
    """

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    groups: int = 1
    multiplier: int = 1


@dataclass(frozen=True)
class Grid:
    """Measured seconds of one training step of a convolution with its BatchNorm.

    Attributes:
        inputs, outputs: numbers of channels, ascending; ``outputs`` is ``(0,)`` for depthwise convolutions,
            whose outputs follow their inputs.
        seconds: ``[inputs][outputs]``.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for axis in (self.inputs, self.outputs):
            if not axis or list(axis) != sorted(set(axis)):
                raise ValueError(f"numbers of channels must ascend, got {list(axis)}")
        shape = [len(row) for row in self.seconds]
        if shape != [len(self.outputs)] * len(self.inputs):
            raise ValueError(f"expected {len(self.inputs)} rows of {len(self.outputs)} times, got {shape}")
        if not all(0 < s < math.inf for row in self.seconds for s in row):
            raise ValueError("times must be positive and finite")

    @cached_property
    def envelope(self) -> list[list[float]]:
        """Seconds that do not fall as channels are added: each cell's is the least of all cells that are at
        least as large in both directions.

        Kernels work in blocks of 8 or 16 channels, so 27 may take longer than 32. As it stands, such a table
        says that the next channel is better kept, although removing some more would be faster; and a layer of
        27 channels can always be run padded to 32.
        """
        rows = [list(row) for row in self.seconds]
        for i in reversed(range(len(self.inputs))):
            for j in reversed(range(len(self.outputs))):
                larger = [rows[i + 1][j]] if i + 1 < len(self.inputs) else []
                larger += [rows[i][j + 1]] if j + 1 < len(self.outputs) else []
                rows[i][j] = min([rows[i][j], *larger])
        return rows

    def at(self, inputs: float, outputs: float) -> float:
        """Seconds, bilinear between the cells of :attr:`envelope`; the first and last pieces go on beyond."""
        rows = self.envelope
        if len(self.inputs) == 1:
            return _line(self.outputs, rows[0], outputs)
        i = _piece(self.inputs, inputs)
        pair = [_line(self.outputs, row, outputs) for row in rows[i : i + 2]]
        return _line(self.inputs[i : i + 2], pair, inputs)


def _piece(knots: Sequence[int], x: float) -> int:
    return min(max(bisect_right(knots, x) - 1, 0), len(knots) - 2)


def _line(knots: Sequence[int], values: Sequence[float], x: float) -> float:
    if len(knots) == 1:
        return values[0]
    i = _piece(knots, x)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return values[i] + slope * (x - knots[i])


@dataclass(frozen=True)
class LatencyTable:
    """Measured training-step times of exactly the convolutions of one model at one input size.

    A step is forward and backward (to weights and input) of the convolution and a BatchNorm behind it.
    Activations, additions and pooling are not in it, nor the optimizer.

    Attributes:
        hardware: its name; a table says nothing of another machine.
        device, threads, torch: kind of device, CPU threads, torch's version.
        batch, precision, channels_last: how the steps were run.
        clock: what they were timed by, see :func:`pat.latency.timing.clock`.
        repeats: visits of each cell; the least time counts.
        layers: by qualified name, the geometry of each call of the layer in one forward pass.
        grids: the times.
    """

    hardware: str
    device: str
    threads: int
    torch: str
    batch: int
    precision: Precision
    channels_last: bool
    clock: Literal["wall", "processor"]
    repeats: int
    layers: Mapping[str, tuple[Geometry, ...]] = field(repr=False)
    grids: Mapping[Geometry, Grid] = field(repr=False)

    def seconds(self, geometry: Geometry, inputs: int, outputs: int) -> float:
        """Time of one training step of a layer with so many channels; none without inputs or outputs."""
        return self.grids[geometry].at(inputs, outputs) if inputs and outputs else 0.0

    def saving(self, geometry: Geometry, inputs: int, outputs: int, fewer: tuple[float, float]) -> float:
        """Seconds that a layer's step gets shorter by when it loses inputs and outputs, at least 0.

        The times of few channels are continued below one, so that a layer's last channel counts like the one
        before; a layer without inputs or outputs saves nothing more.
        """
        if not inputs or not outputs:
            return 0.0
        grid = self.grids[geometry]
        return max(0.0, grid.at(inputs, outputs) - grid.at(inputs - fewer[0], outputs - fewer[1]))

    def to_json(self) -> str:
        """The table with its checksum, the same bytes for the same table."""
        return json.dumps(seal(self._content()), sort_keys=True) + "\n"

    @property
    def checksum(self) -> str:
        """SHA-256 of the canonical JSON of everything in the table, 64 hex digits."""
        return checksum(self._content())

    def _content(self) -> dict[str, Any]:
        order = {geometry: i for i, geometry in enumerate(self.grids)}
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        content["layers"] = {name: [order[g] for g in calls] for name, calls in self.layers.items()}
        content["grids"] = [{**asdict(g), **asdict(grid)} for g, grid in self.grids.items()]
        return {"format": 1, **content}

    @classmethod
    def from_json(cls, text: str) -> "LatencyTable":
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if it is no table, or its checksum does not fit.
        """
        try:
            content = unsealed(text)
            if content.pop("format", None) != 1:
                raise ValueError("expected format 1")
            grids = dict(_grid(row) for row in content.pop("grids"))
            order = list(grids)
            layers = {name: tuple(order[i] for i in calls) for name, calls in content.pop("layers").items()}
            return cls(**content, layers=layers, grids=grids)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a latency table, or changed: {error}") from None


def _grid(row: dict[str, Any]) -> tuple[Geometry, Grid]:
    whole: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in row.items()}
    seconds = tuple(tuple(float(s) for s in line) for line in whole.pop("seconds"))
    grid = Grid(whole.pop("inputs"), whole.pop("outputs"), seconds)
    return Geometry(**whole), grid
