"""Images a second against the loop that a user would write."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from benchmarks.networks import batch, network, sgd, size
from benchmarks.rounds import Ratio, ratio, take_turns, timed
from pat import PruningAwareTraining
from pat.latency.timing import clock
from pat.methods import Pruner
from pat.policy import Never
from pat.training.data import Augment, add_folder, load_manifest, open_dataset
from pat.training.recipe import Recipe
from pat.training.trainer import Trainer

TITLE = "Throughput against a user's loop"
AIM = "at least 2"
PADDING = 4
OURS: dict[Literal["fp32", "bf16"], str] = {"fp32": "channels_last", "bf16": "channels_last, bf16"}


def ask(quick: bool) -> Iterator[Ratio]:
    """The same JPEG files, network, crops and optimizer; ours with the pruner watching."""
    steps = 1 if quick else 2
    kind, now = clock("cpu")
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "digits", steps, quick)
        manifest = load_manifest(add_folder(Path(folder) / "digits", "bench-digits", Path(folder)))
        users = timed(users_loop(Path(folder) / "digits" / "train", quick), now)
        for precision, name in OURS.items():
            recipe = Recipe(
                epochs=2, batch_size=size(quick)[0], learning_rate=0.01, warmup_epochs=1, weight_decay=1e-4,
                label_smoothing=0.0, augment=Augment(crop_padding=PADDING, flip=True), precision=precision,
                channels_last=True,
            )  # fmt: skip
            dataset = open_dataset(manifest, root=Path(folder), device="cpu")
            trainer = Trainer(network(quick), dataset, recipe, watched, None, seed=0)
            sides = {"user's": users, name: timed(partial(trainer._steps, 0), now)}
            slow = precision == "bf16"  # ten times as slow on a processor without instructions for it
            times = take_turns(sides, 1 if quick else 2 if slow else 12, warm_up=0 if quick or slow else 1)
            yield ratio(times, "user's", name, AIM, clock=kind, images=steps * recipe.batch_size)


def watched(model: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor, steps: int) -> Pruner:
    """Follows the gradient criterion, never prunes."""
    return PruningAwareTraining(model, optimizer, example, ratio=0.5, steps_per_epoch=steps, policy=Never())


def write_images(folder: Path, steps: int, quick: bool) -> None:
    """JPEG files in two folders of classes: so many batches to train on, one for each other split."""
    for split, batches in (("train", steps), ("val", 1), ("test", 1)):
        for label in "01":
            (folder / split / label).mkdir(parents=True)
        for index in range(batches):
            for i, pixels in enumerate(batch(quick, index)[0]):
                array = ((pixels + 1) * 127.5).byte().permute(1, 2, 0).numpy()
                Image.fromarray(array).save(folder / split / str(i % 2) / f"{index}-{i}.jpg")


def users_loop(folder: Path, quick: bool) -> Callable[[], float]:
    """An epoch as in any tutorial: a loader of files, fp32, the default memory format, the loss read."""
    transform = v2.Compose(
        [
            v2.ToImage(), v2.RandomCrop(size(quick)[1], padding=PADDING), v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )  # fmt: skip
    files = torchvision.datasets.ImageFolder(str(folder), transform)
    loader = torch.utils.data.DataLoader(files, batch_size=size(quick)[0], shuffle=True, drop_last=True)
    model = network(quick)
    optimizer = sgd(model)

    def epoch() -> float:
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch
