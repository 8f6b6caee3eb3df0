"""SSD on a ResNet: torchvision's detector, default boxes and head, on maps of a backbone that is pruned.

The backbone ends after the ResNet's third stage; further maps come from extra layers, as in SSD (Liu et al.
2016) and in NVIDIA's SSD300 with a ResNet50, of which the paper's family prunes the backbone alone.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from pat.training.models import build

WHOLE = ("backbone.extras", "head")
"""What stays whole when the backbone is pruned: for ``exclude`` of :func:`pat.loops.attaching.attach`."""


class Pyramid(nn.Module):
    """Maps of several resolutions: the body's, then one of each extra layer.

    Args:
        body: images ``[N, C, H, W]`` to a map of ``out_channels[0]`` channels.
        extras: each makes the next map of the one before.
        out_channels: of every map, as torchvision's SSD asks for.
    """

    def __init__(self, body: nn.Module, extras: Sequence[nn.Module], out_channels: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self.extras = nn.ModuleList(extras)
        self.out_channels = list(out_channels)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = [self.body(x)]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return OrderedDict((str(place), map_) for place, map_ in enumerate(maps))


def ssd300_resnet50(num_classes: int) -> SSD:
    """SSD300 on torchvision's ResNet50: images of 3 channels, 8,732 default boxes.

    The third stage keeps the second's resolution, so that the first map is 38 x 38 as SSD300's is.

    Args:
        num_classes: without the background.
    """
    body = _body(torchvision.models.resnet50(weights=None))
    channels, inner = (1024, 512, 512, 256, 256, 256), (256, 256, 128, 128, 128)
    strided = (True, True, True, False, False)
    extras = [_extra(*sizes) for sizes in zip(channels, inner, channels[1:], strided, strict=False)]
    boxes = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    return SSD(Pyramid(body, extras, channels), boxes, (300, 300), num_classes + 1)


def small_ssd(num_classes: int, size: int, architecture: str = "resnet8-bottleneck") -> SSD:
    """The same on one of the study's small networks: grey images, three maps of stride 8, 16 and 32.

    Args:
        num_classes: without the background.
        size: side of the images, pixels, a multiple of 32.
        architecture: a small ResNet of :func:`pat.training.models.build`; its stem halves the image.

    Raises:
        ValueError: for another size or an unknown architecture.
    """
    if size < 64 or size % 32:
        raise ValueError(f"size must be a multiple of 32 from 64 on, got {size}")
    body = _body(build(architecture, num_classes=num_classes, in_channels=1, image_size=size))
    with torch.no_grad():
        first = body.eval()(torch.zeros(1, 1, size, size)).shape[1]
    body.train()
    channels = (first, 64, 64)
    extras = [_extra(into, 32, out, True) for into, out in pairwise(channels)]
    boxes = DefaultBoxGenerator([[2]] * 3, scales=[0.2, 0.3, 0.45, 0.7], steps=[8, 16, 32])
    return SSD(
        Pyramid(body, extras, channels),
        boxes,
        (size, size),
        num_classes + 1,
        image_mean=[0.11],
        image_std=[0.25],
        detections_per_img=30,
        topk_candidates=100,
    )


def _body(resnet: nn.Module) -> nn.Sequential:
    """A ResNet's stem, pooling and first three stages, the third in the second's resolution: stride 8."""
    stem = ("conv1", "bn1", "relu")
    parts = OrderedDict((name, resnet.get_submodule(name)) for name in stem)
    parts["maxpool"] = nn.MaxPool2d(3, 2, 1)
    parts |= {name: resnet.get_submodule(name) for name in ("layer1", "layer2", "layer3")}
    for module in parts["layer3"].modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
    return nn.Sequential(parts)


def _extra(into: int, inner: int, out: int, strided: bool) -> nn.Sequential:
    """A map of half the resolution, or without padding two less."""
    stride, padding = (2, 1) if strided else (1, 0)
    return nn.Sequential(
        *(nn.Conv2d(into, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
        *(nn.Conv2d(inner, out, 3, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)),
    )
