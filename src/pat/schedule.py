"""Schedules: channels left after each pruning step of Algorithm 1; the learning rate of the recipe."""

import math


def exponential(total: int, keep: int, steps: int) -> list[int]:
    """Channels left after pruning steps 1..S, Algorithm 1 with FORCE's exponential schedule.

    ``n^(1 - i/S) * k^(i/S)`` after step i, rounded half up, exactly ``keep`` after the last. ``keep = 0``
    has no exponential: the steps before the last go towards 1.

    Args:
        total: n, channels at the start.
        keep: k, channels at the end.
        steps: S.

    Raises:
        ValueError: if not 0 <= keep <= total, or steps < 1.
    """
    if not 0 <= keep <= total:
        raise ValueError(f"keep must lie between 0 and total={total}, got {keep}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    left = [keep] * steps
    if total > 0:
        for i in range(1, steps):
            left[i - 1] = math.floor(total ** (1 - i / steps) * max(keep, 1) ** (i / steps) + 0.5)
    return left


def prune_steps(requested: int, iterations: int) -> int:
    """S: the requested pruning steps, at most half the epoch's iterations, at least 1.

    Half, so that the scores of a step average at least two minibatches.
    """
    return max(1, min(requested, iterations // 2))


def moments(steps: int, iterations: int) -> list[int]:
    """After which of an epoch's iterations, counted from 1, each of so many pruning steps is due: evenly, the
    last at the end."""
    return [(i + 1) * iterations // steps for i in range(steps)]


def warmup_cosine(epoch: int, *, epochs: int, warmup_epochs: int, peak: float) -> float:
    """Learning rate of one epoch: linear warm-up to ``peak``, then a cosine towards zero (Sec. 4).

    Changed once an epoch, as in the recipe that the paper cites: ``peak (t + 1) / w`` for t < w, then
    ``peak (1 + cos(pi (t - w) / (T - w))) / 2``.

    Raises:
        ValueError: if not 0 <= warmup_epochs < epochs, or epoch is outside [0, epochs).
    """
    if not 0 <= warmup_epochs < epochs:
        raise ValueError(f"warmup_epochs must lie in [0, {epochs}), got {warmup_epochs}")
    if not 0 <= epoch < epochs:
        raise ValueError(f"epoch must lie in [0, {epochs}), got {epoch}")
    if epoch < warmup_epochs:
        return peak * (epoch + 1) / warmup_epochs
    return peak * (1 + math.cos(math.pi * (epoch - warmup_epochs) / (epochs - warmup_epochs))) / 2
