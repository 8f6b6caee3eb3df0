"""Algorithm 2's loop: train by a recipe, prune when the policy says so, keep checkpoints, go on from one."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pat import cost
from pat.importance import NoScores
from pat.methods import Pruner
from pat.pruner import EpochReport, LayerCollapse
from pat.training.data import ImageDataset
from pat.training.data.draws import generator_for
from pat.training.data.manifest import SplitName
from pat.training.epoch import Epoch
from pat.training.ranks import ALONE, Ranks
from pat.training.recipe import Recipe
from pat.training.step import Capture, Step
from pat.training.tracking import StabilityTracker

_STEPS_BETWEEN_CHECKS = 100  # reading the loss waits for the device


class TrainingFailed(RuntimeError):
    """Training cannot go on (a loss or weights that are not finite); the message is the reason."""


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        status: ``"done"`` or ``"collapsed"`` (the masked model is then constant).
        reason: why, if collapsed.
        test_loss, test_accuracy, validation_accuracy: of the last epoch's model, accuracies in percent.
        dense, final: cost of the model at the start and at the end.
        prune_epoch: when Algorithm 1 ran, or None.
    """

    status: str
    reason: str | None
    test_loss: float
    test_accuracy: float
    validation_accuracy: float
    dense: cost.Cost
    final: cost.Cost
    prune_epoch: int | None


