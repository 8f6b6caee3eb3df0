"""Table 1: how much accuracy each policy loses against the best epoch of a grid search."""

from collections.abc import Sequence

import pandas as pd

from pat.study.audit.check import Check
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper, Printed, Span, derived

PART = "Table 1: policies"

POLICIES = {"random": "random", "init": "initialisation", "predefined": "pre-defined", "epi": "EPI"}
_HALVES = ("magnitude", "gradient")


def checks(paper: Paper) -> list[Check]:
    """All checks of Table 1."""
    found = [_overall(paper, half, policy) for half in _HALVES for policy in POLICIES]
    found.append(_order(paper))
    found.append(_epochs_lost(paper))
    found += [_against_random(paper, half, network) for half in _HALVES for network in LABELS]
    found += [_best_of_the_others(paper, half, tuned) for tuned in (True, False) for half in _HALVES]
    return found


def losses(paper: Paper) -> pd.DataFrame:
    """Table 1 in long form: columns ``criterion``, ``network``, ``policy``, ``loss`` (points); no dashes."""
    rows = [
        (half, LABELS[network], policy, cell.value)
        for half in _HALVES
        for network in LABELS
        for policy in POLICIES
        if (cell := paper.optional(f"table1.{half}.{network}.{policy}")) is not None
    ]
    return pd.DataFrame(rows, columns=pd.Index(["criterion", "network", "policy", "loss"]))


def _cells(paper: Paper, half: str, policy: str, networks: Sequence[str] = tuple(LABELS)) -> list[Printed]:
    cells = (paper.optional(f"table1.{half}.{network}.{policy}") for network in networks)
    return [cell for cell in cells if cell is not None]


def mean(*values: float) -> float:
    return sum(values) / len(values)


def _texts(numbers: Sequence[Printed]) -> str:
    return ", ".join(number.text for number in numbers)


def _overall(paper: Paper, half: str, policy: str) -> Check:
    printed = paper.number(f"table1.{half}.overall.{policy}")
    cells = _cells(paper, half, policy)
    missing = len(LABELS) - len(cells)
    follows = "The overall rows are plain means over the networks."
    if missing:
        follows = (
            f"A mean over {len(cells)} networks: the one that could not be trained is left out, where it "
            "would cost most."
        )
    return Check(
        part=PART,
        where=f"Table 1, {half}, overall",
        quantity=POLICIES[policy],
        printed=printed.text,
        expected=printed.span,
        inputs=f"mean of {_texts(cells)}",
        found=derived(mean, *cells),
        follows=follows,
        decimals=3,
    )


def _order(paper: Paper) -> Check:
    """Random against initialisation where one of them has no value for a network."""
    both = [n for n in LABELS if paper.optional(f"table1.magnitude.{n}.init") is not None]
    random, init = (_cells(paper, "magnitude", policy, both) for policy in ("random", "init"))
    overall = [paper.number(f"table1.magnitude.overall.{policy}") for policy in ("random", "init")]
    found = derived(lambda *v: mean(*v[: len(both)]) - mean(*v[len(both) :]), *random, *init)
    printed = derived(lambda a, b: a - b, *overall)
    return Check(
        part=PART,
        where="Table 1, magnitude, overall",
        quantity="random minus initialisation",
        printed="random loses more",
        expected=Span.above(0),
        inputs=f"networks that both rows have: {', '.join(LABELS[n] for n in both)}",
        found=found,
        other=printed,
        other_inputs="with the missing cell skipped in one of the two means",
        follows=(
            f"The overall row makes a random epoch look worse than initialisation. On the {len(both)} "
            f"networks that both have, it loses {abs(found.value):.2f} points less."
        ),
        decimals=3,
    )


def _epochs_lost(paper: Paper) -> Check:
    """How many epochs of the random range must fail to make the mean so large."""
    low, high = (int(number.value) for number in paper.numbers("policies.random.range"))
    epochs = high - low + 1
    cell = paper.number("table1.magnitude.mobilenet_v1.random")
    dense = paper.number("setup.dense_top1.mobilenet_v1")
    found = derived(lambda loss, top: loss * epochs / top, cell, dense)
    return Check(
        part=PART,
        where="Table 1, magnitude, MobileNetV1",
        quantity="epochs of the random range that fail entirely, at least",
        printed="",
        expected=None,
        inputs=f"{cell.text} points, {epochs} epochs, at most {dense.text} points to lose in each",
        found=found,
        follows=(
            f"Epoch 0, whose own cell is a dash, explains at most {dense.value / epochs:.2f} of the "
            f"{cell.text} points. Early epochs after it must have failed as well, which the table does "
            "not show."
        ),
    )


def _against_random(paper: Paper, half: str, network: str) -> Check:
    random, epi = (paper.number(f"table1.{half}.{network}.{policy}") for policy in ("random", "epi"))
    found = derived(lambda a, b: a - b, random, epi)
    better = found.value > 0
    return Check(
        part=PART,
        where=f"Table 1, {half}, {LABELS[network]}; Sec. 4.2",
        quantity="random minus EPI",
        printed="EPI is better",
        expected=Span.above(0),
        inputs=f"{random.text} and {epi.text}",
        found=found,
        follows=(
            "EPI loses less than a random epoch of the range."
            if better
            else f"Here a random epoch is better than EPI, by {-found.value:.3f} points."
        ),
        decimals=3,
    )


def _best_of_the_others(paper: Paper, half: str, tuned: bool) -> Check:
    """EPI against the best other policy, with and without the network that tau was tuned on."""
    net = paper.text("epi.tau_tuned_on.net")
    networks = [name for name in LABELS if tuned or name != net]
    columns = {policy: _cells(paper, half, policy, networks) for policy in POLICIES}
    whole = {policy: cells for policy, cells in columns.items() if len(cells) == len(networks)}
    means = {policy: derived(mean, *cells) for policy, cells in whole.items()}
    epi = means.pop("epi")
    best = min(means, key=lambda policy: means[policy].value)
    found = derived(lambda a, b: a - b, means[best], epi)
    behind = sum(other.value < epi.value for other in means.values())
    follows = f"EPI loses least{'' if tuned else ', also where its threshold was not tuned'}."
    if behind:
        follows = (
            f"EPI's lead in this half is {LABELS[net]}'s, on which its threshold was tuned. On the other "
            f"networks {behind} of {len(means)} policies lose less than EPI."
        )
    return Check(
        part=PART,
        where=f"Table 1, {half}; Sec. 4.2",
        quantity="best other policy minus EPI, " + ("all networks" if tuned else f"without {LABELS[net]}"),
        printed="EPI is better overall",
        expected=Span.above(0),
        inputs=f"{POLICIES[best]} {means[best].value:.3f}, EPI {epi.value:.3f}",
        found=found,
        follows=follows,
        decimals=3,
    )
