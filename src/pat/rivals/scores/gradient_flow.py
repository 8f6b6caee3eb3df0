"""Gradient flow: minibatches in, each weight's share ``w (Hg)_w`` in the gradient's norm out (GraSP)."""

import copy
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from pat.methods import Start
from pat.rivals.scores.gates import weights
from pat.rivals.scores.sensitivity import mean_gradient, minibatches


def gradient_flow(start: Start, batches: int, temperature: float = 200.0) -> dict[str, Tensor]:
    """``w (Hg)_w`` (Wang et al. 2020, with the opposite sign), in training mode, on a copy.

    g is the gradient and H the Hessian of the mean loss over the minibatches, with respect to the weights of
    all convolutions and Linear layers.

    Args:
        start: the network, its data and its loss.
        batches: how many minibatches.
        temperature: that logits are divided by.

    Returns:
        By parameter's name, of its shape.

    Raises:
        ValueError: if the loss does not reach one of these weights.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits / temperature, labels, label_smoothing=start.label_smoothing)

    model = copy.deepcopy(start.model).train()
    own, data = weights(model), list(islice(minibatches(start), batches))
    gradient = mean_gradient(model, own, data, loss)
    product = {name: torch.zeros_like(weight) for name, weight in own.items()}
    for images, labels in data:
        each = torch.autograd.grad(loss(model(images), labels), list(own.values()), create_graph=True)
        along = torch.stack([(g * gradient[name]).sum() for name, g in zip(own, each, strict=True)]).sum()
        parts = torch.autograd.grad(along, list(own.values()), materialize_grads=True)
        for name, part in zip(own, parts, strict=True):
            product[name] += part / len(data)
    return {name: weight.detach() * product[name] for name, weight in own.items()}
