"""Data sets through manifests: from a description to batches on the training device."""

from typing import TYPE_CHECKING

from pat.files.lazy import exports

if TYPE_CHECKING:
    from pat.training.data.adding import add_folder
    from pat.training.data.augment import Augment
    from pat.training.data.dataset import Batch, ImageDataset
    from pat.training.data.manifest import Manifest, list_manifests, load_manifest
    from pat.training.data.opening import open_dataset
    from pat.training.data.unpacking import unpack
    from pat.training.data.verifying import Problem, verify
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "adding": ["add_folder"],
            "augment": ["Augment"],
            "dataset": ["Batch", "ImageDataset"],
            "manifest": ["Manifest", "list_manifests", "load_manifest"],
            "opening": ["open_dataset"],
            "unpacking": ["unpack"],
            "verifying": ["Problem", "verify"],
        },
    )

__all__ = [
    "Augment",
    "Batch",
    "ImageDataset",
    "Manifest",
    "Problem",
    "add_folder",
    "list_manifests",
    "load_manifest",
    "open_dataset",
    "unpack",
    "verify",
]
