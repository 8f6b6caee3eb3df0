"""The architectures of the study, from torchvision's and timm's definitions.

Convolutions start as Kaiming fan_out normal and every BatchNorm with gamma 1: a gamma of zero in
the last BatchNorm of a block, as some recipes have it, makes its Taylor scores zero at the start.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from pat.training.architectures import ARCHITECTURES

_MIN_SIZE = 8
_STRIDED_STEM_FROM = 16


def _resnet(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    width: int,
    *,
    num_classes: int,
    in_channels: int,
    stem_stride: int = 1,
) -> nn.Sequential:
    """A ResNet for small images from torchvision's blocks: a 3 x 3 stem without pooling, then
    stages that double the width and, from the second on, halve the size."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, width, 3, stem_stride, 1, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    channels = width
    for stage, depth in enumerate(depths):
        planes, stride = width * 2**stage, 1 if stage == 0 else 2
        blocks = []
        for _ in range(depth):
            out = planes * block.expansion
            shortcut = None
            if stride != 1 or channels != out:
                shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            blocks.append(block(channels, planes, stride, shortcut))
            channels, stride = out, 1
        parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    parts |= OrderedDict(
        avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, num_classes)
    )
    return _started(nn.Sequential(parts))


def _started(model: nn.Sequential) -> nn.Sequential:
    """With the convolutions' start."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _tiny_resnet(
    block: type[BasicBlock] | type[Bottleneck],
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
) -> nn.Module:
    """Three stages of one block, width 8. From 16 pixels on the stem has stride 2, which brings
    a dense run on 6,000 images of 16 pixels to seconds; 8-pixel digits keep their pixels."""
    stride = 2 if image_size >= _STRIDED_STEM_FROM else 1
    return _resnet(block, (1, 1, 1), 8, num_classes=num_classes, in_channels=in_channels, stem_stride=stride)


def _small_resnet(
    block: type[BasicBlock] | type[Bottleneck],
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
) -> nn.Module:
    """ResNet34 (basic) or ResNet50 (bottleneck) with a 3 x 3 stem of stride 1, no pooling."""
    return _resnet(block, (3, 4, 6, 3), 64, num_classes=num_classes, in_channels=in_channels)


def _tiny_mobilenetv1(*, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """MobileNetV1's depthwise-separable blocks, five of them, from 16 to 128 channels."""
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    stages = ["dsa_r1_k3_s1_c32", "dsa_r2_k3_s2_c64", "dsa_r2_k3_s2_c128"]
    model: nn.Module = EfficientNet(
        decode_arch_def([[stage] for stage in stages]),  # type: ignore[no-untyped-call]
        num_classes=num_classes,
        num_features=0,
        in_chans=in_channels,
        stem_size=16,
        fix_stem=True,
        norm_layer=nn.BatchNorm2d,
        act_layer=nn.ReLU,
    )
    if image_size < _STRIDED_STEM_FROM:
        _unstride_stem(model)
    return model


