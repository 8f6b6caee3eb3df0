"""The names of the study's architectures; :mod:`pat.training.models` builds them."""

ARCHITECTURES: tuple[str, ...] = (
    "resnet8-bottleneck",
    "resnet8-basic",
    "mobilenetv1-tiny",
    "mobilenetv3-tiny",
    "vgg8-bn",
    "convnext-mini",
    "resnet34-small",
    "resnet50-small",
    "mobilenetv1-small",
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenetv1",
    "mobilenetv2",
    "mobilenetv3-large",
    "vgg16-bn",
)
