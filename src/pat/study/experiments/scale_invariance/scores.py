"""The gradient criterion layer by layer, in a network that was trained for some minibatches."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pat.training.data.dataset import ImageDataset

BEFORE_DEPTHWISE = "before a depthwise convolution"
OTHER = "elsewhere"

_SIZE = 32
"""Pixels: the large networks halve the size five times."""


def layer_scores(
    dataset: "ImageDataset",
    architectures: tuple[str, ...],
    *,
    batch_size: int = 32,
    steps: int = 12,
    batches: int = 4,
    seed: int = 0,
    epsilon: float | None = None,
) -> pd.DataFrame:
    """Each BatchNorm's gradient score, and the two terms that it is the sum of.

    Scaling gamma and beta of one channel scales what the layer gives, through a ReLU too, and a BatchNorm
    behind a depthwise convolution divides by that scale again. So the loss L does not change along
    (gamma, beta), and by Euler's theorem ``gamma dL/dgamma + beta dL/dbeta = 0``: what the criterion sums
    (Sec. 3.1, below Eq. 3). A clipped activation such as ReLU6 or a hard swish lets the scale through.

    Args:
        dataset: digits; images get the channels that a network takes, and 32 pixels a side.
        architectures: names, see :mod:`pat.training.models`.
        batch_size: of the training and the scores.
        steps: of SGD before the scores are taken, so that no beta is zero any more.
        batches: over which scores are averaged.
        seed: of initialisation and minibatches.
        epsilon: of every BatchNorm, instead of its own; a large one breaks the symmetry.

    Returns:
        A row per network and BatchNorm, in the order in which an image passes them: ``network``, ``layer``,
        ``place`` (:data:`BEFORE_DEPTHWISE` or :data:`OTHER`), and means over channels and minibatches of
        ``score`` = ``|gamma g_gamma + beta g_beta|``, of ``terms`` = ``|gamma g_gamma| + |beta g_beta|``,
        and ``share``, their ratio: 0 where the terms cancel, 1 where they never do.
    """
    rows = [
        row
        for name in architectures
        for row in _of_network(
            dataset, name, batch_size=batch_size, steps=steps, batches=batches, seed=seed, epsilon=epsilon
        )
    ]
    return pd.DataFrame(rows)


def by_place(scores: pd.DataFrame, epsilon: str) -> pd.DataFrame:
    """Medians over a network's layers, and the smallest share, a row per network and place.

    Args:
        scores: of :func:`layer_scores`.
        epsilon: of BatchNorm, as the table says it.
    """
    grouped = scores.groupby(["network", "place"], sort=False)
    table = grouped[["score", "terms", "share"]].median()
    table["smallest share"] = grouped["share"].min()
    table.insert(0, "BatchNorms", grouped.size())
    table.insert(0, "ε", epsilon)
    return table.reset_index()


def _of_network(
    dataset: "ImageDataset",
    name: str,
    *,
    batch_size: int,
    steps: int,
    batches: int,
    seed: int,
    epsilon: float | None,
) -> list[dict[str, object]]:
    import torch
    from torch.nn.functional import cross_entropy

    from pat.importance import taylor_batchnorm
    from pat.training import models

    torch.manual_seed(seed)
    channels = 3 if not name.endswith(("-tiny", "-bottleneck", "-basic")) else 1
    model = models.build(name, num_classes=10, in_channels=channels, image_size=_SIZE)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    places, norms = _places(model, channels), dict(model.named_modules())
    sums = {layer: [0.0, 0.0] for layer in places}
    if epsilon is not None:
        for layer in places:
            norms[layer].eps = epsilon
    for step, (images, labels) in enumerate(
        _minibatches(dataset, batch_size, channels, seed, steps + batches)
    ):
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        if step < steps:
            optimizer.step()
            continue
        for layer, total in sums.items():
            gamma, beta = norms[layer].weight, norms[layer].bias
            total[0] += taylor_batchnorm(gamma, gamma.grad, beta, beta.grad).mean().item()
            total[1] += ((gamma * gamma.grad).abs() + (beta * beta.grad).abs()).detach().mean().item()
    return [
        {
            "network": name,
            "layer": layer,
            "place": places[layer],
            "score": score / batches,
            "terms": terms / batches,
            "share": score / terms,
        }
        for layer, (score, terms) in sums.items()
    ]


def _places(model: "nn.Module", channels: int) -> dict[str, str]:
    """Where each BatchNorm stands, by the next layer with weights; in the order of the forward pass."""
    import torch
    from torch import nn

    passed: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: passed.append(name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))
    ]
    with torch.no_grad():
        model(torch.zeros(2, channels, _SIZE, _SIZE))
    for handle in handles:
        handle.remove()
    modules = dict(model.named_modules())
    places = {}
    for name, after in zip(passed, [*passed[1:], None], strict=True):
        if isinstance(modules[name], nn.BatchNorm2d):
            following = None if after is None else modules[after]
            depthwise = isinstance(following, nn.Conv2d) and following.groups == following.in_channels > 1
            places[name] = BEFORE_DEPTHWISE if depthwise else OTHER
    return places


def _minibatches(
    dataset: "ImageDataset", batch_size: int, channels: int, seed: int, count: int
) -> Iterator[tuple["Tensor", "Tensor"]]:
    from torch.nn.functional import interpolate

    from pat.training.data.augment import Augment

    taken = dataset.train_batches(batch_size=batch_size, seed=seed, epoch=0, augment=Augment())
    for images, labels in islice(taken, count):
        yield interpolate(images, size=(_SIZE, _SIZE)).expand(-1, channels, -1, -1), labels
