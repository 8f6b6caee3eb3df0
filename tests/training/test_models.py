"""The architectures: names, sizes, shapes, and that the trace can read them."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import fx, nn

from pat.training.models import _BUILDERS, build, list_architectures

SHAPES = {
    "resnet8-bottleneck": (1, 16),
    "resnet8-basic": (1, 16),
    "mobilenetv1-tiny": (1, 16),
    "resnet34-small": (3, 32),
    "resnet50-small": (3, 32),
    "mobilenetv1-small": (3, 32),
}


def example(name: str) -> tuple[nn.Module, torch.Tensor]:
    channels, size = SHAPES.get(name, (3, 32))
    torch.manual_seed(0)
    # Drawing VGG16's 134 million weights takes longer than everything else here.
    with torch.device("meta" if name == "vgg16-bn" else "cpu"):
        model = build(name, num_classes=7, in_channels=channels, image_size=size)
        return model.eval(), torch.randn(2, channels, size, size)


class Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BatchNormAct2d) or super().is_leaf_module(m, module_qualified_name)


def test_every_name_has_a_builder_and_every_builder_a_name() -> None:
    assert list_architectures() == list(_BUILDERS)


@pytest.mark.parametrize("name", list_architectures())
def test_traces_to_the_same_function(name: str) -> None:
    model, images = example(name)
    traced = fx.GraphModule(model, Tracer().trace(model))
    with torch.no_grad():
        logits = model(images)
        assert logits.shape == (2, 7)
        assert traced(images).shape == (2, 7)
    if not logits.is_meta:
        assert torch.equal(traced(images), logits)
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all((norm.weight == 1).all() for norm in norms)


@pytest.mark.parametrize(
    ("name", "convolutions", "channels"),
    [
        ("resnet8-bottleneck", 13, 568),
        ("resnet8-basic", 9, 168),
        ("mobilenetv1-tiny", 11, 736),
        ("resnet34-small", 36, 8512),
        ("resnet50-small", 53, 26560),
        ("mobilenetv1-small", 27, 10944),
        ("resnet34", 36, 8512),
        ("mobilenetv3-large", 62, 17280),
        ("vgg16-bn", 13, 4224),
    ],
)
def test_channel_counts(name: str, convolutions: int, channels: int) -> None:
    channels_in, size = SHAPES.get(name, (3, 64))
    with torch.device("meta"):
        model = build(name, num_classes=7, in_channels=channels_in, image_size=size)
    found = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert (len(found), sum(found)) == (convolutions, channels)


def test_small_resnets_have_torchvisions_parameters_but_for_the_stem() -> None:
    with torch.device("meta"):
        small, full = (
            {n: p.shape for n, p in build(name, num_classes=10, image_size=32).named_parameters()}
            for name in ("resnet34-small", "resnet34")
        )
    assert {n for n in small if small[n] != full.get(n)} == {"conv1.weight"}
    assert list(small) == list(full)


def test_last_feature_map_of_the_tiny_nets_is_two_by_two() -> None:
    for name, size in (("resnet8-bottleneck", 16), ("resnet8-basic", 8)):
        model = build(name, num_classes=10, in_channels=1, image_size=size).eval()
        seen = []
        layer = model.get_submodule("layer3")
        layer.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o.shape[-2:]))
        model(torch.randn(1, 1, size, size))
        assert seen == [(2, 2)]


def test_weights_follow_the_seed() -> None:
    a, b = (example("resnet8-basic")[0].state_dict() for _ in range(2))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match=r"'resnet9'.*resnet8-basic"):
        build("resnet9", num_classes=10, image_size=16)
    with pytest.raises(ValueError, match="3 channels, got 1"):
        build("resnet18", num_classes=10, in_channels=1, image_size=32)
    with pytest.raises(ValueError, match="at least 8, got 4"):
        build("resnet8-basic", num_classes=10, image_size=4)
    with pytest.raises(ValueError, match="2 classes"):
        build("resnet8-basic", num_classes=1, image_size=16)
