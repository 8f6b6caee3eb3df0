"""Trace and removal against Torch-Pruning: the same network, the same share of every group, at random."""

import copy
from collections.abc import Callable, Iterator

import torch
import torch_pruning
from torch import Tensor, nn

from benchmarks.networks import batch, network
from benchmarks.rounds import Ratio, Side, ratio, take_turns
from pat import surgery
from pat.channels import trace
from pat.latency.timing import clock

TITLE = "Trace and removal against Torch-Pruning"
AIM = "at most 1"


def ask(quick: bool) -> Iterator[Ratio]:
    """Half of every group, and nine tenths."""
    model, example = network(quick), batch(quick)[0][:1]
    kind, now = clock("cpu")
    for share in (0.5, 0.9):

        def on_a_copy(prune: Callable[[nn.Module, Tensor, float], None], share: float = share) -> Side:
            def side() -> float:
                own = copy.deepcopy(model)
                begin = now()
                prune(own, example, share)
                return now() - begin

            return side

        names = f"pat, {100 * share:.0f} %", "Torch-Pruning"
        sides = dict(zip(names, (on_a_copy(by_pat), on_a_copy(by_torch_pruning)), strict=True))
        yield ratio(take_turns(sides, 1 if quick else 7, warm_up=0 if quick else 1), *names, AIM, clock=kind)


def by_pat(model: nn.Module, example: Tensor, share: float) -> None:
    """Trace, draw, remove."""
    groups = trace(model, example)
    kept = {n: torch.randperm(g.size) >= min(round(share * g.size), g.size - 1) for n, g in groups.items()}
    surgery.remove(model, kept, groups=groups)


def by_torch_pruning(model: nn.Module, example: Tensor, share: float) -> None:
    """Its dependency graph, its random importance, one step; the classifier stays, as its guide says."""
    torch_pruning.pruner.BasePruner(
        model,
        example,
        importance=torch_pruning.importance.RandomImportance(),
        pruning_ratio=share,
        ignored_layers=[model.fc],
    ).step()
