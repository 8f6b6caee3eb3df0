"""Pruning-aware training for any training loop: dense, then Algorithm 1 in one epoch, then sparse."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pat import schedule, surgery
from pat.channels import rehearsal, trace
from pat.criteria import Criterion
from pat.loops.arguments import Adjust, adjusted, check, neurons
from pat.loops.check import LoopCheck
from pat.loops.counting import Count, Counting
from pat.loops.holding import Holding
from pat.loops.measured import Measured
from pat.loops.optimizers import Optimizers, Watched
from pat.loops.ranks import Ranks
from pat.loops.report import EpochReport, LayerCollapse, Status
from pat.loops.scoring import Scoring
from pat.loops.wrapping import bare, copies, distributed
from pat.policy import Policy, Seen

__all__ = ["Adjust", "EpochReport", "LayerCollapse", "PruningAwareTraining", "Status"]


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
        example_input: a batch ``[N, C, H, W]`` on the model's device, or a tuple of its train-mode arguments.
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
        round_to: what is left of each group is a multiple of so many channels, or all of it, see
            :func:`pat.structure.rounded_channels`; what EPI watches stays exact. 1: exact counts.
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
        rehearse: try the removal out on copies before training, see :func:`pat.channels.rehearsal.rehearse`.

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
        example_input: Tensor | tuple[Any, ...],
        *,
        ratio: float,
        steps_per_epoch: int,
        criterion: Criterion = "gradient",
        policy: Policy,
        prune_steps: int = 30,
        count: Count = "filter",
        min_channels: int = 1,
        round_to: int = 1,
        keep_stem: bool = True,
        exclude: Collection[str] = (),
        extra_models: Iterable[nn.Module] = (),
        track: Iterable[Criterion] = (),
        start_epoch: int = 0,
        adjust: Adjust | None = None,
        linear: bool | None = None,
        rehearse: bool = True,
    ) -> None:
        track = tuple(track)
        check(ratio, steps_per_epoch, prune_steps, (criterion, *track), policy, start_epoch)
        wrapped = distributed(model)
        self.model = model = bare(model)
        self.optimizers = Watched(model, optimizer)
        self.criterion: Criterion = criterion
        self.policy = policy
        self._tells_all = len(inspect.signature(policy.update).parameters) > 1  # one may ask for counts alone
        self.adjust = adjust
        self.groups = trace(model, example_input, exclude)
        self.extra_models = copies(extra_models, model, self.groups)
        self._holding = Holding(model, self.groups, self.optimizers, self.extra_models, wrapped)
        self._measured = Measured(model, neurons(self.groups, keep_stem, linear))
        self.neurons = self._measured.neurons
        if rehearse:
            rehearsal.rehearse(model, example_input, self.groups, self.neurons)
        self.reports: list[EpochReport] = []
        self.status: Status = "dense"
        self.epoch = start_epoch
        self.kept = {name: torch.ones(g.size, dtype=torch.bool) for name, g in self.neurons.items()}
        self._counting = Counting(self.neurons, count, min_channels, ratio, round_to)
        keep, steps = self._counting.keep, schedule.prune_steps(prune_steps, steps_per_epoch)
        self._schedule = schedule.exponential(self._counting.total, keep, steps)
        self._prune_at = schedule.moments(len(self._schedule), steps_per_epoch)
        announced = {"steps_per_epoch": steps_per_epoch, "steps of Algorithm 1": steps, "round_to": round_to}
        ranks = Ranks(wrapped)
        ranks.agree({**announced, "neurons kept": keep, "epoch": start_epoch})
        self._scoring = Scoring(model, self._measured, ranks, criterion, track)
        self._loop = LoopCheck(self.optimizers, steps_per_epoch)
        self._iteration = self._steps_done = self._skipped = 0
        self._last_scores: dict[str, Tensor] = {}
        self._adopted: dict[str, int] | None = None
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
        self._scoring.read(others=self.status == "dense")
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
        self._adopted = self._counting.structure(whole)
        return self._adopted

    def _begin_epoch(self) -> None:
        self._iteration = self._skipped = 0
        self._scoring.reset()
        due = self.policy.prune_epoch
        if self.status == "dense" and due is not None and self.epoch >= due:
            self.status = "prune"

    def _end_dense(self, loss: float | None) -> EpochReport:
        scores = self._scoring.all(self._moment)
        best = self._counting.top(self._measured.rank(scores[self.criterion]), self._counting.keep)
        if self._measured.lost(self.kept, best):
            raise self._measured.refusal()
        self._holding.check()
        counts = self._counting.structure(best)
        seen = Seen(scores[self.criterion], best, loss)
        epi = self.policy.update(counts, seen) if self._tells_all else self.policy.update(counts)
        skipped, layers = self._scoring.skipped, self._measured.layers
        return EpochReport(self.epoch, "dense", counts, epi, scores, skipped, layers)

    def _end_prune(self) -> EpochReport:
        skipped = self._skipped + self._scoring.skipped
        if self._steps_done < len(self._schedule):  # a shorter epoch than announced
            self._prune(len(self._schedule), last_chance=True)
        self._holding.remove(self.kept)
        self._last_scores = {}
        counts, layers = self._counting.structure(self.kept), self._measured.layers
        wanted, left = self._counting.keep, self._counting.neurons(self.kept)
        return EpochReport(
            self.epoch, "prune", counts, skipped=skipped, unmeasured=layers, wanted=wanted, left=left
        )

    def _prune(self, step: int, last_chance: bool = False) -> None:
        """Step ``step`` of Algorithm 1: rank what remains, mask the lowest.

        Without a finite minibatch since the last step the next one catches up; at the epoch's end the last
        step's scores serve.
        """
        unscored = self._scoring.waiting
        if unscored and not last_chance:
            return
        latest = (self._last_scores if unscored else None) or self._scoring.own(self._moment)
        whole = self._measured.rank(adjusted(self.adjust, latest, self.kept))
        scores = {name: torch.where(self.kept[name], whole[name], -torch.inf) for name in latest}
        if self._steps_done == 0:
            self._holding.check()
        last = step == len(self._schedule)
        best = self._counting.left(scores, self._schedule[step - 1], last=last)
        if self._measured.lost(self.kept, best):
            if last_chance or last:
                raise self._measured.refusal()
            return  # a later step has measured more
        kept = {name: best[name] & mask for name, mask in self.kept.items()}
        collapsed = self.groups.collapsed(kept)
        if not collapsed:
            self.groups.check_pools(kept)
        self.kept = kept
        self._steps_done = step
        self._last_scores = latest
        self._skipped += self._scoring.skipped
        self._scoring.reset()
        self._holding.mask(self.kept)
        if collapsed:
            raise LayerCollapse.after(step, len(self._schedule))

    @property
    def _moment(self) -> dict[str, int]:
        due = self.policy.prune_epoch
        return {"epoch": self.epoch, "step": self._iteration, "pruning epoch": -1 if due is None else due}

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
            **self._scoring.state_dict(),
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
        self._scoring.load_state_dict(state)
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
            "schedule": self._schedule,
            "prune_at": self._prune_at,
            **self._counting.settings(),
            "policy": self.policy.settings(),
            "groups": {name: group.size for name, group in self.neurons.items()},
        }
