"""Algorithms 1 and 2 and the threshold: what counting their steps, epochs and layers gives."""

from collections.abc import Callable, Mapping, Sequence
from math import floor
from operator import le, lt

from pat.schedule import exponential
from pat.study.audit.check import Check
from pat.study.paper.networks import LABELS, Network
from pat.study.paper.numbers import Paper, Span

PART = "Algorithms 1 and 2: steps, epochs, layers"

STEPS = 30
"""S of Algorithm 1: the paper prints none, and any gives the same result."""

LOOK_BACK = 5
"""r of Eq. 6: the paper prints none; this is the default of :class:`pat.stability.EarlyPruningIndicator`."""


def checks(paper: Paper, networks: Mapping[str, Network]) -> list[Check]:
    """All checks of the algorithms."""
    found = [_loop(networks), _epochs(paper), _look_back(paper), _earliest(paper)]
    for criterion in paper.names("epi.tau"):
        found += [_one_layer(paper, criterion, name, networks[name]) for name in LABELS]
    return found


def steps_begun(pruned_after: Sequence[int], wanted: int, goes_on: Callable[[int, int], bool]) -> int:
    """How often Algorithm 1's loop begins a step; one for which the schedule has no entry is its last.

    Args:
        pruned_after: neurons pruned after steps 1, ..., S.
        wanted: how many are to go.
        goes_on: the loop's condition, of the number pruned and the number wanted.
    """
    steps, pruned = 0, 0
    while goes_on(pruned, wanted):
        steps += 1
        if steps > len(pruned_after):
            break
        pruned = pruned_after[steps - 1]
    return steps


def _loop(networks: Mapping[str, Network]) -> Check:
    """``while |P| <= alpha |F|``."""
    total = networks["resnet50"].filters
    keep = total // 2
    pruned = [total - left for left in exponential(total, keep, STEPS)]
    return Check(
        part=PART,
        where="Algorithm 1, line 2",
        quantity="steps of the loop “while |P| ≤ α|F|”",
        printed="S",
        expected=Span.exact(STEPS),
        inputs=f"S = {STEPS}, half of ResNet50's {total:,} filters",
        found=Span.exact(steps_begun(pruned, total - keep, le)),
        other=Span.exact(steps_begun(pruned, total - keep, lt)),
        other_inputs="with “<”",
        follows=(
            "After S steps |P| equals α|F| and the condition still holds: one more step would begin, for "
            "which m has no entry. We stop after S."
        ),
        decimals=0,
    )


def _epochs(paper: Paper) -> Check:
    epochs = paper.number("setup.epochs")
    loop = range(0, int(epochs.value) + 1)
    return Check(
        part=PART,
        where="Algorithm 2, line 3; Sec. 4",
        quantity="epochs of the loop “for t = 0, 1, …, T”",
        printed=epochs.text,
        expected=Span.exact(epochs.value),
        inputs=f"T = {epochs.text}",
        found=Span.exact(len(loop)),
        other=Span.exact(len(loop) - 1),
        other_inputs="up to T − 1",
        follows="The last epoch is T − 1; epochs count from 0 here and in the book.",
        decimals=0,
    )


def _starts(paper: Paper) -> list[int]:
    """Published starting epochs of PaT, smallest first."""
    networks = [name for name in paper.names("table2") if name in LABELS]
    return sorted(int(paper.number(f"table2.{name}.PaT.start_epoch").value) for name in networks)


def _look_back(paper: Paper) -> Check:
    starts = _starts(paper)
    patience = int(paper.number("epi.monotone_lookback").value)
    return Check(
        part=PART,
        where="Eq. 6; Algorithm 2, line 9; Table 2",
        quantity="largest look-back r that allows the published starts",
        printed="",
        expected=None,
        inputs=f"starts {' and '.join(map(str, starts))}, {patience} earlier values, pruning one epoch later",
        found=Span.exact(starts[0] - patience - 1),
        follows=(
            "The paper does not print r. A longer look-back would not have been defined in time, if the "
            "printed start is the pruning epoch; if it is the epoch of the trigger, r can be one more."
        ),
        decimals=0,
    )


def _earliest(paper: Paper) -> Check:
    patience = int(paper.number("epi.monotone_lookback").value)
    first = _starts(paper)[0]
    warmup = paper.number("setup.warmup_epochs").value
    earliest = LOOK_BACK + patience + 1
    at_the_limit = first == earliest
    return Check(
        part=PART,
        where="Algorithm 2, line 9; Table 2",
        quantity=f"earliest possible pruning epoch with r = {LOOK_BACK}",
        printed=f"starts in {first} and later",
        expected=Span(first, 0, first),
        inputs=f"EPI is undefined before epoch {LOOK_BACK}; a trigger needs {patience} earlier values",
        found=Span.exact(earliest),
        follows=(
            (
                "The earliest published start is the first epoch that the rule allows, "
                f"{earliest - warmup:.0f} epochs after the warm-up. There the threshold may have decided "
                "nothing."
            )
            if at_the_limit
            else "The published starts are later than the rule's first chance, so the threshold decided."
        ),
        decimals=0,
    )


def _one_layer(paper: Paper, criterion: str, name: str, network: Network) -> Check:
    """How many layers may empty, or come back, before EPI falls below tau."""
    tau = paper.number(f"epi.tau.{criterion}")
    slack = 1 - tau.value
    found = slack * network.layers
    return Check(
        part=PART,
        where=f"Eq. 5; Sec. 4.2, {criterion}, {LABELS[name]}",
        quantity="layers that may empty in one epoch with EPI still at τ, all else at rest",
        printed="",
        expected=None,
        inputs=f"(1 − {tau.text}) · {network.layers} layers; one layer costs {1 / network.layers:.3f}",
        found=Span.exact(found),
        follows=(
            "A single layer that empties, or comes back, keeps EPI below the threshold in that epoch."
            if found < 1
            else f"EPI can stay at the threshold if {floor(found)} empty at once, and not if one more does."
        ),
    )
