"""Manifests, data sets, verification and user folders."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pat.files import paths
from pat.files.errors import DataError, MissingDataError
from pat.training import data
from pat.training.data import Augment, opening
from pat.training.data.division import divide
from pat.training.data.draws import Draws, augmented
from pat.training.data.layouts.embedded import generate

AUGMENTS = {
    "none": Augment(),
    "crop": Augment(crop_padding=2, flip=True),
    "resized": Augment(random_resized_crop=True, flip=True),
}
NAMES = {"digits", "digits-cluttered", "digits-cluttered-2", "cifar10", "cifar10-jpeg", "cifar10-small"} | {
    "imagenette",
    "imagenette-128",
    "imagenet",
}


def write_images(folder: Path, split: str, per_class: int = 10, side: int = 12) -> None:
    rng = np.random.default_rng(abs(len(split)))
    for label, name in enumerate(("blue", "green", "red")):
        (folder / split / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 80, (side, side + 3, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 150
            Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "pictures"
    for split in ("train", "val"):
        write_images(folder, split)
    return folder


def added(folder: Path, **options: Any) -> data.Manifest:
    return data.load_manifest(data.add_folder(folder, "pictures", folder.parents[1] / "manifests", **options))


def edited(tmp_path: Path, **changes: Any) -> Path:
    """A copy of the digits' manifest with other fields; None leaves a field out."""
    content = yaml.safe_load((paths.MANIFESTS / "digits.yaml").read_text()) | changes
    file = tmp_path / "digits.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return file


def epoch(dataset: data.ImageDataset, **changes: Any) -> list[data.Batch]:
    settings: dict[str, Any] = {"batch_size": 8, "seed": 1, "epoch": 2, "augment": Augment()}
    return list(dataset.train_batches(**(settings | changes)))


def same(first: list[data.Batch], second: list[data.Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, second, strict=True)
    )


# Manifests


def test_every_manifest_is_complete() -> None:
    assert set(data.list_manifests()) >= NAMES
    checksums = set()
    for name in NAMES:
        manifest = data.load_manifest(name)
        assert manifest.name == name
        assert all((manifest.source, manifest.licence, manifest.citation))
        assert manifest.list_path is None or manifest.list_path.is_file()
        checksums.add(manifest.checksum)
    assert len(checksums) == len(NAMES)


def test_checksum_is_of_the_content_alone(tmp_path: Path) -> None:
    original = data.load_manifest("digits").checksum
    assert data.load_manifest(edited(tmp_path, licence="other", split_seed=0)).checksum == original
    assert data.load_manifest(edited(tmp_path, mean=[0.5])).checksum != original
    assert data.load_manifest(edited(tmp_path, split_seed=1)).checksum != original


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour: Extra inputs"),
        ({"licence": None}, "licence: Field required"),
        ({"image_size": "wide"}, "image_size: .*integer"),
        ({"mean": [0.1, 0.2, 0.3]}, r"mean: expected 1 value"),
        ({"std": [0.0]}, "std: must be positive"),
        ({"std": [float("nan")]}, "std"),
        ({"folder": "../elsewhere"}, "'../elsewhere' must be a relative path"),
        ({"folder": "/etc"}, "'/etc' must be a relative path"),
        ({"groups": {"all": {"count": 1797, "paths": ["a/../../b"]}}}, "must be a relative path"),
        ({"groups": {"all": {"count": 9}}}, "ask for 1797 images of 9"),
        ({"file_list": "sub/list.gz"}, "without a folder"),
        ({"splits": {"train": {"group": "all", "count": 9}}}, "validation is missing"),
        ({"generator": None}, "generator: embedded data has one"),
        ({"name": "Not A Name"}, "name: String should match"),
        ({"name": "renamed"}, "is not the file's name"),
    ],
)
def test_damaged_manifests_name_file_and_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = edited(tmp_path, **changes)
    with pytest.raises(DataError, match=f"{re.escape(str(file))}.*{message}"):
        data.load_manifest(file)


