"""Dividing a group of images among splits."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pat.training.data.manifest import SPLITS, SplitName

Indices = npt.NDArray[np.int64]


def divide(labels: Indices, counts: Mapping[SplitName, int], seed: int) -> dict[SplitName, Indices]:
    """Indices of each split, sorted; balanced over the classes and without overlap.

    labels: int64 [N]. counts: images a split, by name, at most N together. The images are put
    in an order whose every stretch holds the classes in their proportion (to one image), and
    the splits are consecutive stretches of it: test first, train last, so that another size of
    the training split leaves the held-out images alone.
    """
    if sum(counts.values()) > len(labels):
        raise ValueError(f"{sum(counts.values())} images asked of {len(labels)}")
    generator = np.random.Generator(np.random.PCG64(seed))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.lexsort((labels, place))
    start = 0
    parts: dict[SplitName, Indices] = {}
    for name in reversed(SPLITS):
        if name in counts:
            parts[name] = np.sort(order[start : start + counts[name]]).astype(np.int64)
            start += counts[name]
    return parts
