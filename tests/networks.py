"""Networks that several tests share: the architectures named by the study, and small ones for the details."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from pat.channels import ChannelGroups


class Plain(nn.Module):
    """What a user would write: convolutions, a skip, a pool, a classifier; a few hundred parameters."""

    def __init__(
        self,
        width: int = 8,
        classes: int = 10,
        channels: int = 1,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.bn1(self.conv1(x)))
        x = self.activation(self.bn2(self.conv2(x)))
        x = self.activation(x + self.bn3(self.conv3(x)))
        x = self.activation(self.conv4(x))
        return self.fc(x.mean((2, 3)))


class Detector(nn.Module):
    """Backbone and head of one of torchvision's SSDs: all that has channels."""

    def __init__(self, ssd: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = ssd.backbone, ssd.head

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.head(list(self.backbone(x).values()))
        return out["bbox_regression"], out["cls_logits"]


def _ssd300() -> nn.Module:
    model = Detector(torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None))
    for block in list(model.backbone.extra)[-2:]:  # unpadded, they would need images of 257 pixels
        block[2].padding = (1, 1)
    return model


def _ssdlite() -> nn.Module:
    ssdlite = torchvision.models.detection.ssdlite320_mobilenet_v3_large
    return Detector(ssdlite(weights=None, weights_backbone=None))


def _torchvision(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None)


NAMED: dict[str, tuple[Callable[[], nn.Module], int]] = {  # with the side of a small image
    "resnet18": (_torchvision("resnet18"), 32),
    "resnet34": (_torchvision("resnet34"), 32),
    "resnet50": (_torchvision("resnet50"), 32),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), 32),
    "mobilenet_v3_large": (_torchvision("mobilenet_v3_large"), 32),
    "vgg16_bn": (_torchvision("vgg16_bn"), 32),
    "mobilenetv1_100": (lambda: timm.create_model("mobilenetv1_100"), 32),
    "ssdlite320": (_ssdlite, 64),
    "ssd300": (_ssd300, 64),
    "plain": (lambda: Plain(channels=3), 16),
}


def build(name: str) -> tuple[nn.Module, Tensor]:
    """A named network with seeded weights, and a batch ``[2, 3, H, W]`` for it."""
    make, side = NAMED[name]
    torch.manual_seed(0)
    return make(), torch.randn(2, 3, side, side)


def roughen(model: nn.Module, seed: int = 1) -> None:
    """Give every BatchNorm and bias values as after training: nothing at 0 or 1, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 1.5),
                ):
                    if tensor is not None:
                        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
            elif isinstance(getattr(module, "bias", None), nn.Parameter):
                module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)


def flat(output: Any) -> Tensor:
    """A model's outputs in one row."""
    return torch.cat([o.flatten() for o in output]) if isinstance(output, tuple) else output.flatten()


def difference(first: Any, second: Any) -> float:
    """Largest difference relative to the largest value of the first output."""
    a, b = flat(first), flat(second)
    return ((a - b).abs().max() / a.abs().max()).item()


def random_masks(
    groups: ChannelGroups, share: float, seed: int = 0, names: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """Masks that remove the share of each group's channels at random, at least one of them left."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for name in groups if names is None else names:
        size = groups[name].size
        left = max(1, size - round(share * size))
        kept[name] = torch.randperm(size, generator=generator) < left
    return kept


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a function could change in a model without meaning to."""
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "identities": {name: id(tensor) for name, tensor in model.named_parameters()},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "training": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "classes": {name: type(module) for name, module in model.named_modules()},
        "attributes": {name: copy.copy(sorted(vars(m))) for name, m in model.named_modules()},
    }


def assert_unchanged(model: nn.Module, before: dict[str, Any]) -> None:
    now = snapshot(model)
    for key in ("identities", "training", "requires_grad", "classes", "attributes"):
        assert now[key] == before[key], key
    for key in ("tensors", "grads"):
        assert now[key].keys() == before[key].keys()
        for name, value in before[key].items():
            assert (now[key][name] is None) == (value is None), name
            assert value is None or torch.equal(now[key][name], value), name
