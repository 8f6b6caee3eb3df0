"""Table 2: how much training computation pruning in training saves."""

from collections.abc import Mapping
from dataclasses import dataclass

from pat.cost import paper_training_reduction
from pat.study.audit.check import Check
from pat.study.paper.networks import LABELS, Network
from pat.study.paper.numbers import Paper, Printed, Span, derived

PART = "Table 2: training computation"

_REFERENCE = "resnet50"  # the network whose cost all rows share


@dataclass(frozen=True)
class Row:
    """A row of Table 2.

    Attributes:
        network, method: its name.
        gflops: cost of the pruned network.
        start: starting epoch, or None for a dash.
        printed: training FLOPs saved, in percent.
    """

    network: str
    method: str
    gflops: Printed
    start: Printed | None
    printed: Printed

    @property
    def label(self) -> str:
        return f"{LABELS[self.network]}, {self.method}"


def rows(paper: Paper) -> list[Row]:
    """Table 2, network by network."""
    networks = [name for name in paper.names("table2") if name in LABELS]
    return [_row(paper, name, method) for name in networks for method in paper.names(f"table2.{name}")]


def _row(paper: Paper, network: str, method: str) -> Row:
    at = f"table2.{network}.{method}"
    return Row(
        network=network,
        method=method,
        gflops=paper.number(f"{at}.gflops"),
        start=paper.optional(f"{at}.start_epoch"),
        printed=paper.number(f"{at}.train_flops_red"),
    )


def checks(paper: Paper, networks: Mapping[str, Network]) -> list[Check]:
    """All checks of Table 2 and of what Sec. 4.4 says about it."""
    epochs = _epochs(paper)
    found = []
    for row in rows(paper):
        if row.start is None:
            found += [_without_start(row), _start_that_fits(row, networks[row.network], epochs)]
        else:
            found.append(_reduction(row, networks, epochs))
    found.append(_common_cost(paper, networks))
    found.append(_gap(paper, networks, epochs))
    found.append(_pruning_epoch(paper, networks, epochs))
    found += _prose(paper)
    return found


def _epochs(paper: Paper) -> int:
    return int(paper.number("setup.epochs").value)


def _saved(row: Row, dense: float, epochs: int, late: int = 0) -> Span:
    assert row.start is not None
    start = row.start.value + late
    return derived(lambda pruned: 100 * paper_training_reduction(dense, pruned, epochs, start), row.gflops)


def _reduction(row: Row, networks: Mapping[str, Network], epochs: int) -> Check:
    own, reference = networks[row.network], networks[_REFERENCE]
    assert row.start is not None
    found = _saved(row, own.gflops, epochs)
    other = None if row.network == _REFERENCE else _saved(row, reference.gflops, epochs)
    follows = "The formula is (1 − pruned/dense) · (T − t)/T, and the last digit agrees."
    if other is not None:
        follows = (
            f"The row was computed with the cost of {LABELS[_REFERENCE]}. With {LABELS[row.network]}'s "
            f"own, {row.printed.value - found.value:.1f} points of the saving are gone."
        )
    return Check(
        part=PART,
        where=f"Table 2, {row.label}",
        quantity="training FLOPs saved",
        printed=f"{row.printed.text} %",
        expected=row.printed.span,
        inputs=f"{row.gflops.text} of {own.gflops:.3f} GFLOPs from epoch {row.start.text} of {epochs}",
        found=found,
        other=other,
        other_inputs=f"with {LABELS[_REFERENCE]}'s {reference.gflops:.3f} GFLOPs",
        follows=follows,
        decimals=row.printed.decimals + 1,
        unit="%",
    )


def _without_start(row: Row) -> Check:
    return Check(
        part=PART,
        where=f"Table 2, {row.label}",
        quantity="training FLOPs saved",
        printed=f"{row.printed.text} %",
        expected=row.printed.span,
        inputs="no starting epoch: the network shrinks step by step",
        found=None,
        follows="The row has another origin than the others, which the table does not give.",
    )


def _start_that_fits(row: Row, dense: Network, epochs: int) -> Check:
    found = derived(
        lambda pruned, saved: epochs * (1 - saved / 100 / (1 - pruned / dense.gflops)),
        row.gflops,
        row.printed,
    )
    at_most = 100 * paper_training_reduction(dense.gflops, row.gflops.value, epochs, 0)
    return Check(
        part=PART,
        where=f"Table 2, {row.label}",
        quantity="starting epoch at which the formula would give it",
        printed="",
        expected=None,
        inputs=f"{row.printed.text} %, {row.gflops.text} of {dense.gflops:.3f} GFLOPs",
        found=found,
        follows=(
            f"Pruned in one stroke at the start, this network would save {at_most:.1f} %. The printed "
            "number depends on how fast it shrank."
        ),
        decimals=1,
    )


