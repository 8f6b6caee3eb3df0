"""Cost: multiply-accumulates and parameters of a model, and what a pruned run's training costs (Sec. 4.3)."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Size of a model.

    Attributes:
        macs: multiply-accumulates of one sample's forward pass in convolutions and matrix products.
        parameters: number of parameters.
    """

    macs: int
    parameters: int


def measure(model: "nn.Module", example_input: "Tensor | tuple[Any, ...]") -> Cost:
    """Count one sample's multiply-accumulates and the parameters.

    Counted on a copy without storage where the model allows, so that nothing is computed; the model stays as
    it is.

    Args:
        model: any module.
        example_input: a batch ``[N, ...]``, of which only shape and type matter, or a tuple of arguments, as
            for :func:`pat.channels.trace`: N is then the first dimension of the first tensor in it, or the
            length of a list of images.

    Raises:
        ValueError: if the arguments hold no tensor.
    """
    import torch
    from torch.utils import _pytree

    from pat.loops.wrapping import bare

    model = bare(model)
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    samples = _samples(arguments)
    empty = _pytree.tree_map_only(torch.Tensor, lambda t: torch.empty_like(t, device="meta"), arguments)
    try:
        flops = _flops(copy.deepcopy(model).to("meta"), empty)
    except Exception:  # detectors and others read numbers from values
        flops = _flops(copy.deepcopy(model), copy.deepcopy(arguments))
    macs = flops // 2 // samples
    return Cost(macs=macs, parameters=sum(p.numel() for p in model.parameters()))


def _flops(model: "nn.Module", arguments: "tuple[Any, ...]") -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*arguments)
    return int(counter.get_total_flops())


def _samples(arguments: "tuple[Any, ...]") -> int:
    """N of a model's arguments."""
    import torch

    for argument in arguments:
        if isinstance(argument, torch.Tensor) and argument.dim():
            return max(argument.shape[0], 1)
        if isinstance(argument, list | tuple) and any(isinstance(each, torch.Tensor) for each in argument):
            return len(argument)
        if isinstance(argument, dict):
            return _samples(tuple(argument.values()))
    raise ValueError("expected a tensor among the arguments of the model, got none")


def training_share(dense_macs: float, pruned_macs: float, epochs: int, dense_epochs: float) -> float:
    """Training multiply-accumulates of a run as a share of the dense run's.

    ``(d + (T - d) F_pruned / F_dense) / T``: d epochs at the dense cost and the others at the pruned. A run
    that prunes in epoch p has d = p + 1, since Algorithm 1 only masks until that epoch's end.

    Args:
        dense_macs, pruned_macs: F of the whole and the pruned network, in any one unit.
        epochs: T, epochs of the run.
        dense_epochs: d, epochs at the dense cost.

    Raises:
        ValueError: if dense_macs is not positive or 0 <= dense_epochs <= epochs does not hold.
    """
    if dense_macs <= 0:
        raise ValueError(f"dense_macs must be positive, got {dense_macs}")
    if not 0 <= dense_epochs <= epochs or epochs < 1:
        raise ValueError(f"dense_epochs must lie in [0, {epochs}], got {dense_epochs}")
    return (dense_epochs + (epochs - dense_epochs) * pruned_macs / dense_macs) / epochs


def paper_training_reduction(dense_macs: float, pruned_macs: float, epochs: int, start_epoch: float) -> float:
    """Table 2's "total train FLOPs reduction" as a share: ``(1 - F_pruned / F_dense) (T - t) / T``.

    The same as one minus :func:`training_share` with t dense epochs: the paper does not charge the epoch
    of pruning itself at the dense cost.
    """
    return 1 - training_share(dense_macs, pruned_macs, epochs, start_epoch)
