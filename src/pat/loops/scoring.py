"""Scores of the criteria that a loop follows: over minibatches, the same on all ranks."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from pat.criteria import CRITERIA, Criterion
from pat.loops.measured import Measured
from pat.loops.ranks import Ranks


class Scoring:
    """The scorers of several criteria, from one :meth:`reset` to the next.

    Args:
        model: the network.
        measured: its neurons; told which of them nothing measured.
        ranks: that share their scores.
        criterion: the one to prune by.
        track: others to follow beside it.
    """

    def __init__(
        self,
        model: nn.Module,
        measured: Measured,
        ranks: Ranks,
        criterion: Criterion,
        track: Iterable[Criterion],
    ) -> None:
        self._measured, self._ranks, self._criterion = measured, ranks, criterion
        self._scorers = {
            name: CRITERIA[name].scorer(model, measured.neurons)
            for name in dict.fromkeys((criterion, *track))
        }

    def read(self, *, others: bool) -> None:
        """Take the gradients of a minibatch: for the criterion to prune by, and for the others as well."""
        for name in self._scorers if others else (self._criterion,):
            if CRITERIA[name].reads_gradients:
                self._scorers[name].add()

    @property
    def waiting(self) -> bool:
        """Whether the criterion to prune by has read no finite minibatch yet."""
        return CRITERIA[self._criterion].reads_gradients and self._scorers[self._criterion].minibatches == 0

    def own(self, moment: Mapping[str, int]) -> dict[str, Tensor]:
        """Scores ``[size]`` by group of the criterion to prune by; see :meth:`Ranks.mean` for the moment.

        Raises:
            NoScores: if no finite minibatch was read.
            RuntimeError: if the ranks are not at the same moment.
        """
        return self._scores(self._criterion, moment)

    def all(self, moment: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
        """The same by criterion."""
        return {name: self._scores(name, moment) for name in self._scorers}

    def _scores(self, criterion: Criterion, moment: Mapping[str, int]) -> dict[str, Tensor]:
        scorer = self._scorers[criterion]
        if criterion == self._criterion:
            self._measured.update(scorer.unreached)
        return self._ranks.mean(scorer.mean(), moment)

    @property
    def skipped(self) -> int:
        """Minibatches that are in no score since the last reset."""
        return max(scorer.skipped for scorer in self._scorers.values())

    def reset(self) -> None:
        """Begin anew."""
        for scorer in self._scorers.values():
            scorer.reset()

    def state_dict(self) -> dict[str, Any]:
        """Each scorer's state under its criterion's name for it."""
        return {CRITERIA[name].state: scorer.state_dict() for name, scorer in self._scorers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, which may have other entries."""
        for name, scorer in self._scorers.items():
            scorer.load_state_dict(state.get(CRITERIA[name].state, {}))
