"""The study's networks: groups, names, order and sizes are those of the published records."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from pat.channels import ChannelGroups, trace
from pat.training import models

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
NETWORKS = {
    "resnet8-bottleneck": (1, 16),
    "resnet8-basic": (1, 16),
    "mobilenetv1-tiny": (1, 16),
    "resnet34-small": (3, 16),
    "resnet50-small": (3, 16),
    "mobilenetv1-small": (3, 16),
    "resnet18": (3, 32),
    "resnet34": (3, 64),
    "resnet50": (3, 64),
    "mobilenetv1": (3, 32),
    "mobilenetv2": (3, 64),
    "mobilenetv3-large": (3, 64),
    "vgg16-bn": (3, 64),
}


def describe(groups: ChannelGroups) -> dict[str, object]:
    """All that a record can depend on: a line per group, and a digest of the units behind every parameter."""
    lines = [
        f"{g.name} {g.size} {'conv' if g.convolutional else 'linear'}{' stem' if g.reads_input else ''}: "
        f"{' '.join(m.layer for m in g.members)}; {' '.join(m.layer for m in g.norms)}"
        for g in groups.values()
    ]
    digest = hashlib.sha256()
    for group in groups.values():
        for member in (*group.members, *group.norms):
            digest.update(f"{group.units} {member.layer} {member.channels.tolist()}".encode())
    for slot in groups.slots:
        digest.update(f"{slot.tensor} {slot.dim} {slot.own} {slot.units.tolist()}".encode())
    return {"groups": lines, "digest": digest.hexdigest()}


@pytest.mark.parametrize("name", NETWORKS)
def test_groups_are_those_of_the_records(name: str) -> None:
    channels, side = NETWORKS[name]
    torch.manual_seed(0)
    model = models.build(name, num_classes=10, in_channels=channels, image_size=side)
    assert describe(trace(model, torch.randn(2, channels, side, side))) == GOLDEN[name]
