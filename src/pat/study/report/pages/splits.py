"""What ``tools/split_noise.py`` measured of the images of a split, in sentences for the book."""

from statistics import fmean
from typing import Any

from pat.files.sealed import unseal
from pat.study.store import AnyStore, measured


def facts(store: AnyStore) -> str:
    """One sentence per measured profile; empty without any.

    Raises:
        ValueError: if a record was changed.
    """
    return " ".join(
        _sentence(unseal(file)) for file in measured.files(store.root / measured.FOLDER / "splits")
    )


def _sentence(found: dict[str, Any]) -> str:
    noise, cost = (_means(found[name]) for name in ("difference of two accuracies", "cost of the choice"))
    seeds = len(found["difference of two accuracies"])
    return (
        f"Measured on {seeds} pilot seeds of `{found['profile']}`: by which test images are drawn, the "
        f"difference of two networks' accuracies varies by {_series(noise)} images (standard deviation). "
        f"Choosing one of the pruning epochs on validation images costs {_series(cost)} images against the "
        "best of them on test."
    )


def _means(by_seed: dict[str, dict[str, float]]) -> dict[int, float]:
    """By number of images, over seeds."""
    return {
        int(size): fmean(seed[size] for seed in by_seed.values()) for size in next(iter(by_seed.values()))
    }


def _series(values: dict[int, float]) -> str:
    texts = [f"{value:.2f} points with {size:,}" for size, value in values.items()]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]