def test_manifests_that_are_no_manifests(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'digit'; known are .*digits-cluttered"):
        data.load_manifest("digit")
    with pytest.raises(DataError, match=r"no manifest .*absent\.yaml"):
        data.load_manifest(tmp_path / "absent.yaml")
    for text in ("a: [", "- 1", "\x00", "!!python/object/apply:os.getcwd []"):
        file = tmp_path / "bad.yaml"
        file.write_text(text)
        with pytest.raises(DataError, match=re.escape(str(file))):
            data.load_manifest(file)


# Division and embedded data


def test_division_is_balanced_disjoint_and_keeps_held_out_images() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    parts = divide(labels, {"train": 60, "validation": 20, "test": 20}, seed=3)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(100))
    assert np.bincount(labels[parts["test"]]).tolist() == [10, 6, 4]
    smaller = divide(labels, {"train": 10, "validation": 20, "test": 20}, seed=3)
    assert np.array_equal(smaller["test"], parts["test"])
    assert np.array_equal(smaller["validation"], parts["validation"])
    assert set(smaller["train"]) < set(parts["train"])
    other = divide(labels, {"train": 60, "validation": 20, "test": 20}, seed=4)
    assert not np.array_equal(other["test"], parts["test"])


def test_cluttered_digits_are_the_pinned_ones_and_hold_one_digit_each() -> None:
    manifest = data.load_manifest("digits-cluttered")
    made = generate(manifest)  # compares with the pinned digests
    assert {name: images.shape for name, (images, _) in made.items()} == {
        "train": (6000, 1, 16, 16),
        "validation": (1500, 1, 16, 16),
        "test": (3000, 1, 16, 16),
    }
    images, labels = made["train"]
    assert images[:, 0].mean() / 255 == pytest.approx(manifest.mean[0], abs=1e-4)
    assert images[:, 0].std() / 255 == pytest.approx(manifest.std[0], abs=1e-4)
    assert np.bincount(labels).min() > 500
    assert data.verify(manifest, Path("nowhere")) == []


def test_splits_share_no_source_digit() -> None:
    manifest = data.load_manifest("digits-cluttered")
    assert manifest.generator is not None
    bare = manifest.model_copy(
        update={
            "generator": manifest.generator.model_copy(update={"clutter": 0, "noise": 0.0}),
            "groups": {k: g.model_copy(update={"digest": None}) for k, g in manifest.groups.items()},
        }
    )
    digits = {}
    for name, (images, _) in generate(bare).items():
        # A lone digit has its canvas position as its only variation: its lit pixels in order.
        digits[name] = {image[image > 0].tobytes() for image in images}
    assert not digits["train"] & digits["test"]
    assert not digits["validation"] & digits["test"]
    assert not digits["train"] & digits["validation"]
    assert (len(digits["train"]), len(digits["validation"])) == (800, 200)


def test_another_generated_result_is_refused() -> None:
    manifest = data.load_manifest("digits")
    group = manifest.groups["all"].model_copy(update={"digest": "0" * 64})
    wrong = manifest.model_copy(update={"groups": {"all": group}})
    with pytest.raises(DataError, match="generated group 'all' has the digest"):
        data.open_dataset(wrong, root=Path("nowhere"), device="cpu")
    assert [p.kind for p in data.verify(wrong, Path("nowhere"))] == ["changed"]


# Batches


@pytest.fixture(params=["memory", "streaming"])
def dataset(request: pytest.FixtureRequest, pictures: Path) -> data.ImageDataset:
    manifest = added(pictures, in_memory=request.param == "memory")
    return data.open_dataset(manifest, root=pictures.parent, device="cpu")


@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
def test_batches_depend_on_seed_and_epoch_alone(dataset: data.ImageDataset, augment: Augment) -> None:
    first = epoch(dataset, augment=augment)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    before = torch.get_rng_state()
    assert same(first, epoch(dataset, augment=augment))
    assert torch.equal(torch.get_rng_state(), before)
    assert not same(first, epoch(dataset, augment=augment, epoch=3))
    assert not same(first, epoch(dataset, augment=augment, seed=2))


def test_batches_have_the_promised_shapes(dataset: data.ImageDataset) -> None:
    assert (dataset.num_classes, dataset.in_channels, dataset.image_size) == (3, 3, 12)
    assert dataset.split_size("train") == 27
    assert dataset.class_counts("train") == [9, 9, 9]
    assert dataset.class_counts("validation") == [1, 1, 1]
    batches = epoch(dataset)
    assert [len(labels) for _, labels in batches] == [8, 8, 8]
    assert dataset.steps_per_epoch(8) == 3
    images, labels = batches[0]
    assert images.shape == (8, 3, 12, 12)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert [len(y) for _, y in epoch(dataset, batch_size=100)] == [27]
    assert dataset.steps_per_epoch(100) == 1
    assert [len(y) for _, y in dataset.eval_batches("test", batch_size=16)] == [16, 14]
    pixels = torch.cat([x for x, _ in epoch(dataset, batch_size=27)])
    assert pixels.mean((0, 2, 3)).abs().max() < 0.01
    assert (pixels.std((0, 2, 3)) - 1).abs().max() < 0.01


