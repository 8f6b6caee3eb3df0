"""Pruning-aware training for any training loop: dense, then Algorithm 1 in one epoch, then sparse."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pat import rehearsal, schedule, surgery
from pat.channels import ChannelGroup, ChannelGroups, UnsupportedOperation, trace
from pat.criteria import CRITERIA, Criterion
from pat.loops.check import LoopCheck
from pat.loops.holding import Holding
from pat.loops.measured import Measured
from pat.loops.optimizers import Optimizers, Watched
from pat.loops.ranks import Ranks
from pat.loops.wrapping import bare, copies, distributed
from pat.policy import Policy, Seen
from pat.structure import channel_counts, kept_count, top_channels

Status = Literal["dense", "prune", "sparse"]
Adjust = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Scores ``[size]`` per group and what is kept of it (bool ``[size]``) in, the scores to rank by out."""


class LayerCollapse(RuntimeError):
    """Pruning left no path from the model's input to its output: the model is constant."""


@dataclass(frozen=True)
class EpochReport:
    """What happened in an epoch.

    Attributes:
        epoch: counted from 0.
        status: the epoch's phase.
        counts: the structure: after a dense epoch N_t of Algorithm 2 (one-shot, nothing is removed), after
            the pruning epoch what Algorithm 1 left; in sparse epochs None, but for the first after
            :meth:`PruningAwareTraining.adopt`.
        epi: EPI_t, None where undefined or where the policy has none.
        scores: after a dense epoch, per tracked criterion the scores ``[size]`` per group.
        skipped: minibatches left out of the scores because of non-finite gradients.
        unmeasured: layers that stayed whole because no gradient reached them.
    """

    epoch: int
    status: Status
    counts: dict[str, int] | None = None
    epi: float | None = None
    scores: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    skipped: int = 0
    unmeasured: tuple[str, ...] = ()


