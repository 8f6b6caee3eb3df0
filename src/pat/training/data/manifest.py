"""Manifests: what a data set is, where it comes from, and how to tell that it is the right one."""

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from pat.files import paths
from pat.files.errors import DataError, explain
from pat.files.plain_yaml import load_yaml

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

NAME = "[a-z0-9][a-z0-9._-]*"
ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
"""Checksums that archives are published with."""

_DIGITS = 1797
_LONGEST_NAME = 200
_MOST_PIXELS = 500_000_000

_NO_CONTENT = {
    *("name", "title", "source", "licence", "citation", "notes"),
    *("archives", "folder", "file_list"),
}


def inside(path: str) -> str:
    """`path` if it is a plain relative path that stays below where it starts, else ValueError."""
    if (
        not path
        or ".." in PurePosixPath(path).parts
        or path.startswith(("/", "~"))
        or re.search(r"[\\:\0]", path)
    ):
        raise ValueError(f"{path!r} must be a relative path that does not leave the data root")
    paths.usable(path)
    return path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlainDigits(_Frozen):
    """scikit-learn's 1,797 digits, 8 x 8 pixels."""

    kind: Literal["digits"]


class ClutteredDigits(_Frozen):
    """Digits at random places on a larger canvas, among pieces of other digits."""

    kind: Literal["cluttered-digits"]
    seed: int = Field(ge=0)
    clutter: int = Field(ge=0, le=1000)
    """Pieces on each canvas."""
    piece: int = Field(ge=1, le=8)
    """Side of a piece, pixels."""
    noise: float = Field(ge=0)
    """Standard deviation of the Gaussian noise; white is 1."""
    digits: dict[SplitName, Annotated[int, Field(ge=2)]]
    """Source digits that each split's canvases are made from; no digit serves two splits."""


