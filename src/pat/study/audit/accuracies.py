"""The abstract's gain, Table 3, and Sec. 4.5: differences of accuracies, and their size beside chance."""

from collections.abc import Callable
from itertools import combinations
from math import inf, sqrt

from scipy import stats

from pat.study.audit.check import Check
from pat.study.paper.networks import LABELS
from pat.study.paper.numbers import Paper, Printed, Span, derived

PART = "Abstract, Table 3, Section 4.5: accuracies"

_BUDGETS = {"epi_equal_epochs": "equal epochs", "epi_equal_time": "equal time"}
_LEVEL = 0.95


def checks(paper: Paper) -> list[Check]:
    """All checks of accuracies."""
    return [
        _abstract(paper),
        *(_gain(paper, ratio, budget) for budget in _BUDGETS for ratio in _ratios(paper)),
        _longer_schedule(paper),
        _systematic(paper),
        _smaller_gains(paper),
        _means_differ(paper),
        _spreads_differ(paper),
    ]


def accuracies(paper: Paper) -> dict[str, list[tuple[str, str, Printed]]]:
    """The main text's top-1 accuracies by network: where each stands, what it is, its value."""
    found: dict[str, list[tuple[str, str, Printed]]] = {name: [] for name in LABELS}
    for network in (name for name in paper.names("table2") if name in LABELS):
        for method in paper.names(f"table2.{network}"):
            found[network].append(("Table 2", method, paper.number(f"table2.{network}.{method}.top1")))
    for ratio in _ratios(paper):
        for column, label in {"post_trained": "post-trained", **_BUDGETS}.items():
            value = paper.number(f"table3.{ratio}.{column}")
            found["resnet50"].append(("Table 3", f"{label} {ratio} %", value))
    for network, of_network in found.items():
        of_network.append(("Sec. 4", "dense", paper.number(f"setup.dense_top1.{network}")))
    return found


def differences(paper: Paper) -> list[tuple[str, str, Span]]:
    """All differences between two accuracies of one network: where both stand, of what, its size."""
    return [
        (
            at if at == where else f"{at} and {where}",
            f"{first} and {second}",
            derived(lambda x, y: abs(x - y), a, b),
        )
        for of_network in accuracies(paper).values()
        for (at, first, a), (where, second, b) in combinations(of_network, 2)
    ]


def _ratios(paper: Paper) -> list[str]:
    return [name for name in paper.names("table3") if name.isdigit()]


def _abstract(paper: Paper) -> Check:
    printed = paper.number("abstract.top1_gain_pct")
    tables = [(what, span) for where, what, span in differences(paper) if where in ("Table 2", "Table 3")]
    label, nearest = min(tables, key=lambda pair: abs(pair[1].value - printed.value))
    across = [
        f"{what} ({where})"
        for where, what, span in differences(paper)
        if where not in ("Table 2", "Table 3") and span.meets(printed.span)
    ]
    beside = (
        f"Across them {len(across)} pairs do ({'; '.join(across)}), at unequal ratios and numbers of epochs. "
        if across
        else ""
    )
    return Check(
        part=PART,
        where="Abstract",
        quantity="gain over state-of-the-art pruning",
        printed=f"{printed.text} %",
        expected=printed.span,
        inputs=f"nearest of {len(tables)} differences within Table 2 or Table 3: {label}",
        found=nearest,
        follows=(
            f"No two accuracies of one table differ by as much. {beside}The rivals that the abstract "
            "means are not named, so the claim cannot be tested."
        ),
        unit="points",
    )


def _gain(paper: Paper, ratio: str, budget: str) -> Check:
    after = paper.number(f"table3.{ratio}.post_trained")
    ours = paper.number(f"table3.{ratio}.{budget}")
    found = derived(lambda a, b: a - b, ours, after)
    spread = paper.number("similar_structure.same_structure.diff_std")
    small = found.value < spread.value
    return Check(
        part=PART,
        where="Table 3; Sec. 4.5",
        quantity=f"EPI minus post-trained pruning, {ratio} %, {_BUDGETS[budget]}",
        printed="EPI is better",
        expected=Span.above(0),
        inputs=f"{ours.text} − {after.text}",
        found=found,
        follows=(
            f"A gain below {spread.text} points, the paper's own spread between networks of equal "
            "structure. From one run each, that is no evidence."
            if small
            else f"The gain is above {spread.text} points, the paper's own spread between networks of "
            "equal structure. It is one run each."
        ),
        unit="points",
    )


