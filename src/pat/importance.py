"""Importance of channels: weights and gradients in, one score per channel out (Sec. 3.1).

The three functions at the top are the paper's formulas for one layer. The two classes below apply them
to a whole model, per group of coupled channels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup


def magnitude(weight: Tensor) -> Tensor:
    """Magnitude criterion, Eq. 2: ``||W_n||_2 / sqrt(P)``, P the number of weights of one filter.

    Args:
        weight: filters of one layer, ``[C_out, C_in/groups, K, K]`` (any rank from 1 up).

    Returns:
        Scores ``[C_out]``; a filter that has lost all its inputs scores 0.

    Raises:
        ValueError: for a tensor without dimensions.
    """
    if weight.dim() == 0:
        raise ValueError("magnitude needs filters [C_out, ...], got a tensor without dimensions")
    filters = weight.detach().reshape(weight.shape[0], -1) if weight.numel() else None
    if filters is None:
        return weight.new_zeros(weight.shape[0])
    norms: Tensor = torch.linalg.vector_norm(filters, dim=1)
    return norms / math.sqrt(filters.shape[1])


def taylor(weight: Tensor, grad: Tensor) -> Tensor:
    """Gradient criterion over the filter, Eq. 3: ``|sum_w g_w w|``.

    Args:
        weight: filters of one layer, ``[C_out, C_in/groups, K, K]``.
        grad: the loss's gradient with respect to ``weight``, same shape.

    Returns:
        Scores ``[C_out]``.

    Raises:
        ValueError: if the shapes differ.
    """
    _same_shape(weight=weight, grad=grad)
    return _filter_sums(weight, grad).abs()


def taylor_batchnorm(gamma: Tensor, gamma_grad: Tensor, beta: Tensor, beta_grad: Tensor) -> Tensor:
    """Gradient criterion on BatchNorm, Sec. 3.1 below Eq. 3: ``|g_gamma gamma + g_beta beta|``.

    One minibatch; average over minibatches afterwards.

    Args:
        gamma, beta: scale and shift, ``[C]``.
        gamma_grad, beta_grad: their gradients, ``[C]``.

    Returns:
        Scores ``[C]``.

    Raises:
        ValueError: if the shapes differ.
    """
    _same_shape(gamma=gamma, gamma_grad=gamma_grad, beta=beta, beta_grad=beta_grad)
    return (gamma.detach() * gamma_grad + beta.detach() * beta_grad).abs()


def magnitude_scores(model: nn.Module, groups: Mapping[str, ChannelGroup]) -> dict[str, Tensor]:
    """Eq. 2 for every group: the mean over the convolutions that share the group's channels.

    Args:
        model: the network the groups were traced from, or a deep copy of it.
        groups: groups to score.

    Returns:
        Scores per group name, each ``[group.size]``, on the CPU.
    """
    layers = dict.fromkeys(member.layer for group in groups.values() for member in group.members)
    norms = {name: magnitude(_filters_first(model, name)) for name in layers}
    scores = {
        name: torch.stack([norms[m.layer][m.channels.to(norms[m.layer].device)] for m in g.members])
        .mean(0)
        .float()
        for name, g in groups.items()
    }
    return {name: score.cpu() for name, score in scores.items()}


class NoScores(RuntimeError):
    """No minibatch with finite gradients was seen, so that there is nothing to rank by."""


class TaylorScores:
    """Mean of the gradient criterion over minibatches, for all groups at once.

    A channel's score for one minibatch is the absolute value of the sum of ``gamma g_gamma + beta g_beta``
    over all BatchNorm layers that act on it (depthwise ones included: a BatchNorm that another BatchNorm
    follows is scale-invariant, so its own term alone is close to zero). Channels without a BatchNorm use
    Eq. 3 over filter and bias of their convolutions.

    Everything stays on the parameters' device and nothing synchronises until :meth:`mean`.

    Args:
        model: the network; its parameters are read at every :meth:`add`.
        groups: groups to score, as returned by :func:`pat.channels.trace`.
    """

    def __init__(self, model: nn.Module, groups: Mapping[str, ChannelGroup]) -> None:
        self._sizes = {name: group.size for name, group in groups.items()}
        self._batchnorm: list[tuple[Tensor, Tensor | None]] = []
        self._filters: list[Tensor] = []
        self._turned: set[int] = set()  # weights with their filters along dimension 1
        terms: list[tuple[int, int]] = []  # (unit, position among the concatenated terms)
        wanted = self._wanted(model, groups)
        position = 0
        for layer, (is_norm, uses) in wanted.items():
            weight = model.get_parameter(f"{layer}.weight")
            bias = cast("Tensor | None", model.get_submodule(layer).bias)
            if is_norm:
                self._batchnorm.append((weight, bias))
            else:
                self._filters.append(weight)
                if _is_turned(model.get_submodule(layer)):
                    self._turned.add(id(weight))
            terms += [(unit, position + channel) for unit, channel in uses]
            position += weight.shape[id(weight) in self._turned]
            if not is_norm and bias is not None:  # a filter's bias counts with it
                self._filters.append(bias)
                terms += [(unit, position + channel) for unit, channel in uses]
                position += bias.shape[0]
        self._terms = position
        self._gather = self._gather_table(terms, sum(self._sizes.values()), position)
        self._sum: Tensor | None = None
        self._count: Tensor | None = None
        self._skipped: Tensor | None = None

    @staticmethod
    def _wanted(
        model: nn.Module, groups: Mapping[str, ChannelGroup]
    ) -> dict[str, tuple[bool, list[tuple[int, int]]]]:
        """Layers to read, BatchNorms first, each with its (unit, channel) pairs."""
        norms: dict[str, tuple[bool, list[tuple[int, int]]]] = {}
        convs: dict[str, tuple[bool, list[tuple[int, int]]]] = {}
        start = 0
        for group in groups.values():
            affine = [n for n in group.norms if _has_weight(model, n.layer)]
            into, members = (norms, affine) if affine else (convs, list(group.members))
            for member in members:
                _, uses = into.setdefault(member.layer, (bool(affine), []))
                uses += [(start + unit, c) for unit, c in enumerate(member.channels.tolist())]
            start += group.size
        return {**norms, **convs}

    @staticmethod
    def _gather_table(terms: Sequence[tuple[int, int]], units: int, pad: int) -> Tensor:
        """``[units, most terms of a unit]`` positions; a table and a sum is deterministic on a GPU
        where index_add is not. Short rows point at one appended zero."""
        rows: list[list[int]] = [[] for _ in range(units)]
        for unit, position in terms:
            rows[unit].append(position)
        width = max((len(row) for row in rows), default=0)
        return torch.tensor([row + [pad] * (width - len(row)) for row in rows]).reshape(units, -1)

    @torch.no_grad()
    def add(self) -> None:
        """Read the gradients that ``backward`` left in the parameters, as one minibatch.

        A minibatch with a NaN or infinite score is left out of the mean and counted.

        Raises:
            RuntimeError: if no scored parameter has a gradient.
        """
        params = [p for pair in self._batchnorm for p in pair if p is not None] + self._filters
        if params and all(p.grad is None for p in params):
            raise RuntimeError("no gradients to score: call step() after loss.backward()")
        terms = self._batchnorm_terms() + self._filter_terms()
        device = terms[0].device
        flat = torch.cat([t.float() for t in terms] + [torch.zeros(1, device=device)])
        if self._gather.device != device:
            self._gather = self._gather.to(device)
        scores = flat[self._gather].sum(1).abs()
        finite = torch.isfinite(scores).all()
        scores = torch.where(finite, scores, 0.0)
        if self._sum is None or self._count is None or self._skipped is None:
            self._sum, self._count = scores, finite.long()
            self._skipped = (~finite).long()
        else:
            self._sum += scores
            self._count += finite
            self._skipped += ~finite

    def _batchnorm_terms(self) -> list[Tensor]:
        if not self._batchnorm:
            return []
        gammas = [gamma for gamma, _ in self._batchnorm]
        products = list(torch._foreach_mul(gammas, tuple(_grad(g) for g in gammas)))
        with_beta = [(i, beta) for i, (_, beta) in enumerate(self._batchnorm) if beta is not None]
        if with_beta:
            betas = [beta for _, beta in with_beta]
            torch._foreach_addcmul_([products[i] for i, _ in with_beta], betas, [_grad(b) for b in betas])
        return products

    def _filter_terms(self) -> list[Tensor]:
        return [_filter_sums(p, _grad(p), int(id(p) in self._turned)) for p in self._filters]

    @property
    def minibatches(self) -> int:
        """Minibatches in the mean so far."""
        return 0 if self._count is None else int(self._count)

    @property
    def skipped(self) -> int:
        """Minibatches left out because a score was not finite."""
        return 0 if self._skipped is None else int(self._skipped)

    def mean(self) -> dict[str, Tensor]:
        """Scores per group name, each ``[group.size]``, on the CPU.

        Raises:
            NoScores: if no finite minibatch was added since the last :meth:`reset`.
        """
        if self._sum is None or self.minibatches == 0:
            raise NoScores(
                f"no minibatch with finite gradients to average ({self.skipped} skipped): call step() after "
                "every loss.backward()"
            )
        flat = (self._sum / self.minibatches).cpu()
        return dict(zip(self._sizes, torch.split(flat, list(self._sizes.values())), strict=True))

    def reset(self) -> None:
        """Start a new mean (after every pruning step, and at every epoch's start)."""
        self._sum = self._count = self._skipped = None

    def state_dict(self) -> dict[str, Tensor]:
        """The running sums; empty before the first minibatch."""
        if self._sum is None or self._count is None or self._skipped is None:
            return {}
        parts = {"sum": self._sum, "count": self._count, "skipped": self._skipped}
        return {name: tensor.clone() for name, tensor in parts.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            ValueError: if the state belongs to groups of another size.
        """
        if not state:
            return self.reset()
        if state["sum"].shape != (self._gather.shape[0],):
            raise ValueError(f"scores of {state['sum'].numel()} channels do not fit {self._gather.shape[0]}")
        self._sum, self._count, self._skipped = (state[name].clone() for name in ("sum", "count", "skipped"))
        return None


def _filter_sums(weight: Tensor, grad: Tensor, dim: int = 0) -> Tensor:
    """``sum_w g_w w`` per filter, ``[C_out]``."""
    product = weight.detach() * grad
    product = product.transpose(0, 1) if dim else product
    return product if product.dim() == 1 else product.flatten(1).sum(1)


def _grad(parameter: Tensor) -> Tensor:
    """A parameter's gradient; zero where the loss did not reach it."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _is_turned(layer: nn.Module) -> bool:
    """Whether a layer's weight has its filters along dimension 1, as a transposed convolution's."""
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return False
    return layer.transposed and not (layer.groups == layer.in_channels and layer.groups > 1)


def _filters_first(model: nn.Module, layer: str) -> Tensor:
    weight = model.get_parameter(f"{layer}.weight")
    return weight.transpose(0, 1) if _is_turned(model.get_submodule(layer)) else weight


def _has_weight(model: nn.Module, layer: str) -> bool:
    return isinstance(getattr(model.get_submodule(layer), "weight", None), nn.Parameter)


def _same_shape(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"shapes must be equal, got {shapes}")
