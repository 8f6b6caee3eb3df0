"""Synaptic flow: absolute weights in, each one's share in the sum of outputs, summed to channels, out."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pat.channels import ChannelGroup, ChannelGroups
from pat.rivals.scores.gates import Gates, weights
from pat.rivals.scores.sums import channel_sums

PASSED_OVER = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
"""Norms, and activations of the kind of ReLU."""


class SynapticFlow:
    """Scores by SynFlow (Tanaka et al. 2020) on a copy of a model, in 64 bits.

    R is the sum of its outputs for one input of ones: the product of the absolute weights, since biases are
    zero, and norms and activations of the kind of ReLU are left out. (The authors keep both. A BatchNorm that
    was not trained only divides by the root of one plus its epsilon, and a ReLU changes nothing here; a ReLU6
    would cut the flow.) A gate's sigmoid stays.

    Args:
        model: the network.
        example: ``[N, ...]``, of which only shape and device matter.
        groups, neurons: of its trace, and those to score.

    Raises:
        ValueError: if its output is no tensor.
    """

    def __init__(
        self, model: nn.Module, example: Tensor, groups: ChannelGroups, neurons: Mapping[str, ChannelGroup]
    ) -> None:
        self._model, self._groups, self._neurons = _linear(model), groups, neurons
        self._gates = Gates(self._model, groups)
        self._ones = torch.ones_like(example[:1], dtype=torch.float64)

    def __call__(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores ``[size]`` by group, with what is not kept (bool ``[size]`` by group) switched off."""
        return channel_sums(self.weight_scores(kept), self._groups, self._neurons)

    def weight_scores(self, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``|w| dR/d|w|`` by parameter's name, for all convolutions and Linear layers."""
        self._gates.set(kept)
        own = weights(self._model)
        output = self._model(self._ones)
        if not isinstance(output, Tensor):
            raise ValueError(f"SynFlow needs a model whose output is a tensor, got {type(output).__name__}")
        flow = torch.autograd.grad(output.sum(), list(own.values()), materialize_grads=True)
        return {name: weight.detach() * part for (name, weight), part in zip(own.items(), flow, strict=True)}


def _linear(model: nn.Module) -> nn.Module:
    """A copy with absolute weights, without biases, norms and activations."""
    copied = copy.deepcopy(model).double().eval()
    for module in copied.modules():
        if isinstance(module, PASSED_OVER):
            module.register_forward_hook(_passed_on)
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            parameter.abs_()
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
    return copied


def _passed_on(module: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
    return args[0]
