"""What is watched while a run is dense: structures at every ratio, EPI, and the measures beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pat.channels import ChannelGroup
from pat.stability import mask_distance, mask_jaccard, rank_correlation, similarity
from pat.structure import channel_counts, kept_count, top_channels

Scores = Mapping[str, Tensor]
RANKINGS = ("spearman", "kendall")


@dataclass(frozen=True)
class _Snapshot:
    """One criterion after one epoch: scores, and per ratio what they would keep."""

    scores: dict[str, Tensor]
    kept: dict[float, dict[str, Tensor]]
    counts: dict[float, dict[str, int]]


class StabilityTracker:
    """Compares each dense epoch with the ``look_back`` epochs before it, as Eq. 6 does.

    Every measure is reported as the mean over the look-back window (for Psi that mean is EPI_t), None
    while the window is not full, and against the previous epoch alone.

    Args:
        groups: the neurons F.
        ratios: alpha, the pruning ratios to watch.
        look_back: r of Eq. 6.
        multiplicity: filters that one channel of a group stands for, or None to count units.
        min_channels: channels that every group keeps.

    Raises:
        ValueError: for a ratio that ``min_channels`` does not allow.
    """

    def __init__(
        self,
        groups: Mapping[str, ChannelGroup],
        *,
        ratios: Sequence[float],
        look_back: int,
        multiplicity: Mapping[str, int] | None,
        min_channels: int,
    ) -> None:
        self._groups = groups
        self._look_back = look_back
        self._multiplicity = multiplicity
        self._min_channels = min_channels
        sizes = {n: g.size * (multiplicity[n] if multiplicity else 1) for n, g in groups.items()}
        self._keep = {ratio: kept_count(sum(sizes.values()), ratio) for ratio in ratios}
        self._recent: dict[str, list[_Snapshot]] = {}
        self._snapshot({name: torch.zeros(g.size) for name, g in groups.items()})

    def update(self, scores: Mapping[str, Scores]) -> dict[str, Any]:
        """Take one epoch's scores per criterion.

        Returns:
            Per criterion ``{"spearman": [window, previous], "kendall": [...], "ratios": {ratio:
            {"counts": [...], "psi": [window, previous], "hamming": [...], "jaccard": [...]}}}``; counts
            are per layer (per group when units are counted), in the groups' order.
        """
        report = {}
        for criterion, current in scores.items():
            recent = self._recent.setdefault(criterion, [])
            snapshot = self._snapshot(current)
            entry: dict[str, Any] = {}
            correlations = [rank_correlation(current, past.scores) for past in recent]
            for i, name in enumerate(RANKINGS):
                entry[name] = self._window([pair[i] for pair in correlations])
            entry["ratios"] = {f"{r:g}": self._at(r, snapshot, recent) for r in self._keep}
            report[criterion] = entry
            recent.append(snapshot)
            del recent[: -self._look_back]
        return report

    def layers(self) -> list[str]:
        """The names that ``counts`` follows."""
        whole = {name: torch.ones(g.size, dtype=torch.bool) for name, g in self._groups.items()}
        return list(self._counts(whole))

    def _at(self, ratio: float, now: "_Snapshot", recent: Sequence["_Snapshot"]) -> dict[str, Any]:
        counts, kept = now.counts[ratio], now.kept[ratio]
        values = {
            "psi": [similarity(counts, past.counts[ratio]) for past in recent],
            "hamming": [mask_distance(kept, past.kept[ratio]) for past in recent],
            "jaccard": [mask_jaccard(kept, past.kept[ratio]) for past in recent],
        }
        return {
            "counts": list(counts.values()),
            **{name: self._window(pairs) for name, pairs in values.items()},
        }

    def _window(self, values: Sequence[float]) -> list[float | None]:
        """Mean over the full window, and the last value."""
        full = len(values) == self._look_back
        finite = [None if math.isnan(value) else round(value, 6) for value in values]
        mean = None if None in finite or not full else round(sum(values) / len(values), 6)
        return [mean, finite[-1] if finite else None]

    def _snapshot(self, scores: Scores) -> "_Snapshot":
        kept = {
            ratio: top_channels(scores, keep, self._multiplicity, self._min_channels)
            for ratio, keep in self._keep.items()
        }
        counts = {ratio: self._counts(mask) for ratio, mask in kept.items()}
        return _Snapshot({name: score.clone() for name, score in scores.items()}, kept, counts)

    def _counts(self, kept: Mapping[str, Tensor]) -> dict[str, int]:
        return channel_counts(kept, self._groups if self._multiplicity else None)

    def state_dict(self) -> dict[str, list[dict[str, Tensor]]]:
        """The look-back window's scores."""
        return {name: [past.scores for past in recent] for name, recent in self._recent.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> None:
        """Continue from :meth:`state_dict`."""
        self._recent = {name: [self._snapshot(s) for s in recent] for name, recent in state.items()}
