"""Data sets through manifests: from a description to batches on the training device."""

from pat.data.adding import add_folder
from pat.data.augment import Augment
from pat.data.dataset import Batch, ImageDataset
from pat.data.errors import DataError, MissingDataError
from pat.data.manifest import Manifest, list_manifests, load_manifest
from pat.data.opening import open_dataset
from pat.data.verify import Problem, verify

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
    "verify",
]
