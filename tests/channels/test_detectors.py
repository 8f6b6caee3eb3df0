"""Detectors and segmenters are pruned exactly, backbone, neck and head, though one layer serves many maps."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import segmentation_models_pytorch as segmentation
import torch
import torchvision
from networks import random_masks, roughen
from torch import Tensor, nn

from pat import surgery
from pat.channels import trace
from pat.channels.operations.op import flat_tensors

torch.set_num_threads(1)
detection = torchvision.models.detection


def conv(into: int, out: int, size: int = 1, stride: int = 1) -> nn.Sequential:
    norm = nn.BatchNorm2d(out)
    return nn.Sequential(nn.Conv2d(into, out, size, stride, size // 2, bias=False), norm, nn.SiLU(True))


class C2f(nn.Module):
    """A cross-stage block: halves of the channels, residual bottlenecks on one of them, all concatenated."""

    def __init__(self, into: int, out: int, blocks: int) -> None:
        super().__init__()
        self.first, self.last = conv(into, out), conv((2 + blocks) * out // 2, out)
        half = out // 2
        pairs = [nn.Sequential(conv(half, half, 3), conv(half, half, 3)) for _ in range(blocks)]
        self.blocks = nn.ModuleList(pairs)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Yolo(nn.Module):
    """A small one of the YOLO kind: C2f blocks, spatial pyramid pooling, a feature pyramid, three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 16, 3, 2), C2f(16, 16, 1))
        self.middle = nn.Sequential(conv(16, 24, 3, 2), C2f(24, 24, 2))
        self.deep = nn.Sequential(conv(24, 32, 3, 2), C2f(32, 32, 1))
        self.squeeze, self.spread = conv(32, 16), conv(64, 32)
        self.up, self.down = C2f(56, 24, 1), conv(24, 24, 3, 2)
        self.out = C2f(56, 32, 1)
        self.heads = nn.ModuleList(nn.Sequential(conv(c, 12, 3), nn.Conv2d(12, 10, 1)) for c in (16, 24, 32))

    def forward(self, x: Tensor) -> list[Tensor]:
        shallow = self.stem(x)
        middle = self.middle(shallow)
        pools = [self.squeeze(self.deep(middle))]
        for _ in range(3):
            pools.append(nn.functional.max_pool2d(pools[-1], 5, 1, 2))
        deep = self.spread(torch.cat(pools, 1))
        up = self.up(torch.cat([nn.functional.interpolate(deep, scale_factor=2.0), middle], 1))
        out = self.out(torch.cat([self.down(up), deep], 1))
        maps = zip(self.heads, (shallow, up, out), strict=True)
        return [head(map_).flatten(2).transpose(1, 2) for head, map_ in maps]


class Whole(nn.Module):
    """Backbone, neck and head of one of torchvision's detectors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone, self.rpn = model.backbone, getattr(model, "rpn", None)
        self.head = self.rpn.head if self.rpn is not None else model.head

    def forward(self, x: Tensor) -> object:
        return self.head(list(self.backbone(x).values()))


NONE = {"weights": None, "weights_backbone": None}
DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "yolo": Yolo,
    "ssdlite": lambda: Whole(detection.ssdlite320_mobilenet_v3_large(**NONE)),
    "retinanet": lambda: Whole(detection.retinanet_resnet50_fpn(**NONE)),
    "faster r-cnn": lambda: Whole(detection.fasterrcnn_mobilenet_v3_large_fpn(**NONE)),
}


SEGMENTERS: dict[str, Callable[[], nn.Module]] = {
    name: partial(getattr(segmentation, name), "resnet18", encoder_weights=None, classes=5)
    for name in ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "MAnet")
}


@pytest.mark.parametrize("name", [*DETECTORS, *SEGMENTERS])
def test_masked_and_removed_models_agree(name: str) -> None:
    torch.manual_seed(0)
    model = (DETECTORS | SEGMENTERS)[name]().double().eval()
    roughen(model)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    groups = trace(model, x)
    kept = random_masks(groups, 0.5)
    masked, removed = copy.deepcopy(model), copy.deepcopy(model)
    surgery.mask(masked, kept, groups=groups)
    surgery.remove(removed, kept, groups=groups)
    with torch.no_grad():
        for a, b in zip(flat_tensors(masked(x)), flat_tensors(removed(x)), strict=True):
            assert (a - b).abs().max() <= 1e-9 * a.abs().max().clamp_min(1)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, removed)]
    assert sizes[1] < 0.5 * sizes[0]
