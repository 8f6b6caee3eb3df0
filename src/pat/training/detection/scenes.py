"""Scenes: digits of several sizes on a canvas, each with its box and its class, drawn on the spot."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from pat.training.data.division import divide
from pat.training.data.layouts.embedded import generate
from pat.training.data.manifest import SPLITS, SplitName, load_manifest

Pixels = npt.NDArray[np.uint8]

SOURCES: dict[SplitName, int] = {"train": 800, "validation": 200, "test": 797}
"""Source digits of each split, as in the study's cluttered digits; no digit serves two splits."""

CLASSES = 10
_SIDE = 8
_TRIES = 20


@dataclass(frozen=True)
class Scene:
    """One drawn image with what is on it.

    Attributes:
        image: uint8 ``[size, size]``.
        boxes: int64 ``[N, 4]``: left, top, right, bottom edge in pixels; right and bottom are exclusive.
        labels: int64 ``[N]``: the digits.
        sources: int64 ``[N]``: numbers of the source digits.
    """

    image: Pixels
    boxes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawing:
    """How scenes are drawn.

    Args:
        size: side of the canvas, pixels.
        most: digits on a canvas, at most; each has 1 to ``most``.
        least_zoom, most_zoom: a digit's rows and columns are each repeated so many times.
        clutter: pieces of other digits on each canvas.
        piece: their side, in pixels of the source.
        noise: standard deviation of the Gaussian noise; white is 1.
        seed: of all draws.

    Raises:
        ValueError: for a setting out of range, naming it.
    """

    size: int = 64
    most: int = 3
    least_zoom: int = 2
    most_zoom: int = 3
    clutter: int = 4
    piece: int = 4
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("most", 1), ("least_zoom", 1), ("clutter", 0), ("noise", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.most_zoom < self.least_zoom:
            raise ValueError(f"most_zoom must be at least {self.least_zoom}, got {self.most_zoom}")
        if not 1 <= self.piece <= _SIDE:
            raise ValueError(f"piece must lie in [1, {_SIDE}], got {self.piece}")
        if self.size < _SIDE * self.most_zoom:
            raise ValueError(f"size must be at least {_SIDE * self.most_zoom}, got {self.size}")

    def scene(self, split: SplitName, index: int) -> Scene:
        """One scene, a function of the settings, the split and its number alone.

        Digits stand clear of each other; a digit that finds no place is left out. Pieces may lie anywhere:
        the brighter pixel wins.

        Raises:
            ValueError: for an unknown split or a negative number.
        """
        if split not in SPLITS or index < 0:
            raise ValueError(f"no scene {index} of split {split!r}; splits are {', '.join(SPLITS)}")
        draw = np.random.Generator(np.random.PCG64((self.seed, SPLITS.index(split), index)))
        digits, labels = _digits()
        own = _sources()[split]
        canvas = np.zeros((self.size, self.size))
        boxes: list[tuple[int, int, int, int]] = []
        used: list[int] = []
        for source in own[draw.choice(len(own), int(draw.integers(1, self.most + 1)), replace=False)]:
            drawn = self._zoomed(_tight(digits[source]), draw)
            for left, top in self._places(drawn, draw):
                box = (left, top, left + drawn.shape[1], top + drawn.shape[0])
                if not any(_touch(box, other) for other in boxes):
                    _paste(canvas, drawn, left, top)
                    boxes.append(box)
                    used.append(int(source))
                    break
        others = np.setdiff1d(own, used)
        for source in draw.choice(others, self.clutter):
            row, column = draw.integers(0, _SIDE - self.piece + 1, 2)
            cut = digits[source, row : row + self.piece, column : column + self.piece]
            drawn = self._zoomed(cut, draw)
            _paste(canvas, drawn, *next(self._places(drawn, draw)))
        canvas += self.noise * draw.standard_normal(canvas.shape)
        image = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
        return Scene(image, np.array(boxes, np.int64), labels[used], np.array(used, np.int64))

    def _zoomed(self, digit: npt.NDArray[np.float64], draw: np.random.Generator) -> npt.NDArray[np.float64]:
        rows, columns = draw.integers(self.least_zoom, self.most_zoom + 1, 2)
        return digit.repeat(rows, 0).repeat(columns, 1)

    def _places(self, drawn: npt.NDArray[np.float64], draw: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Left and top of some places within the canvas."""
        height, width = drawn.shape
        for _ in range(_TRIES):
            yield int(draw.integers(self.size - width + 1)), int(draw.integers(self.size - height + 1))


@cache
def _digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The embedded digits, float64 ``[1797, 8, 8]`` in [0, 1], and their classes."""
    images, labels = generate(load_manifest("digits"))["all"]
    return images[:, 0] / 255, labels


@cache
def _sources() -> dict[SplitName, npt.NDArray[np.int64]]:
    return divide(_digits()[1], SOURCES, 0)


def _tight(digit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A digit without its empty margins."""
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _paste(canvas: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64], left: int, top: int) -> None:
    part = canvas[top : top + drawn.shape[0], left : left + drawn.shape[1]]
    np.maximum(part, drawn, out=part)
