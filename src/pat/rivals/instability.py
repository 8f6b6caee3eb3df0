"""Instability by linear mode connectivity (Frankle et al. 2020): known when two trainings have ended.

A network is stable at an epoch if two trainings that begin there and see their data in another order end in
networks whose line, weight by weight, has no barrier of error. That says when a training's outcome is
decided, and so when a ticket can be drawn; but it takes two whole trainings for every epoch asked about, so
it is a measurement and no policy.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

STABLE = 0.02
"""Instability under which the paper calls a network stable: 2 % of error."""

POINTS = 30
"""Evenly spaced points of the line in the paper."""


@dataclass(frozen=True)
class Line:
    """Errors along the straight line between two networks.

    Attributes:
        shares: of the second network, ascending from 0 to 1.
        errors: of the network at each.
    """

    shares: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def instability(self) -> float:
        """The highest error on the line minus the mean of the two at its ends; never negative."""
        return max(self.errors) - (self.errors[0] + self.errors[-1]) / 2

    def stable(self, limit: float = STABLE) -> bool:
        """Whether the instability is under a limit, in the unit of the errors."""
        return self.instability < limit


def line(
    first: "nn.Module",
    second: "nn.Module",
    error: "Callable[[nn.Module], float]",
    points: int = POINTS,
    settle: "Callable[[nn.Module], object] | None" = None,
) -> Line:
    """Errors on the line between two networks of one shape.

    Weights and floating-point buffers are mixed; whole numbers, such as a BatchNorm's count of minibatches,
    are the first's.

    Args:
        first, second: left as they are.
        error: of a network, such as the share of test images that it gets wrong.
        points: at how many networks, ends included.
        settle: called with each network before its error is measured, such as to estimate the statistics of
            its BatchNorms anew, which the mean of two networks' statistics are not.

    Raises:
        ValueError: for networks of other shapes, or fewer than 3 points.
    """
    import torch

    if points < 3:
        raise ValueError(f"a line needs at least 3 points, got {points}")
    ends = first.state_dict(), second.state_dict()
    if {n: t.shape for n, t in ends[0].items()} != {n: t.shape for n, t in ends[1].items()}:
        raise ValueError("the two networks must have the same parameters and buffers, of the same shapes")
    shares = tuple(step / (points - 1) for step in range(points))
    between, errors = copy.deepcopy(first), []
    for share in shares:
        with torch.no_grad():
            between.load_state_dict({name: _mixed(ends[0][name], ends[1][name], share) for name in ends[0]})
        if settle is not None:
            settle(between)
        errors.append(float(error(between)))
    return Line(shares, tuple(errors))


def _mixed(first: "Tensor", second: "Tensor", share: float) -> "Tensor":
    if not first.is_floating_point() or share == 0:
        return first
    return second if share == 1 else first.lerp(second, share)


def instability(
    model: "nn.Module",
    train: "Callable[[nn.Module, int], object]",
    error: "Callable[[nn.Module], float]",
    seeds: Sequence[int] = (0, 1),
    points: int = POINTS,
    settle: "Callable[[nn.Module], object] | None" = None,
) -> Line:
    """The line between two trainings of one network that differ in the order of their data.

    Args:
        model: the network as it is at the epoch asked about; left as it is. An optimizer's state that goes
            with it is the business of ``train``.
        train: trains a network to the end of its schedule, in place, with its data as a seed orders them.
        error, points, settle: see :func:`line`.
        seeds: of the two orders.

    Raises:
        ValueError: if the seeds are not two different ones; and as :func:`line`.
    """
    if len(seeds) != 2 or seeds[0] == seeds[1]:
        raise ValueError(f"instability compares the orders of two different seeds, got {list(seeds)}")
    ends = [copy.deepcopy(model) for _ in seeds]
    for end, seed in zip(ends, seeds, strict=True):
        train(end, seed)
    return line(ends[0], ends[1], error, points, settle)


def training_spent(epoch: int, epochs: int) -> float:
    """What the instability at an epoch costs beside the run: two trainings from there on, in dense trainings.

    Raises:
        ValueError: if the epoch is not one of the schedule.
    """
    if not 0 <= epoch < epochs:
        raise ValueError(f"epoch must lie in [0, {epochs - 1}], got {epoch}")
    return 2 * (epochs - epoch) / epochs
