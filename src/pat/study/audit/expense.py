"""Sec. 4.3: what training costs in dollars, and what the prices imply; the abstract's factors."""

from collections.abc import Mapping
from math import log10

from pat.study.audit.check import Check
from pat.study.paper.networks import Network
from pat.study.paper.numbers import Paper, Span, derived

PART = "Section 4.3: what training costs"


def checks(paper: Paper, networks: Mapping[str, Network]) -> list[Check]:
    """All checks of the prices."""
    return [*_prices(paper), *_implied(paper), *_beside_flops(paper, networks), _grid_search(paper)]


def sparse_epoch(dense: float, total: float) -> float:
    """Cost of a sparse epoch in dense epochs, if retraining for as many epochs costs ``total - dense``."""
    return (total - dense) / dense


def start_epoch(saved: float, dense: float, total: float, epochs: int) -> float:
    """The epoch t in which pruning saves the share ``saved`` of the training.

    From ``1 - saved = (t + (T - t) c) / T`` with c of :func:`sparse_epoch` and T epochs.
    """
    return epochs * (1 - saved / (1 - sparse_epoch(dense, total)))


def _prices(paper: Paper) -> list[Check]:
    dense, ours, theirs = (paper.number(f"cost.{n}_usd") for n in ("dense", "pat", "train_prune_finetune"))
    saved = paper.number("cost.time_reduction_pct")
    ratio = paper.number("cost.cost_ratio")
    return [
        Check(
            part=PART,
            where="Sec. 4.3",
            quantity="price of PaT",
            printed=f"${ours.text}",
            expected=ours.span,
            inputs=f"${dense.text} less {saved.text} %",
            found=derived(lambda a, b: a * (1 - b / 100), dense, saved),
            follows="The price is the dense one less the time saved, and says nothing beyond the two.",
            decimals=0,
            unit="dollars",
        ),
        Check(
            part=PART,
            where="Abstract; Sec. 4.3",
            quantity="train-prune-finetune over PaT",
            printed=f"{ratio.text}×",
            expected=ratio.span,
            inputs=f"${theirs.text} / ${ours.text}",
            found=derived(lambda a, b: a / b, theirs, ours),
            follows="The factor compares with training, pruning and training again for as many epochs.",
        ),
        Check(
            part=PART,
            where="Sec. 4.3",
            quantity="dense training over PaT",
            printed="",
            expected=None,
            inputs=f"${dense.text} / ${ours.text}",
            found=derived(lambda a, b: a / b, dense, ours),
            follows="Against training the dense network once and not pruning it, the factor is smaller.",
        ),
        Check(
            part=PART,
            where="Sec. 4.3",
            quantity="retraining alone over PaT",
            printed="",
            expected=None,
            inputs=f"(${theirs.text} − ${dense.text}) / ${ours.text}",
            found=derived(lambda total, once, pat: (total - once) / pat, theirs, dense, ours),
            follows="Whoever has a trained network pays less for pruning and retraining it than for PaT.",
        ),
    ]


def _implied(paper: Paper) -> list[Check]:
    dense, theirs = (paper.number(f"cost.{name}_usd") for name in ("dense", "train_prune_finetune"))
    saved = paper.number("cost.time_reduction_pct")
    epochs = int(paper.number("setup.epochs").value)
    start = paper.number("table2.resnet50.PaT.start_epoch")
    return [
        Check(
            part=PART,
            where="Sec. 4.3",
            quantity="sparse epoch, in dense epochs, at 50 %",
            printed="",
            expected=None,
            inputs=f"(${theirs.text} − ${dense.text}) / ${dense.text}, for {epochs} epochs each",
            found=derived(sparse_epoch, dense, theirs),
            follows="With half of the neurons gone, an epoch still takes about two thirds of the time.",
            decimals=3,
        ),
        Check(
            part=PART,
            where="Sec. 4.3",
            quantity=f"pruning epoch that saves {saved.text} %",
            printed="",
            expected=None,
            inputs=f"the sparse epoch above, {epochs} epochs",
            found=derived(lambda s, a, b: start_epoch(s / 100, a, b, epochs), saved, dense, theirs),
            follows=(
                "The prices fit together if EPI prunes about then. Table 2 has it prune ResNet50 in "
                f"epoch {start.text}, at another ratio."
            ),
            decimals=1,
        ),
    ]


def _beside_flops(paper: Paper, networks: Mapping[str, Network]) -> list[Check]:
    pruned, dense = paper.number("table2.resnet50.PaT.gflops"), networks["resnet50"].gflops
    by_flops = paper.number("table2.resnet50.PaT.train_flops_red")
    by_time = paper.number("cost.time_reduction_pct")
    return [
        Check(
            part=PART,
            where="Table 2; Sec. 4.3",
            quantity="sparse epoch, in dense epochs, at 40 %, by FLOPs",
            printed="",
            expected=None,
            inputs=f"{pruned.text} of {dense:.3f} GFLOPs",
            found=derived(lambda a: a / dense, pruned),
            follows="By FLOPs an epoch at 40 % costs less than one at 50 % does by the clock.",
            decimals=3,
        ),
        Check(
            part=PART,
            where="Table 2; Sec. 4.3",
            quantity="time saved at 50 % over FLOPs saved at 40 %",
            printed="",
            expected=None,
            inputs=f"{by_time.text} % (“up to”) and {by_flops.text} %",
            found=derived(lambda a, b: a / b, by_time, by_flops),
            follows=(
                "The higher ratio saves more FLOPs, so at most this share of a saving in FLOPs arrives "
                "on the clock. The two should be read apart."
            ),
        ),
    ]


def _grid_search(paper: Paper) -> Check:
    low, high = (int(number.value) for number in paper.numbers("policies.random.range"))
    epochs = int(paper.number("setup.epochs").value)
    grid = high - low + 1
    return Check(
        part=PART,
        where="Abstract",
        quantity="runs of the grid search, as a power of ten",
        printed="orders of magnitude more compute",
        expected=Span(2, 2, 10),
        inputs=f"one run an epoch, epochs {low} to {high}: {grid} runs",
        found=Span.exact(log10(grid)),
        other=Span.exact(log10(epochs)),
        other_inputs=f"with all {epochs} epochs",
        follows=(
            f"A search over the epochs of the random range is {grid} runs to one. It costs less where "
            "runs share their dense epochs, as they do in this book."
        ),
    )