def _small_mobilenetv1(*, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """timm's MobileNetV1 with a stem of stride 1."""
    model = _timm("mobilenetv1_100", num_classes=num_classes, in_channels=in_channels, image_size=image_size)
    _unstride_stem(model)
    return model


def _tiny_vgg(*, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """A chain of six of VGG's convolutions with BatchNorm, from 16 to 64 channels, and one linear layer."""
    from torchvision.models.vgg import make_layers

    features = make_layers([16, 16, "M", 32, 32, "M", 64, 64], batch_norm=True)
    features[0] = nn.Conv2d(in_channels, 16, 3, padding=1)
    pool, linear = nn.AdaptiveAvgPool2d(1), nn.Linear(64, num_classes)
    model = nn.Sequential(OrderedDict(features=features, avgpool=pool, flatten=nn.Flatten(), fc=linear))
    return _started(model)


def _tiny_mobilenetv3(*, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Four of MobileNetV3's blocks, with squeeze-and-excitation and hard swish, from 16 to 32 channels."""
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    # channels in, kernel, expanded, channels out, squeeze, activation, stride, dilation, width
    blocks = [
        InvertedResidualConfig(16, 3, 32, 16, True, "RE", 1, 1, 1.0),
        InvertedResidualConfig(16, 3, 64, 24, False, "RE", 2, 1, 1.0),
        InvertedResidualConfig(24, 3, 96, 24, True, "HS", 1, 1, 1.0),
        InvertedResidualConfig(24, 3, 96, 32, True, "HS", 2, 1, 1.0),
    ]
    model: nn.Module = MobileNetV3(blocks, last_channel=96, num_classes=num_classes, dropout=0.0)
    stride = 2 if image_size >= _STRIDED_STEM_FROM else 1
    stem = nn.Conv2d(in_channels, 16, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out")
    setattr(model.get_submodule("features.0"), "0", stem)
    return model


def _tiny_convnext(*, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """ConvNeXt's blocks, four in three stages from 16 to 64 channels, with a stem of stride 2."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, 64, 1), CNBlockConfig(64, None, 2)]
    model: nn.Module = ConvNeXt(stages, stochastic_depth_prob=0.0, num_classes=num_classes)
    stem = nn.Conv2d(in_channels, 16, 2, 2)
    nn.init.trunc_normal_(stem.weight, std=0.02)
    nn.init.zeros_(stem.bias)  # type: ignore[arg-type]
    setattr(model.get_submodule("features.0"), "0", stem)
    return model


def _unstride_stem(model: nn.Module) -> None:
    stem = model.get_submodule("conv_stem")
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (1, 1)


def _timm(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    import timm  # a second, which no other network needs

    model: nn.Module = timm.create_model(name, num_classes=num_classes, in_chans=in_channels)
    return model


def _torchvision(name: str, *, num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    if in_channels != 3:
        raise ValueError(f"{name} takes images of 3 channels, got {in_channels}")
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    return model


_BUILDERS: dict[str, Callable[..., Any]] = {
    "resnet8-bottleneck": partial(_tiny_resnet, Bottleneck),
    "resnet8-basic": partial(_tiny_resnet, BasicBlock),
    "mobilenetv1-tiny": _tiny_mobilenetv1,
    "mobilenetv3-tiny": _tiny_mobilenetv3,
    "vgg8-bn": _tiny_vgg,
    "convnext-mini": _tiny_convnext,
    "resnet34-small": partial(_small_resnet, BasicBlock),
    "resnet50-small": partial(_small_resnet, Bottleneck),
    "mobilenetv1-small": _small_mobilenetv1,
    "resnet18": partial(_torchvision, "resnet18"),
    "resnet34": partial(_torchvision, "resnet34"),
    "resnet50": partial(_torchvision, "resnet50"),
    "mobilenetv1": partial(_timm, "mobilenetv1_100"),
    "mobilenetv2": partial(_torchvision, "mobilenet_v2"),
    "mobilenetv3-large": partial(_torchvision, "mobilenet_v3_large"),
    "vgg16-bn": partial(_torchvision, "vgg16_bn"),
}


def list_architectures() -> list[str]:
    """The names that `build` knows."""
    return list(ARCHITECTURES)


def build(name: str, *, num_classes: int, in_channels: int = 3, image_size: int) -> nn.Module:
    """A new, randomly initialised network: float32 [B, in_channels, image_size, image_size] ->
    logits [B, num_classes]. Draws its weights from torch's global generator: seed it before.

    Raises ValueError for a name that is not known or a shape that the network does not take.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    if num_classes < 2 or in_channels < 1:
        raise ValueError(
            f"{name} needs 2 classes and 1 channel at least, got {num_classes} and {in_channels}"
        )
    if image_size < _MIN_SIZE:
        raise ValueError(f"image_size must be at least {_MIN_SIZE}, got {image_size}")
    model: nn.Module = _BUILDERS[name](
        num_classes=num_classes, in_channels=in_channels, image_size=image_size
    )
    return model
