"""Streamed JPEGs that the training process decodes on its device: a processor stands in for a GPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from test_data import AUGMENTS
from typer.testing import CliRunner

from pat.cli import app
from pat.files.errors import DataError
from pat.study.plan.profile import load_profile
from pat.training import data
from pat.training.data import Augment
from pat.training.data.augment import Decoding


def photograph(seed: int, shape: tuple[int, int]) -> Image.Image:
    """Something smooth, with one bright corner that tells a mirrored one from its original."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 200, (4, 5, 3), dtype=np.uint8))
    image = coarse.resize(shape, Image.Resampling.BICUBIC)
    image.paste((250, 250, 250), (0, 0, shape[0] // 3, shape[1] // 3))
    return image


@pytest.fixture
def photographs(tmp_path: Path) -> data.Manifest:
    """Twelve a class and split, among them a PNG with the name of a JPEG and one of four colours."""
    folder = tmp_path / "root" / "photographs"
    for split in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for i in range(12):
                image = photograph(100 * label + i, (40 + 2 * i, 36))
                kind = {10: "PNG"}.get(i, "JPEG")
                image = image.convert("CMYK") if i == 11 else image
                quality = {} if kind == "PNG" else {"quality": 95}
                image.save(folder / split / name / f"{i}.jpg", kind, **quality)
    made = data.add_folder(folder, "photographs", tmp_path / "manifests", in_memory=False, image_size=24)
    return data.load_manifest(made)


def opened(manifest: data.Manifest, tmp_path: Path, decoding: Decoding, workers: int = 0) -> Any:
    return data.open_dataset(
        manifest, root=tmp_path / "root", device="cpu", workers=workers, decoding=decoding
    )


def batches(dataset: Any, augment: Augment) -> list[data.Batch]:
    return list(dataset.train_batches(batch_size=4, seed=3, epoch=1, augment=augment))


@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
def test_both_ways_draw_the_same_pictures(
    photographs: data.Manifest, tmp_path: Path, augment: Augment
) -> None:
    """Same order, crops and mirrors; the filters differ by some of 255 levels, another crop by dozens."""
    by_workers, on_device = (
        batches(opened(photographs, tmp_path, decoding), augment) for decoding in ("workers", "device")
    )
    level = 1 / (255 * min(photographs.std))
    for (images, labels), (others, same_labels) in zip(by_workers, on_device, strict=True):
        assert torch.equal(labels, same_labels)
        assert others.shape == images.shape
        assert (images - others).abs().mean() < 4 * level
        assert (images - others.flip(-1)).abs().mean() > 10 * level


def test_nothing_else_matters_to_what_a_device_decodes(photographs: data.Manifest, tmp_path: Path) -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (
        batches(opened(photographs, tmp_path, "device", workers), AUGMENTS["resized"]) for workers in (0, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for (images, labels), (others, same_labels) in zip(first, second, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, same_labels)


def test_validation_has_every_image_once(photographs: data.Manifest, tmp_path: Path) -> None:
    one, other = (
        list(opened(photographs, tmp_path, decoding).eval_batches("test", batch_size=7))
        for decoding in ("workers", "device")
    )
    assert [len(labels) for _, labels in other] == [7, 7, 7, 3]
    assert torch.equal(torch.cat([y for _, y in one]), torch.cat([y for _, y in other]))


def test_a_file_that_is_damaged_meanwhile_is_named(photographs: data.Manifest, tmp_path: Path) -> None:
    dataset = opened(photographs, tmp_path, "device")
    bad = tmp_path / "root" / "photographs" / "val" / "cat" / "3.jpg"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(DataError, match=r"cat/3\.jpg is no readable image"):
        list(dataset.eval_batches("test", batch_size=24))


def test_images_in_memory_are_decoded_already(tmp_path: Path) -> None:
    message = "decoding 'device' is for images that are streamed; 'digits' is in memory"
    with pytest.raises(ValueError, match=message):
        data.open_dataset(data.load_manifest("digits"), root=tmp_path, device="cpu", decoding="device")
    done = CliRunner().invoke(
        app, ["run", "--profile", "smoke", "--decoding", "device", "--store", str(tmp_path)]
    )
    assert (done.exit_code, "is for images that are streamed" in done.output) == (2, True)


def test_how_images_are_decoded_is_part_of_a_run() -> None:
    profile = load_profile("imagenet")
    dense = profile.spec(seed=0)
    recipe = profile.recipe.model_copy(update={"decoding": "device"})
    other = profile.spec(seed=0, recipe=recipe)
    assert dense.id != other.id
    assert "decoding" not in yaml.safe_dump(dense.model_dump(mode="json", exclude_defaults=True))


def test_the_command_compares_loader_and_step(
    photographs: data.Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((Path(__file__).parents[2] / "profiles" / "tiny.yaml").read_text())
    content |= {
        "dataset": str(tmp_path / "manifests" / "photographs.yaml"),
        "architectures": ["resnet8-basic"],
    }
    content["recipe"] |= {"batch_size": 4, "slices": 1, "decoding": "device"}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "photographs.yaml").write_text(yaml.safe_dump(content))
    command = ["throughput", "--profile", "photographs", "--data", str(tmp_path / "root"), "--steps", "2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "the device reads and decodes for" in done.output
