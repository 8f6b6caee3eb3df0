"""The smallest runs: plain digits, a ResNet of 8 layers, four epochs of five steps."""

from pathlib import Path
from typing import Any

from pat.study.plan.spec import METHOD_VERSION, AtEpoch, Pruning, Spec, Tracking
from pat.study.store.record import Record
from pat.training.data import load_manifest
from pat.training.recipe import Recipe

RECIPE = Recipe(epochs=4, batch_size=149, learning_rate=0.1, warmup_epochs=1, weight_decay=5e-4)


def dense(**changes: Any) -> Spec:
    """A dense run."""
    fields: dict[str, Any] = {
        "profile": "tiny",
        "dataset": "digits",
        "data_checksum": load_manifest("digits").checksum,
        "architecture": "resnet8-basic",
        "recipe": RECIPE,
        "tracking": Tracking(ratios=(0.5, 0.8), look_back=2),
        "seed": 0,
        "method_version": METHOD_VERSION,
    }
    return Spec(**(fields | changes))


def pruned(epoch: int, criterion: str = "gradient", ratio: float = 0.5, **changes: Any) -> Spec:
    """A run that prunes in a fixed epoch."""
    pruning = Pruning(criterion=criterion, ratio=ratio, policy=AtEpoch(epoch=epoch))  # type: ignore[arg-type]
    return dense(**({"pruning": pruning} | changes))


def recipe(**changes: Any) -> Recipe:
    """The tiny recipe with other fields."""
    return Recipe(**(RECIPE.model_dump() | changes))


def records_by_id(records: list[Record]) -> dict[str, Record]:
    return {record.id: record for record in records}


def flip(file: Path, position: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)