class Group(_Frozen):
    """Images that lie together on disk (or are generated together)."""

    count: int = Field(ge=1)
    """Images in the group."""
    paths: tuple[str, ...] = ()
    """Where they lie, below the manifest's folder: one folder of class folders, or files."""
    digest: Sha256 | None = None
    """SHA-256 over the sorted files' names and SHA-256; for embedded data, over the arrays."""

    @field_validator("paths")
    @classmethod
    def _inside(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(inside(path) for path in value)


class Split(_Frozen):
    """A share of a group. Splits of one group never share an image."""

    group: str
    count: int = Field(ge=1)


class Manifest(_Frozen):
    """A data set, described. Read one with `load_manifest`."""

    name: str = Field(pattern=f"^{NAME}$")
    title: str
    source: str
    """How to get the data."""
    licence: str
    citation: str
    notes: str = ""
    archives: dict[str, str] = {}
    """Published checksums of the archives by file name, each as algorithm, colon, hexadecimal digits."""
    layout: Literal["embedded", "imagefolder", "cifar-binary"]
    folder: str = ""
    """Below the data root; the name where empty."""
    generator: Annotated[PlainDigits | ClutteredDigits, Field(discriminator="kind")] | None = None
    image_size: int = Field(ge=1, le=4096)
    """Height and width of an image as the model sees it, pixels."""
    resize: int | None = Field(default=None, ge=1, le=4096)
    """Shorter side before the centre crop to `image_size`; `image_size` where absent."""
    in_channels: Literal[1, 3]
    num_classes: int = Field(ge=2)
    classes: tuple[str, ...] | None = None
    """Class names in the order of the labels; image folders: the class folders, sorted."""
    mean: tuple[float, ...]
    """Per channel, of pixels in [0, 1], over the training split."""
    std: tuple[float, ...]
    in_memory: bool = True
    """Decode everything once and augment in batches, rather than stream from disk."""
    file_list: str | None = None
    """A gzipped list of the files' digests beside the manifest: lets `verify` name a file."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the class-balanced division of a group among its splits."""
    groups: dict[str, Group]
    splits: dict[SplitName, Split]

    _path: Path | None = PrivateAttr(default=None)

    @field_validator("archives")
    @classmethod
    def _checkable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, checksum in value.items():
            if PurePosixPath(inside(name)).name != name:
                raise ValueError(f"{name!r} must be a file name without a folder")
            if not re.fullmatch(f"({'|'.join(ALGORITHMS)}):[0-9a-f]+", checksum):
                known = ", ".join(ALGORITHMS)
                raise ValueError(f"{name}: expected one of {known}, a colon and hexadecimal digits")
        return value

    @field_validator("folder")
    @classmethod
    def _folder_inside(cls, value: str) -> str:
        return inside(value) if value else value

    @field_validator("file_list")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        if value is not None and PurePosixPath(inside(value)).name != value:
            raise ValueError(f"{value!r} must be a file name without a folder")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("mean", "std"):
            if len(getattr(self, field)) != self.in_channels:
                raise ValueError(f"{field}: expected {self.in_channels} value(s), one a channel")
        if min(self.std) <= 0:
            raise ValueError("std: must be positive")
        if self.classes is not None and len(self.classes) != self.num_classes:
            raise ValueError(f"classes: {len(self.classes)} names for {self.num_classes} classes")
        if (self.layout == "embedded") != (self.generator is not None):
            raise ValueError("generator: embedded data has one, other layouts have none")
        if isinstance(self.generator, ClutteredDigits):
            if set(self.generator.digits) != set(SPLITS) or set(self.groups) != set(SPLITS):
                raise ValueError("generator.digits, groups: need train, validation and test")
            if self.image_size < 8:
                raise ValueError("image_size: a digit needs 8 pixels")
            if sum(self.generator.digits.values()) > _DIGITS:
                raise ValueError(f"generator.digits: there are {_DIGITS}")
            if sum(group.count for group in self.groups.values()) * self.image_size**2 > _MOST_PIXELS:
                raise ValueError(f"groups: more than {_MOST_PIXELS:,} pixels are not made in memory")
        if isinstance(self.generator, PlainDigits) and (self.image_size != 8 or set(self.groups) != {"all"}):
            raise ValueError("image_size, groups: plain digits have 8 pixels and one group, all")
        if self.generator is not None and (self.in_channels, self.num_classes) != (1, 10):
            raise ValueError("in_channels, num_classes: digits have 1 channel and 10 classes")
        if self.resize is not None and self.resize < self.image_size:
            raise ValueError("resize: must not be below image_size")
        return self

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if missing := [name for name in SPLITS if name not in self.splits]:
            raise ValueError(f"splits: {missing[0]} is missing")
        used = dict.fromkeys(self.groups, 0)
        for split_name, split in self.splits.items():
            if split.group not in used:
                raise ValueError(f"splits.{split_name}.group: no group named {split.group!r}")
            used[split.group] += split.count
        for name, group in self.groups.items():
            if used[name] > group.count:
                raise ValueError(f"groups.{name}: its splits ask for {used[name]} images of "
                                 f"{group.count}")  # fmt: skip
            if self.layout == "imagefolder" and len(group.paths) != 1:
                raise ValueError(f"groups.{name}.paths: an image folder has exactly one path")
            if self.layout == "cifar-binary" and not group.paths:
                raise ValueError(f"groups.{name}.paths: the files are missing")
        return self

    @property
    def checksum(self) -> str:
        """SHA-256 of everything that decides the images and labels a model gets.

        Prose, places and fields at their default are left out, so that a corrected licence text
        or a field that is added later leaves the runs' identity alone.
        """
        content = self.model_dump(mode="json", exclude=_NO_CONTENT, exclude_defaults=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def location(self, root: Path) -> Path:
        """The folder that holds the data, below `root`."""
        return root / (self.folder or self.name)

    @property
    def list_path(self) -> Path | None:
        """The file list beside the manifest, if there is one."""
        if self.file_list is None or self._path is None:
            return None
        return self._path.parent / self.file_list


def _folders() -> list[Path]:
    # A user's own manifests lie in the working directory, where `add_folder` is told to put them.
    return list(dict.fromkeys([paths.MANIFESTS, Path("data_manifests").resolve()]))


def list_manifests() -> list[str]:
    """Names of the data sets that come with the package or lie in ./data_manifests, sorted."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.yaml")})


def load_manifest(name_or_path: str | Path) -> Manifest:
    """The manifest of that name, or in that file (a path has a folder or ends in .yaml).

    Raises `DataError` (a ValueError) that names the file and the field.
    """
    text = str(name_or_path)
    if "\0" in text:
        raise DataError(f"{text!r} is no name of a dataset")
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        return _read(Path(name_or_path))
    if re.fullmatch(NAME, text) and len(text) <= _LONGEST_NAME:
        for folder in _folders():
            if (file := folder / f"{text}.yaml").is_file():
                return _read(file)
    raise DataError(f"unknown dataset {text!r}; known are {', '.join(list_manifests())}")


def _read(file: Path) -> Manifest:
    try:
        content = load_yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no manifest {file}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"manifest {file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"manifest {file}: expected a mapping of fields")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise DataError(f"manifest {file}: {explain(error)}") from None
    if manifest.name != file.stem:
        raise DataError(f"manifest {file}: name: {manifest.name!r} is not the file's name")
    manifest._path = file
    return manifest