def test_labels_belong_to_their_images(dataset: data.ImageDataset) -> None:
    # The brightest channel tells the class: blue, green, red.
    for augment in AUGMENTS.values():
        for images, labels in epoch(dataset, augment=augment):
            assert torch.equal(2 - images.mean((2, 3)).argmax(1), labels)
    for images, labels in dataset.eval_batches("validation", batch_size=2):
        assert torch.equal(2 - images.mean((2, 3)).argmax(1), labels)


def test_memory_and_streaming_agree_without_augmentation(pictures: Path) -> None:
    manifest = added(pictures)
    streamed = manifest.model_copy(update={"in_memory": False})
    first, second = (data.open_dataset(m, root=pictures.parent, device="cpu") for m in (manifest, streamed))
    assert same(epoch(first), epoch(second))
    assert same(
        list(first.eval_batches("test", batch_size=7)),
        list(second.eval_batches("test", batch_size=7)),
    )


def test_part_of_a_split_is_spread_evenly_over_it(dataset: data.ImageDataset) -> None:
    whole = torch.cat([y for _, y in dataset.eval_batches("test", batch_size=7)])
    part = torch.cat([y for _, y in dataset.eval_batches("test", batch_size=7, images=10)])
    assert torch.equal(part, whole[::3])
    assert sum(len(y) for _, y in dataset.eval_batches("test", batch_size=7, images=99)) == len(whole)


def test_workers_change_nothing(pictures: Path) -> None:
    manifest = added(pictures, in_memory=False)
    batches = [
        epoch(
            data.open_dataset(manifest, root=pictures.parent, device="cpu", workers=workers),
            augment=AUGMENTS["resized"],
        )
        for workers in (0, 2)
    ]
    assert same(*batches)


def test_another_process_sees_the_same_batches() -> None:
    program = (
        "import hashlib\n"
        "from pathlib import Path\n"
        "from pat.training.data import Augment, load_manifest, open_dataset\n"
        "d = open_dataset(load_manifest('digits'), root=Path('.'), device='cpu')\n"
        "h = hashlib.sha256()\n"
        "for x, y in d.train_batches(batch_size=50, seed=5, epoch=7,\n"
        "                            augment=Augment(crop_padding=1, flip=True)):\n"
        "    h.update(x.numpy().tobytes() + y.numpy().tobytes())\n"
        "print(h.hexdigest())\n"
    )
    command = [sys.executable, "-c", program]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", printed.append)
        torch.rand(3)
        exec(program, {})
    assert printed == [other.strip()]


def test_crop_and_flip_by_hand() -> None:
    images = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3).repeat(3, 1, 1, 1)
    chances = torch.tensor([[0.9, 0.5, 0.5, 0, 0], [0.1, 0.5, 0.5, 0, 0], [0.9, 0.0, 0.99, 0, 0]])
    still, mirrored, moved = augmented(images, chances, Augment(crop_padding=1, flip=True))
    assert torch.equal(still, images[0])
    assert torch.equal(mirrored, images[0].flip(-1))
    assert moved[0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]


def test_largest_chance_stays_on_the_canvas() -> None:
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    chances = torch.full((1, 5), 1 - 2**-24)
    assert augmented(images, chances, Augment(crop_padding=4)).shape == images.shape


def test_order_is_free_of_the_options() -> None:
    first, second = (Draws.of(50, 3, 4, torch.device("cpu")) for _ in range(2))
    assert torch.equal(first.order, second.order)
    assert sorted(first.order.tolist()) == list(range(50))


def test_bad_requests_fail_before_the_first_batch(dataset: data.ImageDataset) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        dataset.train_batches(batch_size=0, seed=0, epoch=0, augment=Augment())
    with pytest.raises(ValueError, match="must not be negative"):
        dataset.train_batches(batch_size=4, seed=-1, epoch=0, augment=Augment())
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        dataset.eval_batches("dev", batch_size=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="exclude each other"):
        Augment(crop_padding=2, random_resized_crop=True)


# Missing and damaged data


