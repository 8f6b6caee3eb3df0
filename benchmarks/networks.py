"""What the questions train: a network, batches of real images, and plain steps."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits
from torch import Tensor, nn

BATCH, PIXELS, CLASSES = 16, 64, 10


def network(quick: bool) -> nn.Module:
    """ResNet50, or ResNet18 for a smoke test, freshly initialised from a fixed seed."""
    torch.manual_seed(0)
    name = "resnet18" if quick else "resnet50"
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    return model.train()


def size(quick: bool) -> tuple[int, int]:
    """Images of a batch, and their pixels a side."""
    return (4, 32) if quick else (BATCH, PIXELS)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    return pixels, torch.tensor(labels)


def batch(quick: bool, index: int = 0) -> tuple[Tensor, Tensor]:
    """Digits of scikit-learn, enlarged, in three equal channels: ``[N, 3, H, W]`` and ``[N]``."""
    (count, side), (pixels, labels) = size(quick), _digits()
    part = slice(index * count, (index + 1) * count)
    images = F.interpolate(pixels[part], (side, side), mode="bilinear").repeat(1, 3, 1, 1)
    return images, labels[part]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """With momentum, as in the paper's recipe."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.875, weight_decay=1e-4)


def backward(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """New gradients."""
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()


def stepping(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """A plain training step, again and again on one batch."""
    optimizer = sgd(model)

    def step() -> None:
        backward(model, optimizer, images, labels)
        optimizer.step()

    return step
