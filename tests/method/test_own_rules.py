"""Criteria and policies of one's own in the pruner: what they are asked, and going on from any point."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Plain
from torch import Tensor, nn

from pat import PruningAwareTraining
from pat.channels import ChannelGroup
from pat.criteria import CRITERIA, Importance
from pat.loops import arguments, scoring
from pat.policy import AtEpoch, Never, Policy, Seen, Trigger
from pat.registry import Registry
from pat.stability import Structure, mask_distance

STEPS = 4


class Steepness:
    """The summed absolute gradient of a group's filters; every call is noted."""

    skipped = 0
    unreached: frozenset[str] = frozenset()

    def __init__(self, model: nn.Module, groups: Mapping[str, ChannelGroup]) -> None:
        self._model, self._groups = model, groups
        self.added: list[int] = []
        self.reset()

    def add(self) -> None:
        for name, group in self._groups.items():
            grads = [self._model.get_parameter(f"{m.layer}.weight").grad for m in group.members]
            self._sums[name] = self._sums[name] + sum(
                g.abs().flatten(1).sum(1) for g in grads if g is not None
            )
        self.minibatches += 1
        self.added.append(self.minibatches)

    def mean(self) -> dict[str, Tensor]:
        return {name: total / self.minibatches for name, total in self._sums.items()}

    def reset(self) -> None:
        self.minibatches = 0
        self._sums = {name: torch.zeros(group.size) for name, group in self._groups.items()}

    def state_dict(self) -> dict[str, Tensor]:
        return {**self._sums, "": torch.tensor(self.minibatches)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state:
            self._sums = {name: state[name].clone() for name in self._groups}
            self.minibatches = int(state[""])


@pytest.fixture
def steepness(monkeypatch: pytest.MonkeyPatch) -> list[Steepness]:
    """The criterion's scorers that were made, in a registry that ends with the test."""
    made: list[Steepness] = []

    def scorer(model: nn.Module, groups: Mapping[str, ChannelGroup]) -> Steepness:
        made.append(Steepness(model, groups))
        return made[-1]

    registry: Registry[Importance] = Registry("criterion")
    for known in CRITERIA.values():
        registry.register(known)
    registry.register(Importance("steepness", "this test", scorer))
    for module in (arguments, scoring):
        monkeypatch.setattr(module, "CRITERIA", registry)
    return made


class Loop:
    def __init__(self, policy: Policy, **settings: Any) -> None:
        torch.manual_seed(0)
        self.model = Plain()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05, momentum=0.9)
        self.pat = PruningAwareTraining(
            self.model, self.optimizer, torch.zeros(2, 1, 8, 8), ratio=0.5, steps_per_epoch=STEPS,
            policy=policy, **settings,
        )  # fmt: skip

    def steps(self, steps: range) -> None:
        for step in steps:
            generator = torch.Generator().manual_seed(100 * self.pat.epoch + step)
            y = torch.randint(10, (16,), generator=generator)
            x = torch.randn(16, 1, 8, 8, generator=generator)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.pat.step()
            self.optimizer.step()
            self.pat.after_step()

    def epochs(self, count: int, loss: float | None = None) -> "Loop":
        for _ in range(count):
            self.steps(range(STEPS))
            self.pat.end_epoch(loss)
        return self


def test_a_criterion_that_reads_gradients_sees_each_minibatch_once(steepness: list[Steepness]) -> None:
    loop = Loop(AtEpoch(1), criterion="steepness", prune_steps=2).epochs(3)
    assert steepness[0].added == [1, 2, 3, 4, 1, 2, 1, 2]  # an epoch, then anew after each of two steps
    assert loop.pat.reports[0].scores.keys() == {"steepness"}
    assert sum(int(mask.sum()) for mask in loop.pat.kept.values()) < 32


def test_one_that_is_only_followed_sees_the_dense_epochs(steepness: list[Steepness]) -> None:
    loop = Loop(AtEpoch(1), criterion="magnitude", track=["steepness"]).epochs(3)
    assert steepness[0].added == [1, 2, 3, 4]
    assert loop.pat.reports[0].scores.keys() == {"magnitude", "steepness"}


@pytest.mark.parametrize("epochs", [0, 1])
def test_its_sums_are_in_the_state(epochs: int, steepness: list[Steepness]) -> None:
    whole, begun, goes_on = (Loop(AtEpoch(1), criterion="steepness") for _ in range(3))
    whole.epochs(2)
    begun.epochs(epochs).steps(range(3))
    goes_on.pat.load_state_dict(begun.pat.state_dict())
    goes_on.model.load_state_dict(begun.model.state_dict())
    goes_on.optimizer.load_state_dict(begun.optimizer.state_dict())
    goes_on.steps(range(3, STEPS))
    goes_on.pat.end_epoch()
    goes_on.epochs(1 - epochs)
    assert all(torch.equal(mask, goes_on.pat.kept[name]) for name, mask in whole.pat.kept.items())
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, goes_on.model.state_dict()[name]), name


@dataclass(frozen=True)
class Settled(Trigger):
    """The mask moves by at most a share between two epochs."""

    kind = "settled"
    title = "settled"
    source = "this test"

    share: float = 1.0
    past: list[Mapping[str, Tensor]] = field(init=False, repr=False, compare=False, default_factory=list)

    def signal(self, counts: Structure, seen: Seen | None) -> float | None:
        assert seen is not None
        self.past.append(seen.kept)
        return mask_distance(self.past[-1], self.past[-2]) if len(self.past) > 1 else None

    def fires(self, value: float) -> bool:
        return value <= self.share

    def memory(self) -> dict[str, Any]:
        return {"past": self.past[-1:]}

    def remember(self, state: Mapping[str, Any]) -> None:
        self.past[:] = state["past"]


def test_a_trigger_is_told_masks_and_prunes_in_the_epoch_after() -> None:
    loop = Loop(Settled()).epochs(4)
    assert [report.status for report in loop.pat.reports] == ["dense", "dense", "prune", "sparse"]
    assert loop.pat.reports[0].epi is None
    assert loop.pat.reports[1].epi is not None


def test_a_trigger_remembers_in_its_state() -> None:
    whole, begun, goes_on = Settled(), Settled(), Settled()
    masks = [torch.tensor([True, True, False, False]), torch.tensor([False, False, True, True])]
    for epoch in range(2):
        seen = Seen({}, {"a": masks[epoch]})
        whole.update([2], seen)
        if epoch == 0:
            begun.update([2], seen)
            goes_on.load_state_dict(begun.state_dict())
            goes_on.update([2], Seen({}, {"a": masks[1]}))
    assert whole.values == goes_on.values == [None, 1.0]
    assert whole.prune_epoch == goes_on.prune_epoch == 2


def test_a_trigger_stays_and_a_fallback_may_come_first() -> None:
    never, early = Settled(share=-1.0, fallback=3), Settled(fallback=1)
    for policy in (never, early):
        for _ in range(4):
            policy.update([1], Seen({}, {"a": torch.tensor([True])}))
    assert (never.trigger_epoch, never.prune_epoch) == (None, 3)
    assert (early.trigger_epoch, early.prune_epoch) == (1, 1)
    with pytest.raises(ValueError, match="fallback must not be negative"):
        Settled(fallback=-1)


def test_the_loss_is_told_where_the_loop_tells_it() -> None:
    told: list[float | None] = []

    class Listening(Never):
        def update(self, counts: Structure, seen: Seen | None = None) -> float | None:
            assert seen is not None
            told.append(seen.loss)
            return None

    Loop(Listening()).epochs(1, loss=2.5).epochs(1)
    assert told == [2.5, None]