def test_missing_data_says_where_and_how(tmp_path: Path) -> None:
    for name in NAMES - {"digits", "digits-cluttered", "digits-cluttered-2"}:
        manifest = data.load_manifest(name)
        expected = re.escape(str(manifest.location(tmp_path)))
        with pytest.raises(MissingDataError, match=f"expected {expected}.*How to get it: .*unpack"):
            data.open_dataset(manifest, root=tmp_path, device="cpu")
        assert {p.kind for p in data.verify(manifest, tmp_path)} == {"missing"}


def problems(manifest: data.Manifest, folder: Path) -> set[tuple[str, str]]:
    found = data.verify(manifest, folder.parent)
    return {(p.path.relative_to(folder).as_posix(), p.kind) for p in found}


@pytest.mark.parametrize("in_memory", [True, False])
def test_verify_names_the_wrong_file(pictures: Path, in_memory: bool) -> None:
    manifest = added(pictures, in_memory=in_memory)
    assert problems(manifest, pictures) == set()
    red = pictures / "train" / "red"
    content = (red / "4.png").read_bytes()
    (red / "4.png").write_bytes(content[: len(content) // 2])
    (red / "5.png").write_bytes(b"no image at all")
    Image.new("RGB", (12, 12)).save(red / "6.png")
    (red / "7.png").rename(red / "77.png")
    (red / "notes.txt").write_text("text")
    assert problems(manifest, pictures) == {
        ("train/red/4.png", "damaged"),
        ("train/red/5.png", "damaged"),
        ("train/red/6.png", "changed"),
        ("train/red/7.png", "missing"),
        ("train/red/77.png", "extra"),
        ("train/red/notes.txt", "extra"),
    }


def test_opening_refuses_data_that_is_not_the_manifests(pictures: Path) -> None:
    manifest = added(pictures)
    file = pictures / "train" / "green" / "3.png"
    data.open_dataset(manifest, root=pictures.parent, device="cpu")  # leaves a cache behind
    Image.new("RGB", (12, 12)).save(file)
    with pytest.raises(DataError, match="digest differs"):
        data.open_dataset(manifest, root=pictures.parent, device="cpu")
    file.unlink()
    with pytest.raises(DataError, match=r"29 images, 30 expected; missing is .*green/3\.png"):
        data.open_dataset(manifest, root=pictures.parent, device="cpu")
    (pictures / "val" / "red").rename(pictures / "val" / "rot")
    assert ("val", "count") in problems(manifest, pictures)


def test_an_image_that_is_spoiled_later_is_named_while_training(pictures: Path) -> None:
    manifest = added(pictures, in_memory=False)
    bad = pictures / "train" / "blue" / "0.png"
    whole = bad.read_bytes()
    for content in (b"", b"\x89PNG\r\n\x1a\nbut no more", whole[:60]):
        bad.write_bytes(whole)
        dataset = data.open_dataset(manifest, root=pictures.parent, device="cpu")
        bad.write_bytes(content)
        with pytest.raises(DataError, match=r"blue/0\.png is no readable image"):
            [*epoch(dataset, batch_size=27), *dataset.eval_batches("validation", batch_size=3)]


@pytest.mark.parametrize("digests", [True, False])
def test_streamed_images_are_looked_at_before_the_first_epoch_and_once(
    pictures: Path, digests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = added(pictures, in_memory=False)
    if not digests:
        bare = {name: group.model_copy(update={"digest": None}) for name, group in manifest.groups.items()}
        manifest = manifest.model_copy(update={"groups": bare})
    bad = pictures / "train" / "blue" / "0.png"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:60])
    message = "its digest differs" if digests else r"1 image\(s\) do not decode: .*blue/0\.png"
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            data.open_dataset(manifest, root=pictures.parent, device="cpu")
    bad.write_bytes(whole)
    data.open_dataset(manifest, root=pictures.parent, device="cpu")
    for name in ("check_all", "_check_digests"):
        monkeypatch.setattr(opening, name, lambda *arguments: pytest.fail("looked at again"))
    data.open_dataset(manifest, root=pictures.parent, device="cpu")


def test_a_damaged_cache_is_made_again(pictures: Path) -> None:
    manifest = added(pictures)
    first = epoch(data.open_dataset(manifest, root=pictures.parent, device="cpu"))
    (cache,) = (pictures.parent / ".pat-cache").iterdir()
    for content in (b"", b"junk", cache.read_bytes()[:-400]):
        cache.write_bytes(content)
        assert same(first, epoch(data.open_dataset(manifest, root=pictures.parent, device="cpu")))
    assert len(list((pictures.parent / ".pat-cache").iterdir())) == 1


def test_cifar_binary(tmp_path: Path) -> None:
    manifest = data.load_manifest("cifar10")
    counts = {"train": 50, "test": 10}
    small = manifest.model_copy(
        update={
            "groups": {
                name: group.model_copy(update={"count": counts[name]})
                for name, group in manifest.groups.items()
            },
            "splits": {
                name: split.model_copy(update={"count": count})
                for (name, split), count in zip(manifest.splits.items(), (40, 10, 10), strict=True)
            },
        }
    )
    folder = small.location(tmp_path)
    folder.mkdir()
    for file in (path for group in small.groups.values() for path in group.paths):
        records = np.zeros((10, 3073), np.uint8)
        records[:, 0] = np.arange(10)
        records[:, 1:1025] = 20 * np.arange(10)[:, None]  # the red plane tells the class
        (folder / file).write_bytes(records.tobytes())
    assert data.verify(small, tmp_path) == []
    dataset = data.open_dataset(small, root=tmp_path, device="cpu")
    assert dataset.class_counts("train") == [4] * 10
    for images, labels in dataset.eval_batches("train", batch_size=40):
        red = (images[:, 0, 0, 0] * small.std[0] + small.mean[0]) * 255
        assert torch.equal((red / 20).round().long(), labels)
        assert torch.allclose(images[:, 1] * small.std[1] + small.mean[1], torch.zeros(1), atol=1e-6)
    records[4, 0] = 10
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    (folder / "data_batch_3.bin").write_bytes(b"short")
    found = {(p.path.name, p.kind): str(p) for p in data.verify(small, tmp_path)}
    assert set(found) == {("test_batch.bin", "damaged"), ("data_batch_3.bin", "damaged")}
    assert "record 4 has the label 10" in found["test_batch.bin", "damaged"]
    with pytest.raises(DataError, match=r"data_batch_3\.bin: 5 bytes"):
        data.open_dataset(small, root=tmp_path, device="cpu")


def test_archives_are_checked_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"not it")
    found = data.verify(data.load_manifest("cifar10"), tmp_path)
    assert ("cifar-10-binary.tar.gz", "changed") in {(p.path.name, p.kind) for p in found}


