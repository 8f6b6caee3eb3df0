"""Numbers that are none, data that teaches nothing, networks that fall apart: recorded as what they are."""

import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from tiny import dense, pruned, recipe
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from pat.cli import app
from pat.files.errors import DataError
from pat.rivals.prunetrain import PruneTrainSettings
from pat.study.plan.spec import Neurons, Spec
from pat.study.runs import building
from pat.study.runs.building import check
from pat.study.runs.run import run
from pat.study.runs.sweep import How, sweep
from pat.study.store import Store
from pat.study.store.record import Record, read_record
from pat.training import models
from pat.training.data import add_folder, load_manifest

if TYPE_CHECKING:
    from conftest import Tally

SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 249, "warmup_epochs": 0}
"""The 747 training images of the digits give three steps an epoch."""
STEPS = 3
BAD = (math.nan, math.inf, -math.inf)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pat(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def kept(record: Record, store: Store) -> Record:
    """The record as it came from the file, and again without training."""
    again = read_record(store.file(record.spec))
    assert again == record == run(record.spec, store)
    return again


def assert_failed(record: Record, reason: str) -> None:
    """No accuracy, no cost, and why."""
    assert (record.status, record.result, record.cost) == ("failed", None, None)
    assert reason in (record.reason or ""), record.reason


def assert_a_number(record: Record) -> None:
    """A finished run's accuracies are those of a network that gives numbers."""
    assert record.status == "done", record.reason
    assert record.result is not None
    assert record.result.test_loss is not None
    assert 0 <= record.result.test_accuracy <= 100


class Spoiled(nn.Module):
    """Puts a value into the outputs, or the gradients, of some training steps."""

    def __init__(self, model: nn.Module, value: float, steps: set[int], *, gradients: bool) -> None:
        super().__init__()
        self.value, self.steps, self.gradients, self.step = value, steps, gradients, -1
        if gradients:
            for parameter in model.parameters():
                parameter.register_hook(self._spoil)
        model.register_forward_hook(self._count)

    def _count(self, model: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if model.training and torch.is_grad_enabled() and len(output) > 2:
            self.step += 1
            if not self.gradients and self.step in self.steps:
                return output + self.value
        return output

    def _spoil(self, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, self.value) if self.step in self.steps else gradient


def spoil(monkeypatch: pytest.MonkeyPatch, value: float, steps: set[int], *, gradients: bool) -> None:
    """Let the study build networks that go wrong in some training steps, counted over the whole run."""

    def build(name: str, **shape: int) -> nn.Module:
        model = models.build(name, **shape)
        Spoiled(model, value, steps, gradients=gradients)
        return model

    monkeypatch.setattr(building, "models", SimpleNamespace(build=build))


def test_a_loss_that_is_no_number_in_one_step(
    bench: "Tally", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes, the run has failed: the weights have taken it up."""
    draw = random.Random(0)
    for trial in range(bench.pick(3, 24)):
        value, step = BAD[trial % 3], draw.randrange(2 * STEPS)
        make = draw.choice((dense, lambda **changes: pruned(draw.randrange(2), **changes)))
        with bench.trial("numbers", "a NaN or infinite loss in one step"), monkeypatch.context() as patch:
            spoil(patch, value, {step}, gradients=False)
            record = run(make(seed=trial, recipe=recipe(**SHORT)), store)
            assert_failed(kept(record, store), "in epoch")


def test_a_loss_that_is_no_number_in_all_steps(
    bench: "Tally", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trial in range(bench.pick(1, 6)):
        with bench.trial("numbers", "a NaN or infinite loss in all steps"), monkeypatch.context() as patch:
            spoil(patch, BAD[trial % 3], set(range(20)), gradients=False)
            record = run(pruned(1, seed=trial, recipe=recipe(**SHORT)), store)
            assert_failed(kept(record, store), "in epoch 0")


def test_gradients_that_are_no_numbers_in_one_step(
    bench: "Tally", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very last step too, whose loss was still finite: nobody would see it in the next one."""
    draw = random.Random(1)
    last = 2 * STEPS - 1
    for trial in range(bench.pick(3, 24)):
        value, step = BAD[trial % 3], last if trial % 2 == 0 else draw.randrange(last)
        spec = pruned(trial % 2, seed=trial, recipe=recipe(**SHORT))
        with bench.trial("numbers", "NaN or infinite gradients in one step"), monkeypatch.context() as patch:
            spoil(patch, value, {step}, gradients=True)
            record = run(spec, store)
            assert_failed(kept(record, store), "epoch")


def test_half_precision_leaves_out_steps_that_overflow(
    bench: "Tally", store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss scaler's work: such a step changes no weight, is left out of the scores, and is counted."""
    for trial in range(bench.pick(1, 6)):
        settings = recipe(**SHORT, precision="fp16")
        with (
            bench.trial("numbers", "infinite gradients in one step of half precision"),
            monkeypatch.context() as patch,
        ):
            spoil(patch, BAD[trial % 3], {trial % STEPS}, gradients=True)
            record = kept(run(pruned(1, seed=trial, recipe=settings), store), store)
            assert_a_number(record)
            assert [epoch.skipped for epoch in record.history] == [1, 0]
        with (
            bench.trial("numbers", "infinite gradients in all steps of half precision"),
            monkeypatch.context() as patch,
        ):
            spoil(patch, BAD[trial % 3], set(range(20)), gradients=True)
            record = run(pruned(1, seed=100 + trial, recipe=settings), store)
            assert_failed(kept(record, store), "epoch 0: no minibatch with finite gradients")


RATES = (1e2, 1e4, 1e8, 1e30, 1e1, 1e3, 1e6, 1e12, 1e15, 1e20, 1e25, 1e35, 3e38)


def test_a_learning_rate_that_diverges(bench: "Tally", store: Store) -> None:
    """Finished with a poor accuracy as long as the network gives numbers, failed from then on."""
    ended = set()
    for trial, rate in enumerate(RATES[: bench.pick(4, len(RATES))]):
        settings = recipe(**SHORT, learning_rate=rate)
        rival = PruneTrainSettings(share=0.2, interval=1, threshold=1e-3)
        specs = [dense(recipe=settings), pruned(1, "magnitude", recipe=settings), pruned(0, recipe=settings)]
        specs += [
            dense(method=rival, recipe=settings),
            pruned(1, recipe=recipe(**SHORT, learning_rate=rate, precision="bf16")),
            pruned(1, recipe=recipe(**SHORT, learning_rate=rate, precision="fp16")),
        ]
        for spec in [specs[trial % 3]] if bench.pick(1, 0) else specs:
            with bench.trial("numbers", "a learning rate of 10 to 3e38"):
                record = kept(run(spec, store), store)
                ended.add(record.status)
                if record.status == "done":
                    assert_a_number(record)
                else:
                    assert_failed(record, "epoch")
    assert ended == {"done", "failed"}


@pytest.mark.parametrize("field", ["learning_rate", "weight_decay"])
def test_a_rate_that_no_weight_can_be_multiplied_by_is_refused(bench: "Tally", field: str) -> None:
    for value in (1e300, 3.5e38, math.inf, math.nan, -1.0):
        with (
            bench.trial("numbers", "a learning rate or weight decay beyond all numbers of float32"),
            pytest.raises(ValueError, match=field),
        ):
            recipe(**{field: value})


def test_a_ratio_that_leaves_no_path(bench: "Tally", store: Store) -> None:
    """Collapsed: the constant network is measured, and nothing was made smaller."""
    shares = [100 * count / 900 for count in building.open_data(dense(), Path("data")).class_counts("test")]
    cells = [
        (epoch, criterion, ratio, architecture)
        for ratio in (0.99, 0.9999999, 0.95)
        for architecture in ("resnet8-basic", "mobilenetv1-tiny", "resnet8-bottleneck")
        for epoch in (0, 1)
        for criterion in ("magnitude", "gradient")
    ]
    for epoch, criterion, ratio, architecture in cells[: bench.pick(3, 24)]:
        spec = pruned(epoch, criterion, ratio, architecture=architecture, recipe=recipe(**SHORT))
        with bench.trial("numbers", "a ratio that leaves no path through the network"):
            record = kept(run(spec, store), store)
            assert (record.status, record.cost) == ("collapsed", None)
            assert "no path" in (record.reason or "")
            assert record.result is not None
            assert record.result.prune_epoch == epoch
            assert record.result.test_accuracy in [pytest.approx(share) for share in shares]
        spared = spec.model_copy(update={"neurons": Neurons(min_channels=1)})
        with bench.trial("numbers", "the same with a channel kept in every layer"):
            try:
                check(spared)
            except ValueError as error:  # the ratio asks for more than may go
                assert "min_channels=1" in str(error)  # noqa: PT017
            else:
                assert kept(run(spared, store), store).status in ("done", "failed")


def test_a_rival_that_empties_everything(bench: "Tally", store: Store) -> None:
    for share, threshold in ((0.99, 1e3), (0.999999, 1e30), (0.5, 1e10))[: bench.pick(1, 3)]:
        rival = PruneTrainSettings(share=share, interval=1, threshold=threshold)
        with bench.trial("numbers", "a group lasso that empties all layers"):
            record = kept(run(dense(method=rival, recipe=recipe(**SHORT)), store), store)
            assert record.status == "collapsed"
            assert "emptied the last path" in (record.reason or "")


# Data


def images(folder: Path, classes: dict[str, int], pixel: Callable[[int], Any], size: int = 8) -> Path:
    """A folder of images, so many a class."""
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.broadcast_to(np.asarray(pixel(number), np.uint8), (size, size))
            Image.fromarray(np.array(pixels)).save(folder / name / f"{number}.png")
    return folder


def noise(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)


def described(here: Path, name: str, classes: dict[str, int], **changes: Any) -> str:
    """A data set whose manifest was written by hand: 'all' divided into train, validation and test."""
    from pat.training.data.layouts.imagefolder import hash_all, list_digest, list_images

    listing = list_images(here / "data" / name)
    digest = list_digest(dict(zip(listing.names, hash_all(listing.files), strict=True)))
    count = len(listing.names)
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "source": "drawn",
        "licence": "none",
        "citation": "none",
        "layout": "imagefolder",
        "folder": name,
        "image_size": 8,
        "in_channels": 1,
        "num_classes": len(classes),
        "mean": [0.5],
        "std": [0.25],
        "groups": {"all": {"count": count, "paths": ["."], "digest": digest}},
        "splits": {
            "train": {"group": "all", "count": count - 4},
            "validation": {"group": "all", "count": 2},
            "test": {"group": "all", "count": 2},
        },
    }
    (here / "data_manifests").mkdir(exist_ok=True)
    (here / "data_manifests" / f"{name}.yaml").write_text(yaml.safe_dump(fields | changes))
    return name


def on(name: str, make: Callable[..., Spec], **settings: Any) -> Spec:
    """A run of two epochs on a data set."""
    shape: dict[str, Any] = {"epochs": 2, "batch_size": 8, "warmup_epochs": 0} | settings
    architecture = shape.pop("architecture", "resnet8-basic")
    checksum = load_manifest(name).checksum
    return make(dataset=name, data_checksum=checksum, architecture=architecture, recipe=recipe(**shape))


KINDS: dict[str, Callable[..., Spec]] = {
    "dense": dense,
    "gradient": lambda **changes: pruned(1, **changes),
    "magnitude": lambda **changes: pruned(0, "magnitude", **changes),
    "rival": lambda **changes: dense(
        method=PruneTrainSettings(share=0.2, interval=1, threshold=1e-3), **changes
    ),
}


def test_a_class_without_images(bench: "Tally", here: Path) -> None:
    """`pat data add` names it; a manifest that says so is trained on as it is."""
    data, store = here / "data", Store(here / "runs")
    classes = {"ant": 12, "bee": 12, "cat": 0}
    images(data / "empty", classes, noise)
    with bench.trial("numbers", "a class without images is added"):
        added = pat("data", "add", "data/empty")
        assert added.exit_code == 2
        assert added.stderr.count("\n") == 1
        assert "has no image of the class 'cat' to train on" in added.stderr
        assert not (here / "data_manifests").exists()
    described(here, "empty", classes)
    for make in list(KINDS.values())[: bench.pick(2, 4)]:
        with bench.trial("numbers", "a class without images is trained on"):
            record = kept(run(on("empty", make), store, data=data), store)
            assert_a_number(record)


def test_a_class_whose_images_lie_in_one_split(bench: "Tally", here: Path) -> None:
    data, store = here / "data", Store(here / "runs")
    for name, classes in {"rare": {"ant": 12, "bee": 12, "cat": 1}, "few": {"ant": 3, "bee": 2}}.items():
        images(data / name, classes, noise)
    with bench.trial("numbers", "a class with one image, which all splits but one lack"):
        add_folder(data / "rare", "rare", here / "data_manifests")
        record = kept(run(on("rare", KINDS["gradient"]), store, data=data), store)
        assert_a_number(record)
    with bench.trial("numbers", "a class whose images are all held out"):
        with pytest.raises(DataError, match="has no image of the class 'bee' to train on"):
            add_folder(data / "few", "few", here / "data_manifests")
        assert [file.name for file in (here / "data_manifests").glob("few*")] == []
        described(here, "few", {"ant": 3, "bee": 2})  # one image of one class to train on
        assert_a_number(kept(run(on("few", dense), store, data=data), store))


def test_too_little_to_train_on(bench: "Tally", here: Path) -> None:
    for name, classes, said in (
        ("none", {"ant": 1, "bee": 1}, "too few images: of 2, none is left to train on"),
        ("single", {"ant": 20}, "has one class folder, 'ant'; at least 2 are needed"),
        ("nothing", {"ant": 0, "bee": 0}, "has no images in class folders"),
    ):
        images(here / "data" / name, classes, noise)
        with bench.trial("numbers", "too few images or classes to train on"):
            added = pat("data", "add", f"data/{name}")
            assert (added.exit_code, added.stderr.count("\n")) == (2, 1), added.stderr
            assert said in added.stderr


def test_images_that_teach_nothing(bench: "Tally", here: Path) -> None:
    """All images alike, all black, all labels equal: finished or collapsed, with a loss that is a number."""
    data, store = here / "data", Store(here / "runs")
    two = {"ant": 12, "bee": 12}
    sets: dict[str, tuple[dict[str, int], Callable[[int], Any]]] = {
        "black": (two, lambda number: 0),
        "grey": (two, lambda number: 128),
        "same": (two, lambda number: noise(0)),
        "labels": ({"ant": 24, "bee": 0}, noise),
    }
    for name, (classes, pixel) in sets.items():
        images(data / name, classes, pixel)
        if name == "labels":
            described(here, name, classes)
        else:
            add_folder(data / name, name, here / "data_manifests")
        kinds = list(KINDS.values())
        for make in kinds if bench.long else kinds[1:2]:
            with bench.trial("numbers", "constant images, or all labels equal"):
                record = kept(run(on(name, make), store, data=data), store)
                assert record.status in ("done", "collapsed")
                assert record.result is not None
                assert record.result.test_loss is not None
                assert record.result.test_accuracy in ((100.0,) if name == "labels" else (50.0,))


def ending_in_one_pixel(num_classes: int, in_channels: int, image_size: int) -> nn.Module:
    """Its last BatchNorm sees 1 x 1 pixels, as those of deep networks on small images do."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(image_size),
        nn.Conv2d(8, 8, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


def test_batches_of_one_image(bench: "Tally", here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A BatchNorm that sees 1 x 1 pixels has nothing to take a variance of: refused before any training."""
    data, store = here / "data", Store(here / "runs")
    images(data / "pets", {"ant": 10, "bee": 10}, noise)
    add_folder(data / "pets", "pets", here / "data_manifests")
    images(data / "five", {"ant": 3, "bee": 2}, noise)
    described(here, "five", {"ant": 3, "bee": 2})
    with (
        bench.trial("numbers", "batches of one image, refused where BatchNorm sees one value"),
        pytest.raises(ValueError, match="resnet34-small cannot be trained on batches of one"),
    ):
        check(on("pets", dense, architecture="resnet34-small", batch_size=1), data)
    monkeypatch.setitem(models._BUILDERS, "vgg16-bn", ending_in_one_pixel)
    for name, batch in (("pets", 1), ("five", 4)):  # five has one image to train on
        for make in KINDS.values() if bench.long else [dense]:
            with bench.trial("numbers", "batches of one image, refused where BatchNorm sees one value"):
                spec = on(name, make, architecture="vgg16-bn", batch_size=batch)
                for start in (
                    lambda spec=spec: check(spec, data),
                    lambda spec=spec: sweep([spec], store, How(data=data)),
                    lambda spec=spec: run(spec, Store(here / "other"), data=data),
                ):
                    with pytest.raises(ValueError, match="vgg16-bn cannot be trained on batches of one"):
                        start()
                assert not store.root.exists()
                assert store.records() == []
    for name, batch in (("pets", 1), ("five", 4)):
        for architecture in ("resnet8-basic", "mobilenetv1-tiny", "resnet8-bottleneck")[: bench.pick(1, 3)]:
            for make in KINDS.values() if bench.long else [KINDS["gradient"]]:
                with bench.trial("numbers", "batches of one image, trained on where there are more pixels"):
                    spec = on(name, make, architecture=architecture, batch_size=batch)
                    record = kept(run(spec, store, data=data), store)
                    assert record.status in ("done", "collapsed")
                    assert record.result is not None
                    assert record.result.test_loss is not None
    with bench.trial("numbers", "a last batch of one image is left out"):
        spec = on("pets", dense, architecture="vgg16-bn", batch_size=5)  # 16 images
        assert_a_number(kept(run(spec, store, data=data), store))


# As a user sees it


def own_profile(here: Path, **changes: Any) -> None:
    """A profile of the plain digits with few steps."""
    from pat.files import paths

    smoke = yaml.safe_load((paths.PROFILES / "smoke.yaml").read_text())
    settings = {"epochs": 2, "batch_size": 249, "learning_rate": 0.1, "warmup_epochs": 0, "weight_decay": 0.0}
    fields = {
        "dataset": "digits",
        "architectures": ["resnet8-basic"],
        "recipe": settings | changes.pop("recipe", {}),
        "contrast": {"reference": 0, "last": 1},
        "experiments": {},
    }
    (here / "profiles").mkdir(exist_ok=True)
    (here / "profiles" / "mine.yaml").write_text(yaml.safe_dump(smoke | fields | changes))


def test_what_the_commands_say_of_runs_that_failed_or_collapsed(bench: "Tally", here: Path) -> None:
    """A failed run has exit code 1 and no accuracy anywhere; a collapsed one is a result."""
    cells = {"architecture": "resnet8-basic", "criterion": "magnitude", "seeds": [0]}
    own_profile(here, sweeps={"study": [cells | {"ratios": [0.99], "epochs": [0]}]})
    mine = ("--profile", "mine")
    with bench.trial("numbers", "a collapsed run as the commands show it"):
        shown = pat("run", *mine, "--criterion", "magnitude", "--ratio", "0.99", "--prune-epoch", "0")
        assert shown.exit_code == 0, shown.output
        assert "collapsed: after step" in " ".join(shown.output.split())
    failing = {"learning_rate": 1e30}
    own_profile(here, recipe=failing, sweeps={"study": [cells | {"ratios": [0.5], "epochs": [0, 1]}]})
    with bench.trial("numbers", "failed runs as the commands show them"):
        for _ in range(2):  # trained, and read
            shown = pat("run", *mine)
            assert shown.exit_code == 1
            assert "failed: " in (text := " ".join(shown.output.split()))
            assert "the loss is" in text or "weights are not finite" in text
            assert "test accuracy" not in text
            swept = pat("sweep", *mine, "--jobs", "1")
            assert swept.exit_code == 1, swept.output
            assert "3 failed" in swept.output
        table = pd.read_csv(io.StringIO(pat("results", "table", "--csv").output))
        assert sorted(table["status"]) == ["collapsed", "failed", "failed", "failed"]
        failed = table[table["status"] == "failed"]
        assert failed["test_accuracy"].isna().all()
        assert failed["macs_share"].isna().all()
        lines = [line for line in pat("results", "table").output.splitlines() if " failed " in line]
        assert len(lines) == 3
        assert not any("." in line.split("failed")[1] for line in lines)
        published = pat("results", "publish")
        assert published.exit_code == 0
        again = pd.read_csv(here / "results" / "runs.csv")
        assert again[again["status"] == "failed"]["test_accuracy"].isna().all()
        (status,) = [line for line in pat("status").output.splitlines() if "resnet8-basic" in line]
        assert status.replace("│", " ").split()[-3:] == ["0", "1", "3"]
