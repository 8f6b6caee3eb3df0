"""Data sets through manifests: from a description to batches on the training device."""

from typing import TYPE_CHECKING

from pat.lazy import exports

if TYPE_CHECKING:
    from pat.data.adding import add_folder
    from pat.data.augment import Augment
    from pat.data.dataset import Batch, ImageDataset
    from pat.data.errors import DataError, MissingDataError
    from pat.data.manifest import Manifest, list_manifests, load_manifest
    from pat.data.opening import open_dataset
    from pat.data.unpacking import unpack
    from pat.data.verifying import Problem, verify
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "adding": ["add_folder"],
            "augment": ["Augment"],
            "dataset": ["Batch", "ImageDataset"],
            "errors": ["DataError", "MissingDataError"],
            "manifest": ["Manifest", "list_manifests", "load_manifest"],
            "opening": ["open_dataset"],
            "unpacking": ["unpack"],
            "verifying": ["Problem", "verify"],
        },
    )

__all__ = [
    "Augment",
    "Batch",
    "DataError",
    "ImageDataset",
    "Manifest",
    "MissingDataError",
    "Problem",
    "add_folder",
    "list_manifests",
    "load_manifest",
    "open_dataset",
    "unpack",
    "verify",
]