def _longer_schedule(paper: Paper) -> Check:
    ratio = paper.names("table3")[0]
    ours, dense = paper.number(f"table3.{ratio}.epi_equal_epochs"), paper.number("setup.dense_top1.resnet50")
    epochs, total = paper.number("setup.epochs"), paper.number("table3.epi_total_epochs")
    return Check(
        part=PART,
        where="Table 3; Sec. 4",
        quantity=f"EPI at {ratio} % after {total.text} epochs minus the dense network after {epochs.text}",
        printed="",
        expected=None,
        inputs=f"{ours.text} − {dense.text}",
        found=derived(lambda a, b: a - b, ours, dense),
        follows=(
            f"The comparison is of two schedules as well. A dense network trained for {total.text} "
            "epochs, which would tell them apart, is not in the paper."
        ),
        unit="points",
    )


def _variation(paper: Paper, kind: str) -> tuple[Printed, Printed, int]:
    at = f"similar_structure.{kind}_structure"
    n = int(paper.number(f"{at}.n").value)
    return paper.number(f"{at}.diff_mean"), paper.number(f"{at}.diff_std"), n


def _systematic(paper: Paper) -> Check:
    mean, std, n = _variation(paper, "same")
    half = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * std.value / sqrt(n)
    return Check(
        part=PART,
        where="Sec. 4.5",
        quantity="accuracy difference of the same structure with other neurons",
        printed="",
        expected=None,
        inputs=f"{mean.text} ± {std.text}, n = {n}, Student's t",
        found=Span(mean.value, mean.value - half, mean.value + half),
        interval=True,
        follows=(
            "The other masks differ from the original by more than among themselves, so it matters a "
            "little which neurons stay. No repeated run of the original mask says how much of it is "
            "chance."
        ),
        unit="points",
    )


def _smaller_gains(paper: Paper) -> Check:
    """How many of the paper's gains are smaller than what other neurons in the same structure change."""
    mean, _, _ = _variation(paper, "same")
    tops = {m: paper.number(f"table2.resnet50.{m}.top1") for m in paper.names("table2.resnet50")}
    gains = [derived(lambda a, b: a - b, tops["PaT"], top) for m, top in tops.items() if m != "PaT"]
    for ratio in _ratios(paper):
        after = paper.number(f"table3.{ratio}.post_trained")
        gains += [derived(lambda a, b: a - b, paper.number(f"table3.{ratio}.{b}"), after) for b in _BUDGETS]
    smaller = sum(gain.value < mean.value for gain in gains)
    return Check(
        part=PART,
        where="Tables 2 and 3; Sec. 4.5",
        quantity=f"gains of PaT on ResNet50 below {mean.text} points",
        printed="",
        expected=None,
        inputs=f"{len(gains)} gains",
        found=Span.exact(smaller),
        follows=(
            f"Sec. 4.5 calls {mean.text} points “only”. If that is little, so are the gains below it; if "
            "they count, so does the choice of neurons."
        ),
        decimals=0,
    )


def _means_differ(paper: Paper) -> Check:
    (same, std_same, n_same), (other, std_other, n_other) = (
        _variation(paper, k) for k in ("same", "different")
    )
    variances = [std_other.value**2 / n_other, std_same.value**2 / n_same]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / (n_other - 1) + variances[1] ** 2 / (n_same - 1))
    half = stats.t.ppf((1 + _LEVEL) / 2, freedom) * sqrt(sum(variances))
    found = other.value - same.value
    return Check(
        part=PART,
        where="Sec. 4.5",
        quantity="other structures minus the same structure, mean difference",
        printed="",
        expected=None,
        inputs=(
            f"{other.text} ± {std_other.text}, n = {n_other}; {same.text} ± {std_same.text}, n = "
            f"{n_same}; Welch's t"
        ),
        found=Span(found, found - half, found + half),
        interval=True,
        follows="The interval includes zero: that other structures differ more on average is not shown.",
        unit="points",
    )


def _spreads_differ(paper: Paper) -> Check:
    (_, std_same, n_same), (_, std_other, n_other) = (_variation(paper, k) for k in ("same", "different"))
    ratio = std_other.value / std_same.value
    quantile: Callable[[float], float] = stats.f(n_other - 1, n_same - 1).ppf
    low, high = (ratio / sqrt(quantile(p)) for p in ((1 + _LEVEL) / 2, (1 - _LEVEL) / 2))
    return Check(
        part=PART,
        where="Sec. 4.5",
        quantity="spread of other structures over spread of the same structure",
        printed="performance varies more",
        expected=Span(1, 1, inf),
        inputs=f"{std_other.text} / {std_same.text}, F-distribution",
        found=Span(ratio, low, high),
        interval=True,
        follows=(
            "The spread is larger among other structures, if ± is a standard deviation and the "
            "differences are normal. The section's conclusion rests on this."
        ),
        decimals=1,
    )
