"""Stability of structures over time: Eq. 4-6, Algorithm 2's trigger, and the measures to compare with."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Structure = Mapping[str, int] | Sequence[int]


def layer_distance(n1: int, n2: int) -> float:
    """Normalised difference of one layer's channel counts, Eq. 4: ``|n1 - n2| / (n1 + n2)``, in [0, 1].

    A layer that is empty in both structures has distance 0.

    Raises:
        ValueError: for a negative count.
    """
    if n1 < 0 or n2 < 0:
        raise ValueError(f"channel counts must not be negative, got {n1} and {n2}")
    return abs(n1 - n2) / (n1 + n2) if n1 + n2 else 0.0


def similarity(counts1: Structure, counts2: Structure) -> float:
    """Structure similarity Psi, Eq. 5: one minus the mean layer distance, in [0, 1].

    Args:
        counts1, counts2: channels per layer, as mappings with equal keys or sequences of equal length.

    Raises:
        ValueError: if the structures have no layer, or not the same layers.
    """
    if isinstance(counts1, Mapping) and isinstance(counts2, Mapping):
        if counts1.keys() != counts2.keys():
            raise ValueError(f"structures have different layers: {sorted(counts1.keys() ^ counts2.keys())}")
        pairs = [(n, counts2[layer]) for layer, n in counts1.items()]
    elif isinstance(counts1, Mapping) or isinstance(counts2, Mapping):
        raise ValueError("structures must both be mappings or both be sequences")
    else:
        if len(counts1) != len(counts2):
            raise ValueError(f"structures have {len(counts1)} and {len(counts2)} layers")
        pairs = list(zip(counts1, counts2, strict=True))
    if not pairs:
        raise ValueError("a structure needs at least one layer")
    return 1 - math.fsum(layer_distance(int(a), int(b)) for a, b in pairs) / len(pairs)


class EarlyPruningIndicator:
    """EPI_t of Eq. 6 and the trigger of Algorithm 2, line 9.

    ``EPI_t`` is the mean similarity between the structure after epoch t and those of the ``look_back``
    epochs before it. It triggers at the first t with ``EPI_t >= threshold`` and ``EPI_t >=`` each of the
    ``patience`` values before it, and stays triggered.

    Args:
        threshold: tau, in [0, 1] (the paper: 0.983 for magnitude, 0.944 for gradient).
        look_back: r of Eq. 6 (the paper gives no value).
        patience: how many earlier values EPI_t must not be under (5 in Algorithm 2).
        history: ``"full"``: EPI_t is undefined before t = r, and all ``patience`` earlier values must be
            defined, so that the first possible trigger is t = look_back + patience. ``"available"``: the
            mean runs over the min(r, t) structures there are, and the values that are defined count.

    Attributes:
        values: EPI_t for every epoch so far, None where undefined.
        triggered: whether the trigger has fired.
        trigger_epoch: the epoch after which it fired, or None.

    Raises:
        ValueError: for a parameter out of range.
    """

    def __init__(
        self,
        threshold: float,
        look_back: int = 5,
        patience: int = 5,
        history: Literal["full", "available"] = "full",
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
        if look_back < 1:
            raise ValueError(f"look_back must be at least 1, got {look_back}")
        if patience < 0:
            raise ValueError(f"patience must not be negative, got {patience}")
        if history not in ("full", "available"):
            raise ValueError(f"history must be 'full' or 'available', got {history!r}")
        self.threshold = threshold
        self.look_back = look_back
        self.patience = patience
        self.history = history
        self.values: list[float | None] = []
        self.trigger_epoch: int | None = None
        self._recent: list[Structure] = []

    @property
    def triggered(self) -> bool:
        return self.trigger_epoch is not None

    def update(self, counts: Structure) -> float | None:
        """Take the structure after the next epoch; return EPI_t, or None while it is undefined.

        Raises:
            ValueError: if the layers differ from the epochs before.
        """
        compared = self._recent[-self.look_back :]
        needed = self.look_back if self.history == "full" else 1
        value = None
        if len(compared) >= needed:
            # fsum: equal values must not differ by the rounding of another order of terms.
            value = math.fsum(similarity(counts, past) for past in compared) / len(compared)
        elif compared:  # still undefined, but a change of layers is an error from the start
            similarity(counts, compared[-1])
        if not self.triggered and self._fires(value):
            self.trigger_epoch = len(self.values)
        self.values.append(value)
        snapshot = dict(counts) if isinstance(counts, Mapping) else list(counts)
        self._recent = [*compared, snapshot][-self.look_back :]
        return value

    def _fires(self, value: float | None) -> bool:
        if value is None or value < self.threshold:
            return False
        return _leads(value, self.values, self.patience, self.history)

    def state_dict(self) -> dict[str, object]:
        """Values, recent structures and trigger, as plain numbers."""
        return {
            "values": list(self.values),
            "recent": [dict(r) if isinstance(r, Mapping) else list(r) for r in self._recent],
            "trigger_epoch": self.trigger_epoch,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from :meth:`state_dict`."""
        self.values = list(state["values"])  # type: ignore[call-overload]
        self._recent = list(state["recent"])  # type: ignore[call-overload]
        self.trigger_epoch = state["trigger_epoch"]  # type: ignore[assignment]