class PruningAwareTraining:
    """Watches a training loop, decides when to prune, prunes, and makes the model smaller (Algorithm 2).

    Call :meth:`step` after ``loss.backward()`` (and unscaling and clipping), :meth:`after_step` after
    ``optimizer.step()``, :meth:`end_epoch` at an epoch's end. In the epoch that the policy names,
    Algorithm 1 masks channels in S steps; at its end they are removed from the model and the optimizer.

    A channel goes only on a score that was measured: layers that are frozen at construction are no neurons,
    and those that no gradient reaches stay whole; a warning names both.

    Args:
        model: trained by the loop. ``DistributedDataParallel``, ``DataParallel`` and what ``torch.compile``
            returns are looked into. With the first all ranks decide alike, from the mean of their scores,
            and it is wrapped anew, in place, after the removal.
        optimizer: one or several over the model's parameters; those that wrap others (Lookahead, ...) are
            looked into, and one that the loop makes later joins when it first steps.
        example_input: a batch ``[N, C, H, W]`` on the model's device, to trace the model with.
        ratio: alpha, the share of neurons to remove, in [0, 1).
        steps_per_epoch: optimizer steps of one epoch.
        criterion: ``"gradient"`` (Eq. 3 on BatchNorm; over filter and bias where there is none),
            ``"magnitude"`` (Eq. 2), or another name in :data:`pat.criteria.CRITERIA`.
        policy: when to prune, see :mod:`pat.policy`.
        prune_steps: S of Algorithm 1; half of ``steps_per_epoch`` where that is less.
        count: what a neuron is. ``"filter"``: each layer's channel, so that a coupled channel of m layers
            counts m, and Eq. 5 runs over layers. ``"unit"``: a coupled channel counts once, and Eq. 5 runs
            over groups.
        min_channels: channels that every group keeps.
        keep_stem: leave the group of the convolution that reads the input out of the neurons F.
        exclude: qualified names of layers whose channels stay.
        extra_models: copies to be cut with the model, such as the ``module`` of an ``AveragedModel``.
        track: further criteria to report scores of after dense epochs.
        start_epoch: the first epoch of this loop, if the model comes from a dense run's checkpoint.
        adjust: changes the scores before each step of Algorithm 1 ranks by them, such as
            :class:`pat.latency.penalty.LatencyPenalty`. What EPI watches and what is reported stays the
            criterion's own: the paper applies the penalty "using our policy" (Sec. 4.3), so that both runs
            prune in the same epoch and differ by the penalty alone.
        linear: whether hidden units of Linear layers are neurons too, beside channels of convolutions; None:
            only in a network in which no convolution has channels that could go (a vision transformer).
        rehearse: try the removal out on copies before training, see :func:`pat.rehearsal.rehearse`.

    Attributes:
        status: ``"dense"``, ``"prune"`` or ``"sparse"``: the phase of the epoch that comes or runs.
        epoch: its number, counted from 0.
        optimizers: all that train the model, :class:`pat.loops.optimizers.Watched`.
        kept: bool ``[size]`` per group over the dense model's channels; all True until pruning begins.
        reports: one :class:`EpochReport` an epoch.

    Raises:
        ValueError: for a parameter out of range, a ratio that ``min_channels`` does not allow, an optimizer
            of another model, a sharded or scripted model, or an extra model that is no copy of it.
        UnsupportedOperation: if channels cannot be followed through the model, none could go, or a removal
            that is tried out changes the function.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizers,
        example_input: Tensor,
        *,
        ratio: float,
        steps_per_epoch: int,
        criterion: Criterion = "gradient",
        policy: Policy,
        prune_steps: int = 30,
        count: Literal["filter", "unit"] = "filter",
        min_channels: int = 1,
        keep_stem: bool = True,
        exclude: Collection[str] = (),
        extra_models: Iterable[nn.Module] = (),
        track: Iterable[Criterion] = (),
        start_epoch: int = 0,
        adjust: Adjust | None = None,
        linear: bool | None = None,
        rehearse: bool = True,
    ) -> None:
        if not 0 <= ratio < 1:
            raise ValueError(f"ratio must lie in [0, 1), got {ratio}")
        if steps_per_epoch < 1 or prune_steps < 1:
            raise ValueError(
                f"steps_per_epoch and prune_steps must be at least 1, got {steps_per_epoch}, {prune_steps}"
            )
        tracked = tuple(dict.fromkeys((criterion, *track)))
        for name in tracked:
            if name not in CRITERIA:
                raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {name!r}")
        if isinstance(policy, type) or not hasattr(policy, "prune_epoch"):
            raise ValueError(
                f"policy must be one of pat.policy (Never, AtEpoch, RandomEpoch, EPI, ...), got {policy!r}"
            )
        due = policy.prune_epoch
        if due is not None and due < start_epoch:
            raise ValueError(f"the policy prunes in epoch {due}, before start_epoch={start_epoch}")
        if count not in ("filter", "unit"):
            raise ValueError(f"count must be 'filter' or 'unit', got {count!r}")
        wrapped = distributed(model)
        self.model = model = bare(model)
        self._ranks, self.optimizers = Ranks(wrapped), Watched(model, optimizer)
        self.criterion: Criterion = criterion
        self.policy = policy
        self._tells_all = len(inspect.signature(policy.update).parameters) > 1  # one may ask for counts alone
        self.adjust = adjust
        self.groups = trace(model, example_input, exclude)
        self.extra_models = copies(extra_models, model, self.groups)
        self._holding = Holding(model, self.groups, self.optimizers, self.extra_models, wrapped)
        self._measured = Measured(model, _neurons(self.groups, keep_stem, linear))
        self.neurons = self._measured.neurons
        if rehearse:
            rehearsal.rehearse(model, example_input, self.groups, self.neurons)
        self.reports: list[EpochReport] = []
        self.status: Status = "dense"
        self.epoch = start_epoch
        self.kept = {name: torch.ones(g.size, dtype=torch.bool) for name, g in self.neurons.items()}
        self._multiplicity = {
            name: g.multiplicity if count == "filter" else 1 for name, g in self.neurons.items()
        }
        self._count = count
        self._min_channels = min_channels
        total = sum(g.size * self._multiplicity[name] for name, g in self.neurons.items())
        self._keep = kept_count(total, ratio)
        self._schedule = schedule.exponential(
            total, self._keep, schedule.prune_steps(prune_steps, steps_per_epoch)
        )
        self._prune_at = [
            (i + 1) * steps_per_epoch // len(self._schedule) for i in range(len(self._schedule))
        ]
        announced = {"steps_per_epoch": steps_per_epoch, "steps of Algorithm 1": len(self._schedule)}
        self._ranks.agree({**announced, "filters kept": self._keep, "epoch": start_epoch})
        self._tracked = tracked
        self._scorers = {name: CRITERIA[name].scorer(model, self.neurons) for name in tracked}
        self._loop = LoopCheck(self.optimizers, steps_per_epoch)
        self._iteration = self._steps_done = self._skipped = 0
        self._last_scores: dict[str, Tensor] = {}
        self._adopted: dict[str, int] | None = None
        self._top({name: torch.zeros(g.size) for name, g in self.neurons.items()}, self._keep)
        self._begin_epoch()

    def step(self) -> None:
        """Score this minibatch; in the pruning epoch, mask channels when a step of Algorithm 1 is due.

        Raises:
            RuntimeError: if there are no gradients.
            LayerCollapse: if masking cut the last path through the model.
        """
        if self.status == "sparse":
            return
        self._loop.step()
        for name in self._tracked if self.status == "dense" else (self.criterion,):
            if CRITERIA[name].reads_gradients:
                self._scorers[name].add()
        self._iteration += 1
        if self.status == "prune" and self._iteration in self._prune_at:
            self._prune(self._prune_at.index(self._iteration) + 1)

    def after_step(self) -> None:
        """Hold masked channels, and the optimizer's memory of them, at zero.

        Raises:
            ValueError: after the first step, if an optimizer's state could not be cut with the channels.
        """
        if self._loop.after_step():
            self._holding.check()
        self._holding.hold()

    def end_epoch(self, loss: float | None = None) -> EpochReport:
        """Close the epoch: scores to structure to EPI to policy; a pruning epoch ends with the removal.

        After the first epoch a loop that left calls out, or called them late, is warned.

        Args:
            loss: the epoch's mean training loss, for policies that watch it.

        Returns:
            The epoch's report, also appended to :attr:`reports`.

        Raises:
            NoScores: if an epoch had no minibatch with finite gradients to score.
            LayerCollapse: if masking cut the last path through the model.
        """
        if self.status != "sparse":
            self._loop.end_epoch()
        finish: dict[Status, Callable[[], EpochReport]] = {
            "dense": lambda: self._end_dense(loss),
            "prune": self._end_prune,
            "sparse": lambda: EpochReport(self.epoch, "sparse", self._adopted),
        }
        report = finish[self.status]()
        self._adopted = None
        if self.status == "prune":
            self.status = "sparse"
        self.reports.append(report)
        self.epoch += 1
        self._begin_epoch()
        return report

    def adopt(self, kept: Mapping[str, Tensor]) -> dict[str, int]:
        """Remove channels by a mask from elsewhere, before an epoch begins; the loop is sparse from then on.

        The lottery ticket: a mask that another run found, on this run's weights.

        Args:
            kept: bool ``[size]`` per group of the neurons F; absent groups stay whole.

        Returns:
            The structure that is left; the next epoch's report carries it as well.

        Raises:
            RuntimeError: in the middle of an epoch, or after pruning.
            LayerCollapse: if the mask leaves no path through the model.
            ValueError: for an unknown group or a mask of another size.
        """
        if self.status == "sparse" or self._iteration or self._steps_done:
            raise RuntimeError(
                f"a mask is adopted between two epochs before pruning, this is {self.status!r}"
            )
        whole = {name: kept.get(name, mask) for name, mask in self.kept.items()}
        if unknown := sorted(kept.keys() - whole.keys()):
            raise ValueError(f"{unknown[0]!r} is no group of the neurons; known are {', '.join(whole)}")
        if self.groups.collapsed(whole):
            raise LayerCollapse("the mask leaves no path of channels from the input to the output")
        self._holding.remove(whole)
        self.kept = whole
        self.status = "sparse"
        self._adopted = self._counts(whole)
        return self._adopted

    def _begin_epoch(self) -> None:
        self._iteration = self._skipped = 0
        self._reset()
        due = self.policy.prune_epoch
        if self.status == "dense" and due is not None and self.epoch >= due:
            self.status = "prune"

    def _end_dense(self, loss: float | None) -> EpochReport:
        scores = {name: self._scores(name) for name in self._tracked}
        best = self._top(self._measured.rank(scores[self.criterion]), self._keep)
        if self._measured.lost(self.kept, best):
            raise self._measured.refusal()
        self._holding.check()
        counts = self._counts(best)
        seen = Seen(scores[self.criterion], best, loss)
        epi = self.policy.update(counts, seen) if self._tells_all else self.policy.update(counts)
        skipped, layers = self._left_out(), self._measured.layers
        return EpochReport(self.epoch, "dense", counts, epi, scores, skipped, layers)

    def _end_prune(self) -> EpochReport:
        skipped = self._skipped + self._left_out()
        if self._steps_done < len(self._schedule):  # a shorter epoch than announced
            self._prune(len(self._schedule), last_chance=True)
        self._holding.remove(self.kept)
        self._last_scores = {}
        counts = self._counts(self.kept)
        return EpochReport(self.epoch, "prune", counts, skipped=skipped, unmeasured=self._measured.layers)

    def _prune(self, step: int, last_chance: bool = False) -> None:
        """Step ``step`` of Algorithm 1: rank what remains, mask the lowest.

        Without a finite minibatch since the last step the next one catches up; at the epoch's end the last
        step's scores serve.
        """
        scorer = self._scorers[self.criterion]
        unscored = CRITERIA[self.criterion].reads_gradients and scorer.minibatches == 0
        if unscored and not last_chance:
            return
        latest = self._last_scores if unscored and self._last_scores else self._scores(self.criterion)
        ranked = latest if self.adjust is None else self.adjust(latest, self.kept)
        if odd := [n for n, score in latest.items() if n not in ranked or ranked[n].shape != score.shape]:
            raise ValueError(f"adjust must give {latest[odd[0]].numel()} scores for group {odd[0]!r}")
        whole = self._measured.rank(ranked)
        scores = {name: torch.where(self.kept[name], whole[name], -torch.inf) for name in latest}
        if self._steps_done == 0:
            self._holding.check()
        best = self._top(scores, self._schedule[step - 1])
        if self._measured.lost(self.kept, best):
            if last_chance or step == len(self._schedule):
                raise self._measured.refusal()
            return  # a later step has measured more
        kept = {name: best[name] & mask for name, mask in self.kept.items()}
        collapsed = self.groups.collapsed(kept)
        if not collapsed:
            self.groups.check_pools(kept)
        self.kept = kept
        self._steps_done = step
        self._last_scores = latest
        self._skipped += self._left_out()
        self._reset()
        self._holding.mask(self.kept)
        if collapsed:
            raise LayerCollapse(
                f"after step {step} of {len(self._schedule)} no path of channels leads from the input to "
                "the output; a lower ratio or min_channels=1 avoids it"
            )

    def _scores(self, criterion: Criterion) -> dict[str, Tensor]:
        scorer, due = self._scorers[criterion], self.policy.prune_epoch
        if criterion == self.criterion:
            self._measured.update(scorer.unreached)
        moment = {"epoch": self.epoch, "step": self._iteration, "pruning epoch": -1 if due is None else due}
        return self._ranks.mean(scorer.mean(), moment)

    def _reset(self) -> None:
        for scorer in self._scorers.values():
            scorer.reset()

    def _left_out(self) -> int:
        """Minibatches that are in no score since the last reset."""
        return max(scorer.skipped for scorer in self._scorers.values())

    def _top(self, scores: Mapping[str, Tensor], keep: int) -> dict[str, Tensor]:
        return top_channels(scores, keep, self._multiplicity, self._min_channels)

    def _counts(self, kept: Mapping[str, Tensor]) -> dict[str, int]:
        return channel_counts(kept, self.neurons if self._count == "filter" else None)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, in any phase, as tensors and plain values.

        Save it beside the model's and the optimizer's.
        """
        return {
            "settings": self._settings(),
            "status": self.status,
            "epoch": self.epoch,
            "iteration": self._iteration,
            "steps_done": self._steps_done,
            "skipped": self._skipped,
            "last_scores": {name: score.clone() for name, score in self._last_scores.items()},
            "kept": {name: mask.clone() for name, mask in self.kept.items()},
            **{CRITERIA[name].state: scorer.state_dict() for name, scorer in self._scorers.items()},
            "policy": self.policy.state_dict(),
            "sizes": surgery.sizes(self.model) if self.status == "sparse" else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, on a freshly built dense model and optimizer.

        Shrinks the model (and the extra models) if they were pruned; load their weights and the
        optimizer's state after this call.

        Raises:
            ValueError: if the state belongs to other settings or another model.
        """
        if state["settings"] != self._settings():
            raise ValueError(f"the state was saved with {state['settings']}, this is {self._settings()}")
        self.status, self.epoch = state["status"], state["epoch"]
        self._iteration, self._steps_done = state["iteration"], state["steps_done"]
        self._skipped = state["skipped"]
        self._last_scores = {name: score.clone() for name, score in state["last_scores"].items()}
        self.kept = {name: mask.clone() for name, mask in state["kept"].items()}
        for name, scorer in self._scorers.items():
            scorer.load_state_dict(state.get(CRITERIA[name].state, {}))
        self.policy.load_state_dict(state["policy"])
        self._loop.close()
        self._holding.release()
        if self.status == "sparse":
            for model in (self.model, *self.extra_models):
                surgery.resize(model, state["sizes"])
        elif self.status == "prune" and self._steps_done:
            self._holding.mask(self.kept)

    def _settings(self) -> dict[str, Any]:
        return {
            "criterion": self.criterion,
            "count": self._count,
            "keep": self._keep,
            "schedule": self._schedule,
            "prune_at": self._prune_at,
            "min_channels": self._min_channels,
            "policy": self.policy.settings(),
            "groups": {name: group.size for name, group in self.neurons.items()},
        }


def _neurons(groups: ChannelGroups, keep_stem: bool, linear: bool | None) -> dict[str, ChannelGroup]:
    neurons = groups.neurons(keep_stem, linear)
    if not neurons:
        raise UnsupportedOperation(f"the model has no convolution whose channels could be pruned: {groups!r}")
    return neurons
