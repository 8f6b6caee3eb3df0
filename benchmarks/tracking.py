"""Tracking on against off: what the pruner's calls add to a dense training step."""

import time
from collections.abc import Iterator
from statistics import median

import pat
from benchmarks.networks import backward, batch, network, sgd, stepping
from benchmarks.rounds import Ratio, ratio, take_turns, timed
from pat.latency.timing import clock

TITLE = "Tracking on against off"
AIM = "at most 1.005"


def ask(quick: bool) -> Iterator[Ratio]:
    """The gradient criterion followed and magnitude beside it, in a step; and the calls' own share of it."""
    images, labels = batch(quick)
    plain, watched = network(quick), network(quick)
    optimizer = sgd(watched)
    pruner = pat.PruningAwareTraining(
        watched, optimizer, images, ratio=0.5, steps_per_epoch=1000, policy=pat.policy.Never(),
        track=["magnitude"],
    )  # fmt: skip
    kind, now = clock("cpu")
    calls: list[float] = []

    def step() -> None:
        backward(watched, optimizer, images, labels)
        begin = now()
        pruner.step()
        middle = now()
        optimizer.step()
        end = now()
        pruner.after_step()
        calls.append(now() - end + middle - begin)

    sides = {"on": timed(step, now), "off": timed(stepping(plain, images, labels), now)}
    times = take_turns(sides, rounds := 1 if quick else 40)
    yield ratio(times, "on", "off", AIM, clock=kind)
    shares = [1 + own / (whole - own) for own, whole in zip(calls[-rounds:], times["on"], strict=True)]
    yield Ratio("step with its calls / step without them", shares, AIM, {"clock": kind})
    begin = time.perf_counter()
    pruner.end_epoch()
    steps = (time.perf_counter() - begin) / median(times["off"])
    yield Ratio("end of a dense epoch / step", [steps])
