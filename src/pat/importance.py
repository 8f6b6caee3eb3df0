"""Importance of channels: weights and gradients in, one score per channel out (Sec. 3.1).

The three functions at the top are the paper's formulas for one layer; below they are applied to a whole
model, per group of coupled channels. The two gradient formulas and :class:`TaylorScores` share the sums under
the absolute value, which a coupled group adds up over its layers first.
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup, Member


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
    if not weight.numel():
        return weight.new_zeros(weight.shape[0])
    filters = weight.detach().reshape(weight.shape[0], -1)
    return cast(Tensor, torch.linalg.vector_norm(filters, dim=1) / math.sqrt(filters.shape[1]))


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
    return _norm_sums([gamma.detach()], [gamma_grad], [beta.detach()], [beta_grad])[0].abs()


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
    return {
        name: torch.stack([norms[m.layer][m.channels.to(norms[m.layer].device)] for m in g.members])
        .mean(0)
        .float()
        .cpu()
        for name, g in groups.items()
    }


class NoScores(RuntimeError):
    """No minibatch with finite gradients was seen, so that there is nothing to rank by."""


class TaylorScores:
    """Mean of the gradient criterion over minibatches, for all groups at once.

    A channel's score for one minibatch is the absolute value of the sum of ``gamma g_gamma + beta g_beta``
    over all BatchNorm layers that act on it (depthwise ones included: a BatchNorm that another BatchNorm
    follows is scale-invariant, so its own term alone is close to zero). Channels without a BatchNorm use
    Eq. 3 over filter and bias of their convolutions.

    Norms that are not trained are not read: the group's filters are then, if all of them are trained.
    Everything stays on the parameters' device and nothing synchronises until :meth:`mean`.

    Args:
        model: the network; its parameters are read at every :meth:`add`.
        groups: groups to score, as returned by :func:`pat.channels.trace`.
    """

    def __init__(self, model: nn.Module, groups: Mapping[str, ChannelGroup]) -> None:
        self._sizes = {name: group.size for name, group in groups.items()}
        self._norms: list[tuple[Tensor, Tensor | None]] = []
        self._filters: list[tuple[Tensor, int]] = []  # with the dimension of their filters
        self._read: dict[str, list[Tensor]] = {}  # parameters by group
        terms: list[tuple[int, int]] = []  # (unit, position among the concatenated terms)
        position = 0
        for layer, (is_norm, uses) in self._wanted(model, groups).items():
            weight = model.get_parameter(f"{layer}.weight")
            bias = cast("Tensor | None", model.get_submodule(layer).bias)
            if is_norm:
                self._norms.append((weight, bias))
                sizes = [weight.shape[0]]
            else:
                dim = int(_is_turned(model.get_submodule(layer)))
                self._filters.append((weight, dim))
                sizes = [weight.shape[dim]]
                if bias is not None:  # a filter's bias counts with it
                    self._filters.append((bias, 0))
                    sizes.append(bias.shape[0])
            for size in sizes:
                terms += [(unit, position + channel) for unit, channel in uses]
                position += size
        norms = [p for pair in self._norms for p in pair if p is not None]
        self._params = norms + [p for p, _ in self._filters]
        self._first, self._coupled, self._gather = self._gather_tables(
            terms, sum(self._sizes.values()), position
        )
        self._sums: dict[str, Tensor] = {}
        self._waiting = dict(self._read)

    def _wanted(
        self, model: nn.Module, groups: Mapping[str, ChannelGroup]
    ) -> dict[str, tuple[bool, list[tuple[int, int]]]]:
        """Layers to read, norms first, each with its (unit, channel) pairs."""
        norms: dict[str, tuple[bool, list[tuple[int, int]]]] = {}
        filters: dict[str, tuple[bool, list[tuple[int, int]]]] = {}
        start = 0
        for name, group in groups.items():
            is_norm, members = _scored(model, group)
            self._read[name] = [model.get_parameter(f"{m.layer}.weight") for m in members]
            for member in members:
                _, uses = (norms if is_norm else filters).setdefault(member.layer, (is_norm, []))
                uses += [(start + unit, c) for unit, c in enumerate(member.channels.tolist())]
            start += group.size
        return {**norms, **filters}

    @staticmethod
    def _gather_tables(
        terms: Sequence[tuple[int, int]], units: int, pad: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where each unit's terms stand: ``[units]`` the first; units with more than one; ``[these, most
        terms of a unit]`` all of theirs, short rows filled with one appended zero. A table and a sum is
        deterministic on a GPU where index_add is not."""
        rows: list[list[int]] = [[] for _ in range(units)]
        for unit, position in terms:
            rows[unit].append(position)
        width = max((len(row) for row in rows), default=0)
        coupled = [unit for unit, row in enumerate(rows) if len(row) > 1]
        table = [rows[unit] + [pad] * (width - len(rows[unit])) for unit in coupled]
        first = torch.tensor([row[0] if row else pad for row in rows], dtype=torch.long)
        return (
            first,
            torch.tensor(coupled, dtype=torch.long),
            torch.tensor(table, dtype=torch.long).reshape(len(coupled), -1 if coupled else 0),
        )

    @torch.no_grad()
    def add(self) -> None:
        """Read the gradients that ``backward`` left in the parameters, as one minibatch.

        A minibatch with a NaN or infinite score is left out of the mean and counted.

        Raises:
            RuntimeError: if no scored parameter has a gradient.
        """
        if self._params and all(p.grad is None for p in self._params):
            raise RuntimeError("no gradients to score: call step() after loss.backward()")
        if self._waiting:
            self._waiting = {n: left for n, ps in self._waiting.items() if (left := _without_grad(ps))}
        scores = self._minibatch()
        finite = torch.isfinite(scores).all()
        scores = torch.where(finite, scores, 0.0)
        if self._sums:
            self._sums["sum"] += scores
            self._sums["count"] += finite
            self._sums["skipped"] += ~finite
        else:
            self._sums = {"sum": scores, "count": finite.long(), "skipped": (~finite).long()}

    def _minibatch(self) -> Tensor:
        """One minibatch's scores ``[units]``, on the parameters' device."""
        gammas, betas = [gamma for gamma, _ in self._norms], [beta for _, beta in self._norms]
        terms = _norm_sums(
            gammas,
            [_grad(gamma) for gamma in gammas],
            betas,
            [None if beta is None else _grad(beta) for beta in betas],
        )
        terms += [_filter_sums(p, _grad(p), dim) for p, dim in self._filters]
        device = terms[0].device
        if self._first.device != device:
            self._first, self._coupled, self._gather = (
                table.to(device) for table in (self._first, self._coupled, self._gather)
            )
        flat = torch.cat([*terms, torch.zeros(1, device=device)]).float()
        scores = flat.index_select(0, self._first)
        if len(self._coupled):
            sums = flat.index_select(0, self._gather.flatten()).view_as(self._gather).sum(1)
            scores.index_copy_(0, self._coupled, sums)
        return scores.abs_()

    @property
    def unreached(self) -> frozenset[str]:
        """Groups with a layer that no gradient has reached since the last :meth:`reset`: nothing was
        measured there, whatever :meth:`mean` says."""
        return frozenset(self._waiting)

    @property
    def minibatches(self) -> int:
        """Minibatches in the mean so far."""
        return int(self._sums["count"]) if self._sums else 0

    @property
    def skipped(self) -> int:
        """Minibatches left out because a score was not finite."""
        return int(self._sums["skipped"]) if self._sums else 0

    def mean(self) -> dict[str, Tensor]:
        """Scores per group name, each ``[group.size]``, on the CPU.

        Raises:
            NoScores: if no finite minibatch was added since the last :meth:`reset`.
        """
        if self.minibatches == 0:
            raise NoScores(
                f"no minibatch with finite gradients to average ({self.skipped} skipped): call step() after "
                "every loss.backward()"
            )
        flat = (self._sums["sum"] / self.minibatches).cpu()
        return dict(zip(self._sizes, torch.split(flat, list(self._sizes.values())), strict=True))

    def reset(self) -> None:
        """Start a new mean (after every pruning step, and at every epoch's start)."""
        self._sums, self._waiting = {}, dict(self._read)

    def state_dict(self) -> dict[str, Tensor]:
        """The running sums; empty before the first minibatch."""
        parts = dict(self._sums)
        if parts and self._waiting:  # a state as of old where every layer was reached
            parts["unreached"] = torch.tensor([name in self._waiting for name in self._sizes])
        return {name: tensor.clone() for name, tensor in parts.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`.

        Raises:
            ValueError: if the state belongs to groups of another size.
        """
        self.reset()
        if not state:
            return
        if state["sum"].shape != self._first.shape:
            raise ValueError(f"scores of {state['sum'].numel()} channels do not fit {len(self._first)}")
        self._sums = {name: state[name].clone() for name in ("sum", "count", "skipped")}
        unreached = state.get("unreached", torch.zeros(len(self._read), dtype=torch.bool)).tolist()
        self._waiting = {n: ps for (n, ps), u in zip(self._read.items(), unreached, strict=True) if u}


def is_trained(model: nn.Module, group: ChannelGroup) -> bool:
    """Whether gradients can measure a group's channels: its norms are trained, or all of its filters are."""
    return _all_trained(model, _scored(model, group)[1])


def _scored(model: nn.Module, group: ChannelGroup) -> tuple[bool, Sequence[Member]]:
    """The layers to score a group by: its norms (True), or its filters (False)."""
    weights = {n.layer: getattr(model.get_submodule(n.layer), "weight", None) for n in group.norms}
    norms = [n for n in group.norms if isinstance(weights[n.layer], nn.Parameter)]
    if norms and (_all_trained(model, norms) or not _all_trained(model, group.members)):
        return True, norms
    return False, group.members


def _all_trained(model: nn.Module, members: Sequence[Member]) -> bool:
    return all(model.get_submodule(m.layer).weight.requires_grad for m in members)


def _norm_sums(
    gammas: Sequence[Tensor],
    gamma_grads: Sequence[Tensor],
    betas: Sequence[Tensor | None],
    beta_grads: Sequence[Tensor | None],
) -> list[Tensor]:
    """``g_gamma gamma + g_beta beta`` of several norms, each ``[C]``, without the second term where there is
    no beta; in two calls for all of them."""
    if not gammas:
        return []
    sums = list(torch._foreach_mul(list(gammas), list(gamma_grads)))
    shifted = [(s, b, g) for s, b, g in zip(sums, betas, beta_grads, strict=True) if b is not None]
    if shifted:
        torch._foreach_addcmul_(*(list(column) for column in zip(*shifted, strict=True)))
    return sums


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


def _without_grad(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter for parameter in parameters if parameter.grad is None]


def _same_shape(**tensors: Tensor) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"shapes must be equal, got {shapes}")