# User folders


def test_a_single_folder_is_divided(tmp_path: Path) -> None:
    write_images(tmp_path, "pictures", per_class=20)
    manifest = data.load_manifest(data.add_folder(tmp_path / "pictures", "mine", tmp_path / "m"))
    dataset = data.open_dataset(manifest, root=tmp_path, device="cpu")
    assert [dataset.class_counts(s) for s in ("train", "validation", "test")] == [
        [16] * 3,
        [2] * 3,
        [2] * 3,
    ]
    assert data.verify(manifest, tmp_path) == []


def test_three_folders_and_grey_images(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (tmp_path / "grey" / split / name).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (9, 20), 40 * i).save(tmp_path / "grey" / split / name / f"{i}.png")
    manifest = data.load_manifest(data.add_folder(tmp_path / "grey", "grey", tmp_path / "m"))
    assert (manifest.in_channels, manifest.image_size, len(manifest.groups)) == (1, 9, 3)
    assert manifest.mean[0] == pytest.approx(40 / 255, abs=1e-4)
    assert data.open_dataset(manifest, root=tmp_path, device="cpu").split_size("validation") == 6
    assert data.verify(manifest, tmp_path) == []


def test_folders_that_cannot_be_added(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    with pytest.raises(MissingDataError, match="no folder"):
        data.add_folder(tmp_path / "absent", "x", out)
    with pytest.raises(DataError, match="'digits' exists already"):
        data.add_folder(pictures, "digits", out)
    with pytest.raises(DataError, match="is no name for a dataset"):
        data.add_folder(pictures, "../x", out)
    (pictures / "val" / "red" / "0.png").write_bytes(b"broken")
    (pictures / "train" / "blue" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"2 image\(s\) do not decode: .*blue/1\.png.*red/0\.png"):
        data.add_folder(pictures, "x", out)
    (pictures / "val" / "purple").mkdir()
    with pytest.raises(DataError, match="different class folders"):
        data.add_folder(pictures, "x", out)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "val").mkdir()
    with pytest.raises(DataError, match="has no images"):
        data.add_folder(tmp_path / "empty", "x", out)
    assert not out.exists()