@dataclass
class Trainer:
    """Trains one model on one data set.

    Args:
        model: the network, on its device.
        dataset: on the same device.
        recipe: how to train.
        make_pruner: builds the pruner over the model and the recipe's optimizer.
        make_tracker: builds the tracker over the pruner's neurons, or None.
        seed: of data order, augmentation and dropout.
        start_epoch: first epoch of this trainer (a branch of a dense run starts later).
        on_epoch: told every finished epoch.
        on_step: told (epoch, step, steps of the epoch) after every minibatch.
        capture: makes graphs of forward and backward passes, see :class:`~pat.training.step.Step`; None for
            the plain passes.
        ranks: the processes that train it together; every one has a trainer of equal settings, and all end
            alike.
    """

    model: nn.Module
    dataset: ImageDataset
    recipe: Recipe
    make_pruner: Callable[[nn.Module, torch.optim.Optimizer, Tensor, int], Pruner]
    make_tracker: Callable[[Pruner], StabilityTracker] | None
    seed: int
    start_epoch: int = 0
    on_epoch: Callable[[Epoch], None] = lambda log: None
    on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None
    capture: Capture | None = None
    ranks: Ranks = ALONE
    history: list[Epoch] = field(default_factory=list)
    scores: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recipe, data = self.recipe, self.dataset
        self.device = data.device
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = recipe.build_optimizer(self.model)
        shape = (2, data.in_channels, data.image_size, data.image_size)
        self.example = torch.zeros(shape, device=self.device)
        self.dense_cost = cost.measure(self.model, self.example)
        self._steps_per_epoch = data.steps_per_epoch(recipe.batch_size, recipe.slices)
        called = self.ranks.wrap(self.model)
        self.pruner = self.make_pruner(called, self.optimizer, self.example, self._steps_per_epoch)
        self.tracker = self.make_tracker(self.pruner) if self.make_tracker else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.step = Step(called, recipe, self.scaler, self.device, self.capture)
        self.next_epoch = self.start_epoch

    def train(
        self,
        *,
        until: int | None = None,
        after_epoch: Callable[["Trainer"], None] = lambda trainer: None,
    ) -> Outcome | None:
        """Train to the end.

        Args:
            until: stop before this epoch and return None.
            after_epoch: called with the trainer after every epoch, to keep a checkpoint.

        Raises:
            TrainingFailed: if the loss or a weight is not finite; in the end also the loss on the test split.
        """
        reason = None
        stop = self.recipe.epochs if until is None else until
        while self.next_epoch < stop:
            try:
                self._epoch(self.next_epoch)
            except LayerCollapse as collapse:
                reason = str(collapse)
                break
            self.next_epoch += 1
            after_epoch(self)
        if until is not None and reason is None:
            return None
        test_loss, test_accuracy = self.evaluate("test")
        if not math.isfinite(test_loss):  # of outputs that are no numbers, no class is the largest
            raise TrainingFailed(f"the loss on the test images is {test_loss} after the last epoch")
        if reason is None and self.recipe.validation_images is None:  # measured after the last epoch
            validation_accuracy = self.history[-1].validation_accuracy
        else:
            _, validation_accuracy = self.evaluate("validation")
        return Outcome(
            status="done" if reason is None else "collapsed",
            reason=reason,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            validation_accuracy=validation_accuracy,
            dense=self.dense_cost,
            final=cost.measure(self.model, self.example),
            prune_epoch=self._pruned_in(),
        )

    def _pruned_in(self) -> int | None:
        epochs = [log.epoch for log in self.history if log.phase == "prune"]
        if self.pruner.status == "prune":  # collapsed on the way
            epochs.append(self.next_epoch)
        return epochs[0] if epochs else None

    def _epoch(self, epoch: int) -> None:
        begin = time.perf_counter()
        rate = self.recipe.rate(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss, accuracy = self._steps(epoch)
            report = self.pruner.end_epoch(loss)
            tracked = self._track(report)
        except NoScores as error:
            raise TrainingFailed(f"epoch {epoch}: {error}") from error
        except (ValueError, RuntimeError) as error:
            # Weights are ranked before the loss that they give is seen.
            if isinstance(error, TrainingFailed) or self._finite():
                raise
            raise TrainingFailed(
                f"weights are not finite in epoch {epoch}, at learning rate {rate:g}: {error}"
            ) from error
        if not self._finite():  # spoiled by the last step, whose loss was still finite
            raise TrainingFailed(f"weights are not finite after epoch {epoch}, at learning rate {rate:g}")
        validation_loss, validation_accuracy = self.evaluate("validation", self.recipe.validation_images)
        log = Epoch(
            epoch=epoch,
            phase=report.status,
            loss=loss,
            accuracy=accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - begin,
            skipped=report.skipped,
            epi=report.epi,
            structure=None if report.status == "dense" else report.counts,
            tracked=tracked,
            macs=self._macs_left(report),
        )
        self.history.append(log)
        self.on_epoch(log)

    def _macs_left(self, report: EpochReport) -> int | None:
        """What an image costs after a removal that may not be the last."""
        if report.status != "prune" or self.pruner.status == "sparse":
            return None
        return cost.measure(self.model, self.example).macs

    def _finite(self) -> bool:
        each = [parameter.isfinite().all() for parameter in self.model.parameters()]
        return bool(torch.stack(each).all())  # one answer to wait for

    def _steps(self, epoch: int) -> tuple[float, float]:
        """The minibatches of one epoch; mean loss and accuracy in percent."""
        recipe, data = self.recipe, self.dataset
        steps = self._steps_per_epoch
        totals, seen = self.step.totals, 0
        self.step.begin_epoch()
        self.model.train()
        batches = data.train_batches(
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
            augment=recipe.augment,
            slices=recipe.slices,
            share=self.ranks.share,
        )
        for step, (images, labels) in enumerate(batches):
            # Draws inside the model are a function of (seed, epoch, step), so that a branch repeats them;
            # (seed, epoch, 0) would be the stream of (seed, epoch), which orders the data.
            self._reseed(generator_for(self.seed, epoch, step + 1).initial_seed())
            self.step(images, labels)
            self.scaler.unscale_(self.optimizer)
            self.pruner.step()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.pruner.after_step()
            seen += len(labels)
            last = step + 1 == steps
            if last or (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
                loss = float(self.ranks.total(totals[0]))
                if not math.isfinite(loss):
                    raise TrainingFailed(
                        f"the loss is {loss} in epoch {epoch}, within steps up to {step + 1} "
                        f"of {steps}, at learning rate {self.recipe.rate(epoch):g}"
                    )
            self.on_step(epoch, step + 1, steps)
        return self._means(totals, seen)

    def _means(self, totals: Tensor, images: int) -> tuple[float, float]:
        """Mean loss and accuracy in percent, from every rank's sums over its images."""
        sums = self.ranks.total(torch.cat([totals, totals.new_tensor([images])]))
        loss_sum, correct_sum, seen = sums.tolist()
        return loss_sum / seen, 100 * correct_sum / seen

    def _reseed(self, seed: int) -> None:
        """``torch.manual_seed`` for this device: noting it for all others takes longer than a layer."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _track(self, report: EpochReport) -> dict[str, Any] | None:
        if not report.scores:
            return None
        for criterion, groups in report.scores.items():
            self.scores.setdefault(criterion, []).append(torch.cat(list(groups.values())))
        return self.tracker.update(report.scores) if self.tracker else None

    @torch.no_grad()
    def evaluate(self, split: SplitName, images: int | None = None) -> tuple[float, float]:
        """Mean cross-entropy (without smoothing) and accuracy in percent over a split or part of it."""
        self.ranks.agree_on_buffers(self.model)
        self.model.eval()
        totals = torch.zeros(2, device=self.device, dtype=torch.float64)
        size = 0
        batches = self.dataset.eval_batches(split, batch_size=500, images=images, share=self.ranks.share)
        for pictures, labels in batches:
            size += len(labels)
            with self.step.autocast():
                output = self.model(self.step.arranged(pictures))
            loss = F.cross_entropy(output.float(), labels, reduction="sum")
            correct = (output.argmax(1) == labels).sum()
            totals += torch.stack([loss.double(), correct.double()])
        return self._means(totals, size)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a run needs to go on after its last finished epoch."""
        return {
            "next_epoch": self.next_epoch,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "pruner": self.pruner.state_dict(),
            "tracker": self.tracker.state_dict() if self.tracker else None,
            "history": [log.model_dump() for log in self.history],
            "scores": self.scores,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with a run of the same settings."""
        self.pruner.load_state_dict(state["pruner"])
        self.load_weights(state)
        if self.tracker:
            self.tracker.load_state_dict(state["tracker"])
        self.history = [Epoch(**log) for log in state["history"]]
        self.scores = {name: list(rows) for name, rows in state["scores"].items()}
        self.next_epoch = state["next_epoch"]

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Start from another run's weights and optimizer (a branch from a dense run's checkpoint)."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