def implied_dense(row: Row, epochs: int) -> Span:
    """The dense network's cost from which the row's printed reduction comes, in GFLOPs.

    Raises:
        ValueError: for a row without a starting epoch.
    """
    if row.start is None:
        raise ValueError(f"Table 2 prints no starting epoch for {row.label}")
    share = (epochs - row.start.value) / epochs
    return derived(lambda pruned, saved: pruned / (1 - saved / 100 / share), row.gflops, row.printed)


def implied_costs(paper: Paper) -> dict[str, Span]:
    """:func:`implied_dense` of every row that has a starting epoch, by the row's label."""
    epochs = _epochs(paper)
    return {row.label: implied_dense(row, epochs) for row in rows(paper) if row.start is not None}


def _common_cost(paper: Paper, networks: Mapping[str, Network]) -> Check:
    implied = implied_costs(paper).values()
    low, high = max(span.low for span in implied), min(span.high for span in implied)
    reference = networks[_REFERENCE]
    without = reference.macs / 1e9
    return Check(
        part=PART,
        where="Table 2",
        quantity="dense cost that fits all rows with a starting epoch",
        printed="",
        expected=None,
        inputs=f"their reductions, between {low:.3f} and {high:.3f} after rounding",
        found=Span((low + high) / 2, low, high) if low <= high else None,
        follows=(
            f"One cost fits both networks' rows. It is {LABELS[_REFERENCE]}'s, {reference.gflops:.3f}, "
            "with batch normalisations counted as two a value; convolutions and classifier alone are "
            f"{without:.3f}."
        ),
        decimals=3,
        unit="GFLOPs",
    )


def _gap(paper: Paper, networks: Mapping[str, Network], epochs: int) -> Check:
    """How much more PaT saves than GPWP, on ResNet34."""
    ours, theirs = (_row(paper, "resnet34", method) for method in ("PaT", "GPWP"))
    printed = derived(lambda a, b: a - b, ours.printed, theirs.printed)
    own, reference = (
        derived(lambda a, b: a - b, *(_saved(row, networks[name].gflops, epochs) for row in (ours, theirs)))
        for name in ("resnet34", _REFERENCE)
    )
    return Check(
        part=PART,
        where="Table 2; Sec. 4.4",
        quantity="PaT's saving minus GPWP's, on ResNet34",
        printed=f"{printed.value:.1f} points",
        expected=printed,
        inputs="both rows with ResNet34's own cost",
        found=own,
        other=reference,
        other_inputs=f"with {LABELS[_REFERENCE]}'s",
        follows="The order of the two methods stays; both savings and their difference get smaller.",
        decimals=1,
        unit="points",
    )


def _pruning_epoch(paper: Paper, networks: Mapping[str, Network], epochs: int) -> Check:
    row = _row(paper, _REFERENCE, "PaT")
    found = _saved(row, networks[_REFERENCE].gflops, epochs, late=1)
    return Check(
        part=PART,
        where=f"Table 2, {row.label}; Algorithm 2",
        quantity="training FLOPs saved, with the pruning epoch itself at the dense cost",
        printed="",
        expected=None,
        inputs="the same formula, one epoch later",
        found=found,
        follows=(
            "The formula counts the epoch in which Algorithm 1 runs as sparse, though the network "
            "shrinks only in the course of it. This book counts it as dense."
        ),
        decimals=2,
        unit="%",
    )


def _prose(paper: Paper) -> list[Check]:
    """Sec. 4.4 on LFPC."""
    theirs, ours = (f"table2.resnet50.{method}" for method in ("LFPC", "PaT"))
    gap = paper.number("table2.prose.lfpc_acc_gap")
    tops = [paper.number(f"{at}.top1") for at in (ours, theirs)]
    more = paper.number("table2.prose.lfpc_extra_train_flops_pct")
    saved = [paper.number(f"{at}.train_flops_red") for at in (theirs, ours)]
    relative = derived(lambda a, b: 100 * ((100 - a) / (100 - b) - 1), *saved)
    points = derived(lambda a, b: b - a, *saved)
    return [
        Check(
            part=PART,
            where="Sec. 4.4",
            quantity="accuracy that LFPC loses more than PaT",
            printed=f"{gap.text} %",
            expected=gap.span,
            inputs=f"{tops[0].text} − {tops[1].text}",
            found=derived(lambda a, b: a - b, *tops),
            follows="It is a difference of percentages, in percentage points.",
            decimals=gap.decimals,
            unit="points",
        ),
        Check(
            part=PART,
            where="Sec. 4.4",
            quantity="total training FLOPs that LFPC needs more than PaT",
            printed=f"{more.text} %",
            expected=more.span,
            inputs=f"(100 − {saved[0].text}) / (100 − {saved[1].text}) − 1",
            found=relative,
            other=points,
            other_inputs="of the dense training",
            follows=(
                f"“{more.text} % more” is a difference in percentage points of the dense training. "
                f"Relative to PaT it is {relative.value:.0f} %: here the paper understates its own result."
            ),
            decimals=1,
            unit="%",
        ),
    ]