def _leads(value: float, before: Sequence[float | None], patience: int, history: str) -> bool:
    """Whether EPI_t is not under the ``patience`` values before it (Algorithm 2, line 9)."""
    recent = before[-patience:] if patience else []
    if history == "full" and (len(recent) < patience or None in recent):
        return False
    return all(value >= past for past in recent if past is not None)


def leading(
    values: Sequence[float | None],
    patience: int = 5,
    history: Literal["full", "available"] = "full",
) -> dict[int, float]:
    """EPI_t by epoch t, where it is not under the ``patience`` values before it (Algorithm 2, line 9).

    Of these epochs the first with ``EPI_t >= threshold`` triggers, whatever the threshold.

    Args:
        values: EPI_t of each epoch, None where undefined (:attr:`EarlyPruningIndicator.values`).
        patience, history: as of the indicator.

    Raises:
        ValueError: for a negative patience.
    """
    if patience < 0:
        raise ValueError(f"patience must not be negative, got {patience}")
    return {
        t: value
        for t, value in enumerate(values)
        if value is not None and _leads(value, values[:t], patience, history)
    }


def highest_threshold(
    values: Sequence[float | None],
    epoch: int,
    patience: int = 5,
    history: Literal["full", "available"] = "full",
) -> float:
    """The highest tau with which EPI prunes in an epoch or before, from one dense run.

    A way to choose tau for a network of one's own without a grid of pruned runs: train it dense once, and
    name the epoch in which it should be pruned at the latest. Every higher tau waits longer, or for ever.
    It is no method of the paper, which tunes tau on pruned runs (Sec. 4.2).

    Args:
        values: EPI_t of each epoch, None where undefined (:attr:`EarlyPruningIndicator.values`).
        epoch: the latest pruning epoch, counted from 0.
        patience, history: as of the indicator that will use it.

    Raises:
        ValueError: if no threshold prunes so early; the message names the first epoch that can.
    """
    reached = {t + 1: value for t, value in leading(values, patience, history).items()}
    in_time = [value for pruned_in, value in reached.items() if pruned_in <= epoch]
    if not in_time:
        first = f"the first that can be is {min(reached)}" if reached else "no epoch of this run can be"
        raise ValueError(f"no threshold of EPI prunes in epoch {epoch} or before: {first}")
    return max(in_time)


def rank_correlation(scores1: Mapping[str, "Tensor"], scores2: Mapping[str, "Tensor"]) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau-b between two rankings of all channels (scipy).

    The rankings that Sec. 2 of the paper mentions as the alternative to comparing structures. All groups'
    channels are concatenated. Constant scores have no ranking: NaN.

    Raises:
        ValueError: if the groups or their sizes differ.
        ModuleNotFoundError: without scipy (``pip install pruning-aware-training[study]``).
    """
    import scipy.stats
    import torch

    _same_groups(scores1, scores2)
    a = torch.cat([scores1[name].flatten().cpu().double() for name in scores1]).numpy()
    b = torch.cat([scores2[name].flatten().cpu().double() for name in scores1]).numpy()
    if a.size < 2 or (a == a[0]).all() or (b == b[0]).all():
        return float("nan"), float("nan")
    return float(scipy.stats.spearmanr(a, b).statistic), float(scipy.stats.kendalltau(a, b).statistic)


def mask_distance(kept1: Mapping[str, "Tensor"], kept2: Mapping[str, "Tensor"]) -> float:
    """Share of channels whose fate differs: normalised Hamming distance (Early-Bird, EarlyBERT).

    Raises:
        ValueError: if the groups or their sizes differ, or there is no channel.
    """
    _same_groups(kept1, kept2)
    total = sum(mask.numel() for mask in kept1.values())
    if total == 0:
        raise ValueError("a mask needs at least one channel")
    return sum(int((kept1[name] != kept2[name]).sum()) for name in kept1) / total


def mask_jaccard(kept1: Mapping[str, "Tensor"], kept2: Mapping[str, "Tensor"]) -> float:
    """Mean over groups of ``|kept1 & kept2| / |kept1 | kept2|`` (OCSPruner); two empty groups count 1.

    Raises:
        ValueError: if the groups or their sizes differ, or there is no group.
    """
    _same_groups(kept1, kept2)
    if not kept1:
        raise ValueError("a mask needs at least one group")
    shares = []
    for name, mask in kept1.items():
        union = int((mask | kept2[name]).sum())
        shares.append(int((mask & kept2[name]).sum()) / union if union else 1.0)
    return sum(shares) / len(shares)


def _same_groups(first: Mapping[str, "Tensor"], second: Mapping[str, "Tensor"]) -> None:
    if first.keys() != second.keys():
        raise ValueError(f"groups differ: {sorted(first.keys() ^ second.keys())}")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            raise ValueError(f"group {name!r} has {tensor.numel()} and {second[name].numel()} channels")
