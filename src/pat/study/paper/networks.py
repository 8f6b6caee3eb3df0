"""The paper's networks, measured once: what Table 2 and the threshold are recomputed with.

``book/networks.yaml`` keeps the numbers, so that nothing has to be built to read them; a test holds it equal
to a fresh measurement. ``python -m pat.study.audit`` writes it anew.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from pat.files import paths
from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.plain_yaml import load_yaml

FILE = "networks.yaml"
"""Below the book's folder."""

IMAGE_SIZE = 224
CLASSES = 1000
LABELS = {"resnet50": "ResNet50", "resnet34": "ResNet34", "mobilenet_v1": "MobileNetV1"}
"""The networks' names in ``paper_values.yaml``, and for people."""

_MODELS = {"resnet50": "resnet50", "resnet34": "resnet34", "mobilenet_v1": "mobilenetv1"}
_PACKAGES = ("torch", "torchvision", "timm")
_COMMENT = """\
# The paper's networks, 224 pixels, 1,000 classes: multiply-accumulates and parameters (pat.cost.measure),
# values that pass a batch normalisation, layers and filters that can be pruned (pat.channels.trace, no stem).
# Written by: python -m pat.study.audit
"""


@dataclass(frozen=True)
class Network:
    """A dense network of the paper.

    Attributes:
        macs: multiply-accumulates of one image's forward pass in convolutions and matrix products.
        parameters: number of parameters.
        normalised: values of one image that pass a batch normalisation.
        layers: L of Eq. 5, convolutions whose channels are neurons.
        filters: size of F, their output channels.
    """

    macs: int
    parameters: int
    normalised: int
    layers: int
    filters: int

    @property
    def gflops(self) -> float:
        """Cost in the unit of Table 2: 1e9 multiply-accumulates, a batch normalisation counting two a value.

        Tools that hook modules count so; without the batch normalisations Table 2's ResNet50 rows miss their
        last digit.
        """
        return (self.macs + 2 * self.normalised) / 1e9


def read_networks(book: Path = paths.BOOK) -> dict[str, Network]:
    """The measured networks of a book, by their names in ``paper_values.yaml``.

    Raises:
        ValueError: naming the file, if it is not there or not what :func:`write_networks` writes.
    """
    content = _read(book)
    try:
        return {name: Network(**content["networks"][name]) for name in LABELS}
    except (KeyError, TypeError) as error:
        raise _not_as_written(book, error) from None


def read_provenance(book: Path = paths.BOOK) -> tuple[str, dict[str, str]]:
    """When the networks of a book were measured, and with which versions of which packages.

    Raises:
        ValueError: as :func:`read_networks`.
    """
    content = _read(book)
    try:
        return str(content["measured"]["date"]), dict(content["measured"]["packages"])
    except (KeyError, TypeError) as error:
        raise _not_as_written(book, error) from None


def _read(book: Path) -> Any:
    file = book / FILE
    with naming(str(file), storage=True):
        return load_yaml(file.read_text(encoding="utf-8"))


def _not_as_written(book: Path, error: Exception) -> ValueError:
    what = f"{type(error).__name__}: {error}"
    return ValueError(f"{book / FILE}: not as python -m pat.study.audit writes it ({what})")


def measure(name: str) -> Network:
    """Build a network of the paper and count.

    Args:
        name: as in ``paper_values.yaml``.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in _MODELS:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(_MODELS)}")
    import torch
    from torch import nn

    from pat import cost
    from pat.channels import trace
    from pat.training import models

    model = models.build(_MODELS[name], num_classes=CLASSES, image_size=IMAGE_SIZE).eval()
    image = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    neurons = trace(model, image).neurons(keep_stem=True).values()
    counted = cost.measure(model, image)
    values: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, output: values.append(output.numel()))
    with torch.no_grad():
        model(image)
    return Network(
        macs=counted.macs,
        parameters=counted.parameters,
        normalised=sum(values),
        layers=sum(len(group.layers) for group in neurons),
        filters=sum(group.size * group.multiplicity for group in neurons),
    )


def write_networks(book: Path = paths.BOOK) -> None:
    """Measure the networks and write them down, with the date and the versions they were measured with."""
    content = {
        "measured": {
            "date": datetime.now(UTC).date().isoformat(),
            "packages": {name: version(name).split("+")[0] for name in _PACKAGES},
        },
        "networks": {name: asdict(measure(name)) for name in LABELS},
    }
    write_whole(book / FILE, (_COMMENT + yaml.safe_dump(content, sort_keys=False)).encode())
