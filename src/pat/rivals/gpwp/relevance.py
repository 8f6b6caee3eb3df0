"""Feature relevance: minibatches in, what each channel has to do with its images' true class out."""

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat.channels import ChannelGroups
from pat.rivals.scores.gates import LAYERS, along_channels
from pat.rivals.scores.synaptic_flow import PASSED_OVER

_TINY = 1e-9  # values up to this have no relevance: nothing is divided by them


class Relevance:
    """Layer-wise relevance propagation from the true class down to channels (Bach et al. 2015, Eq. 60).

    An image's true class has a relevance of 1, the other outputs have none. A convolution or Linear layer
    hands the relevance of an output j back to its inputs in proportion to their contributions
    ``z_ij = w_ij x_i``, apart for positive and negative ones::

        R_i = sum_j (alpha p_ij - beta n_ij) R_j
        p_ij = z+_ij / sum_k z+_kj
        n_ij = z-_ij / sum_k z-_kj
        beta = alpha - 1

    so that the sum of relevance stays the same; the bias gets none. Where all contributions to an output have
    one sign, they share all of its relevance (the authors' program gives them alpha or -beta times as much).
    A norm or an activation hands each entry's relevance on as it is, a sum, a mean or an average pool shares
    it in proportion to what it adds up, and a maximum gives it to the largest.

    Computed as a gradient: with ``s = R / value`` at every value of the network, whatever only adds, chooses
    or scales hands s back as autograd does a gradient, and a hook makes the other layers do so. The factors
    of a product (a gate) each get all of its relevance, and an activation that is called as a function
    hands back by its derivative, which is the same for a ReLU.

    It works on a copy, in eval mode, in the model's precision but at least in 32 bits. Means are in 64 bits.

    Args:
        model: the network.
        alpha: at least 1.
    """

    def __init__(self, model: nn.Module, alpha: float = 2.0) -> None:
        self._dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
        self._model = copy.deepcopy(model).to(self._dtype).eval().requires_grad_(False)
        self._layers = {n: m for n, m in self._model.named_modules() if isinstance(m, LAYERS)}
        self._outputs: list[tuple[str, Tensor]] = []
        module: Any
        for module in self._model.modules():
            if getattr(module, "inplace", False):  # it would write over what a hook has kept
                module.inplace = False
            if isinstance(module, PASSED_OVER):
                module.register_forward_hook(_passed_on)
        for name, module in self._layers.items():
            module.register_forward_hook(partial(self._layer, name, _absolute(module), alpha))

    def _layer(
        self, name: str, absolute: nn.Module, alpha: float, module: Any, args: tuple[Any, ...], out: Tensor
    ) -> Tensor:
        straight = out if module.bias is None else out - along_channels(module.bias, module, out)
        both = absolute(args[0].abs())
        with torch.no_grad():
            up, down = (straight + both) / 2, (straight - both) / 2
            mixed = (up > _TINY) & (down < -_TINY)
            of_up = torch.where(mixed, alpha, 1.0) * _ratio(out, up)
            of_down = torch.where(mixed, 1 - alpha, 1.0) * _ratio(out, down)
            half_sum, half_difference = (of_up + of_down) / 2, (of_up - of_down) / 2
        value = _flowing(out, straight * half_sum + both * half_difference)  # of_up * up + of_down * down
        if value.requires_grad:  # a layer without channels hangs on nothing
            self._outputs.append((name, value))
        return value.clone()  # the model may add to it in place

    def of_layers(self, images: Tensor, labels: Tensor) -> list[tuple[str, Tensor]]:
        """Relevance of every entry that a convolution or Linear layer gave.

        Args:
            images: ``[N, ...]``.
            labels: ``[N]``, the true classes.

        Returns:
            The layer's name and the relevance, of its output's shape, for each time that a layer ran.

        Raises:
            ValueError: if the model does not give logits ``[N, classes]``.
        """
        return self._of_layers(images, labels)[0]

    def _of_layers(self, images: Tensor, labels: Tensor) -> tuple[list[tuple[str, Tensor]], int]:
        with torch.enable_grad():
            logits = self._model(images.to(self._dtype, copy=True).requires_grad_())
        outputs, self._outputs = self._outputs, []
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ValueError("feature relevance needs a model that gives logits [N, classes]")
        true = logits.gather(1, labels[:, None])
        values = [value for _, value in outputs]
        flows = torch.autograd.grad(true, values, _ratio(torch.ones_like(true), true), materialize_grads=True)
        relevance = [value.detach() * flow for value, flow in zip(values, flows, strict=True)]
        return [(name, each) for (name, _), each in zip(outputs, relevance, strict=True)], logits.shape[1]

    def of_units(
        self, batches: Iterable[tuple[Tensor, Tensor]], groups: ChannelGroups, left: Tensor
    ) -> Tensor:
        """Relevance of channels: the mean over classes of the mean over a class's images.

        That of a unit is the sum over the filters that produce it, all that an addition or a depthwise
        convolution couples, and over the places of their maps.

        Args:
            batches: images ``[N, ...]`` and labels ``[N]``.
            groups: the trace of the dense model.
            left: bool over its units: those that the model still has.

        Returns:
            Float64 ``[units]`` on the CPU, 0 for those that have gone.

        Raises:
            ValueError: without a minibatch, and as :meth:`of_layers`.
        """
        own = {
            slot.tensor.removesuffix(".weight"): slot.units[slot.keep(left)]
            for slot in groups.slots
            if slot.own and slot.tensor.removesuffix(".weight") in self._layers
        }
        sums, images_of = torch.zeros(()), torch.zeros(())
        for images, labels in batches:
            found, classes = self._of_layers(images, labels)
            one_hot = F.one_hot(labels, classes).double()
            units = one_hot.new_zeros(len(images), len(left) + 1)
            self._add(units, found, own)
            sums = sums.to(one_hot) + one_hot.T @ units[:, :-1]
            images_of = images_of.to(one_hot) + one_hot.sum(0)
        if sums.dim() == 0:
            raise ValueError("feature relevance needs a minibatch, there is none")
        seen = images_of > 0
        return (sums[seen] / images_of[seen, None]).mean(0).cpu()

    def _add(self, total: Tensor, found: Iterable[tuple[str, Tensor]], own: Mapping[str, Tensor]) -> None:
        """Add relevance of layers' outputs to that of units ``[N, units + 1]``; unit -1 is none."""
        for name, each in found:
            units = own.get(name)
            if units is not None and len(units):
                channels = each.transpose(1, _channel_dim(self._layers[name], each))
                channels = channels.reshape(*channels.shape[:2], -1).sum(2)
                units = units.repeat(channels.shape[1] // len(units))  # of several groups, the same in each
                total.index_add_(1, units.to(total.device) % total.shape[1], channels.double())


def _passed_on(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
    return _flowing(out, args[0] * _ratio(out, args[0]))


def _flowing(value: Tensor, flow: Tensor) -> Tensor:
    """A value with the gradient of another one."""
    return value.detach() + (flow - flow.detach())


def _ratio(value: Tensor, divisor: Tensor) -> Tensor:
    """A quotient without a gradient, 0 where the divisor is too small."""
    value, divisor = value.detach(), divisor.detach()
    return torch.where(divisor.abs() > _TINY, value / divisor, 0.0)


def _absolute(layer: nn.Module) -> nn.Module:
    """A layer with absolute weights and no bias."""
    copied: Any = copy.deepcopy(layer)
    copied.weight = nn.Parameter(copied.weight.abs(), requires_grad=False)
    copied.bias = None
    return copied  # type: ignore[no-any-return]


def _channel_dim(layer: nn.Module, out: Tensor) -> int:
    return out.dim() - 1 if isinstance(layer, nn.Linear) else 1
