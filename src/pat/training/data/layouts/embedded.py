"""Data made on the spot from scikit-learn's digits: no download."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pat.files.errors import DataError
from pat.training.data.division import divide
from pat.training.data.manifest import SPLITS, ClutteredDigits, Manifest, SplitName

_FILE = "datasets/data/digits.csv.gz"

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def generate(manifest: Manifest) -> dict[str, tuple[Images, Labels]]:
    """Images uint8 [N, 1, H, W] and labels int64 [N] of every group.

    Raises `DataError` if the result is not the one whose digest the manifest holds.
    """
    made = make(manifest)
    for name, group in manifest.groups.items():
        found = arrays_digest(*made[name])
        if group.digest is not None and found != group.digest:
            raise DataError(
                f"{manifest.name}: the generated group {name!r} has the digest {found}, "
                f"not {group.digest}; numpy or scikit-learn give other values than when it "
                "was pinned"
            )
    return made


def make(manifest: Manifest) -> dict[str, tuple[Images, Labels]]:
    """`generate` without the check of the digests."""
    digits, labels = _digits()
    if isinstance(manifest.generator, ClutteredDigits):
        counts = {name: manifest.groups[name].count for name in SPLITS}
        return clutter(digits, labels, manifest.generator, counts, manifest.image_size)
    # 0..16 becomes 0..255, in integers.
    images = ((digits.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    return {"all": (images[:, None], labels)}


def arrays_digest(images: Images, labels: Labels) -> str:
    """SHA-256 over shape, pixels and labels."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _digits() -> tuple[Images, Labels]:
    """Uint8 [1797, 8, 8] in 0..16 and labels: scikit-learn's file, without the seconds of importing it."""
    package = find_spec("sklearn")
    file = Path(package.origin).parent / _FILE if package and package.origin else None
    if file is not None and file.is_file():
        rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
        return rows[:, :-1].reshape(-1, 8, 8).astype(np.uint8), rows[:, -1]
    from sklearn.datasets import load_digits  # a version that keeps it elsewhere

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def clutter(
    digits: Images,
    labels: Labels,
    settings: ClutteredDigits,
    counts: dict[SplitName, int],
    canvas: int,
) -> dict[str, tuple[Images, Labels]]:
    """Cluttered digits after "cluttered MNIST" (Mnih et al. 2014).

    digits: uint8 [N, 8, 8] in 0..16. counts: canvases a split. Each split has its own source
    digits, for its digit and for its pieces, so nothing of a test digit is seen in training.
    """
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    sources_of = divide(labels, settings.digits, settings.seed)
    made: dict[str, tuple[Images, Labels]] = {}
    for name in SPLITS:
        sources = sources_of[name]
        chosen = _balanced(len(sources), counts[name], generator)
        images = np.zeros((counts[name], canvas, canvas))
        _paste(images, digits[sources[chosen]] / 16, generator)
        for _ in range(settings.clutter):
            # Any source but the canvas's own digit.
            step = generator.integers(1, len(sources), size=counts[name])
            others = digits[sources[(chosen + step) % len(sources)]] / 16
            _paste(images, _cut(others, settings.piece, generator), generator)
        images += settings.noise * generator.standard_normal(images.shape)
        pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
        made[name] = (pixels[:, None], labels[sources[chosen]])
    return made


def _balanced(sources: int, count: int, generator: np.random.Generator) -> Labels:
    """`count` source numbers, each used equally often (to one), in random order."""
    rounds = [generator.permutation(sources) for _ in range(-(-count // sources))]
    return generator.permutation(np.concatenate(rounds)[:count])


def _corners(count: int, room: int, generator: np.random.Generator) -> tuple[Labels, Labels]:
    rows, columns = generator.integers(0, room + 1, size=(2, count))
    return rows, columns


def _cut(
    images: npt.NDArray[np.float64], side: int, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A piece [N, side, side] from a random place of each image."""
    rows, columns = _corners(len(images), images.shape[-1] - side, generator)
    reach = np.arange(side)
    which = np.arange(len(images))[:, None, None]
    pieces: npt.NDArray[np.float64] = images[
        which, (rows[:, None] + reach)[:, :, None], (columns[:, None] + reach)[:, None]
    ]
    return pieces


def _paste(
    canvases: npt.NDArray[np.float64],
    pieces: npt.NDArray[np.float64],
    generator: np.random.Generator,
) -> None:
    """Put each piece at a random place of its canvas; the brighter pixel wins."""
    side = pieces.shape[-1]
    rows, columns = _corners(len(canvases), canvases.shape[-1] - side, generator)
    reach = np.arange(side)
    place = (
        np.arange(len(canvases))[:, None, None],
        (rows[:, None] + reach)[:, :, None],
        (columns[:, None] + reach)[:, None],
    )
    canvases[place] = np.maximum(canvases[place], pieces)
