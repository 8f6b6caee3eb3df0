"""The pruner in a training loop: when, how many, what stays zero, and going on from any point."""

import copy
import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Plain, assert_unchanged, build, difference, snapshot
from torch import Tensor, nn

from pat import LayerCollapse, PruningAwareTraining, UnsupportedOperation, surgery
from pat.channels import trace
from pat.importance import magnitude, magnitude_scores
from pat.policy import EPI, AtEpoch, Never, Policy, RandomEpoch
from pat.schedule import exponential
from pat.structure import channel_counts, kept_count, top_channels

torch.set_num_threads(1)

STEPS = 6
EXAMPLE = torch.zeros(2, 1, 8, 8)


def batch(epoch: int, step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 * epoch + step)
    y = torch.randint(10, (16,), generator=generator)
    return torch.randn(16, 1, 8, 8, generator=generator) + y[:, None, None, None] / 5, y


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), 1e-2),
}


class Loop:
    """A plain training loop around the pruner."""

    def __init__(self, optimizer: str = "sgd", seed: int = 0, **settings: Any) -> None:
        torch.manual_seed(seed)
        # SiLU: where ReLU's gradient at 0 is 0, its is not, so that masked shifts would move if not held.
        self.model = Plain(activation=F.silu)
        self.optimizer = OPTIMIZERS[optimizer](self.model)
        defaults = {"ratio": 0.5, "steps_per_epoch": STEPS, "policy": AtEpoch(1)}
        self.pat = PruningAwareTraining(self.model, self.optimizer, EXAMPLE, **(defaults | settings))
        self.losses: list[float] = []

    def steps(self, steps: range, check: Callable[[], None] = lambda: None) -> None:
        for step in steps:
            x, y = batch(self.pat.epoch, step)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.pat.step()
            self.optimizer.step()
            self.pat.after_step()
            self.losses.append(loss.item())
            check()

    def epochs(self, count: int, steps: int = STEPS) -> "Loop":
        for _ in range(count):
            self.steps(range(steps))
            self.pat.end_epoch()
        return self

    def sizes(self) -> dict[str, int]:
        return {n: m.out_channels for n, m in self.model.named_modules() if isinstance(m, nn.Conv2d)}


# Plain's neurons without the stem: conv2 and conv3 together (16 units, 32 filters), conv4 (16).
@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
@pytest.mark.parametrize("count", ["filter", "unit"])
@pytest.mark.parametrize("keep_stem", [True, False])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.8])
def test_the_asked_number_goes(criterion: str, count: str, keep_stem: bool, ratio: float) -> None:
    loop = Loop(criterion=criterion, count=count, keep_stem=keep_stem, ratio=ratio).epochs(3)
    sizes = loop.sizes()
    assert [r.status for r in loop.pat.reports] == ["dense", "prune", "sparse"]
    if keep_stem:
        assert sizes["conv1"] == 8
    stem = 0 if keep_stem else 8
    left = {
        "unit": sizes["conv2"] + sizes["conv4"] + (0 if keep_stem else sizes["conv1"]),
        "filter": 2 * sizes["conv2"] + sizes["conv4"] + (0 if keep_stem else sizes["conv1"]),
    }[count]
    total = {"unit": 32, "filter": 48}[count] + stem
    short = kept_count(total, ratio) - left
    assert short == 0 if count == "unit" else short in (0, 1)  # a unit of two filters goes whole
    counts = loop.pat.reports[1].counts
    assert counts is not None
    if count == "filter":
        assert counts == {n: sizes[n] for n in counts}
        assert list(counts) == (["conv2", "conv3", "conv4"] if keep_stem else list(sizes))
    else:
        assert counts == {n: sizes[n] for n in counts}
        assert list(counts) == (["conv2", "conv4"] if keep_stem else ["conv1", "conv2", "conv4"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
def test_masked_channels_and_their_momentum_are_zero_after_every_step(optimizer: str, criterion: str) -> None:
    loop = Loop(optimizer, criterion=criterion, policy=AtEpoch(0), keep_stem=False)
    checks = 0

    def check() -> None:
        nonlocal checks
        gone = {n: ~mask for n, mask in loop.pat.kept.items()}
        for layer, group in {"conv1": "conv1", "conv2": "conv2", "conv3": "conv2", "conv4": "conv4"}.items():
            norm = layer.replace("conv", "bn")
            names = [f"{layer}.weight", f"{norm}.weight", f"{norm}.bias", f"{layer}.bias"]
            for name, p in loop.model.named_parameters():
                if name not in names:
                    continue
                state = [v for v in loop.optimizer.state[p].values() if v.shape == p.shape]
                assert state
                for tensor in (p, *state):
                    assert not tensor[gone[group]].any(), name
                    assert tensor[~gone[group]].any() or not (~gone[group]).any()
                checks += int(gone[group].any())

    loop.steps(range(STEPS), check)
    assert checks > 20
    loop.pat.end_epoch()
    assert loop.losses[-1] < 10


def test_algorithm_1s_schedule_is_followed() -> None:
    loop = Loop(policy=AtEpoch(0), steps_per_epoch=12, prune_steps=4, count="unit", ratio=0.75)
    left: list[int] = []
    masks: list[dict[str, Tensor]] = []

    def check() -> None:
        masks.append({n: m.clone() for n, m in loop.pat.kept.items()})
        left.append(sum(int(m.sum()) for m in loop.pat.kept.values()))

    loop.steps(range(12), check)
    schedule = exponential(32, 8, 4)
    assert schedule == [23, 16, 11, 8]
    # The iterations are spread over the steps: every third minibatch one step, the last at the end.
    assert left == [32, 32, 23, 23, 23, 16, 16, 16, 11, 11, 11, 8]
    for before, after in pairwise(masks):
        assert all(bool((before[n] | ~after[n]).all()) for n in after), "a pruned channel came back"
    assert loop.model.conv2.out_channels == 16  # nothing is removed before the epoch's end
    loop.pat.end_epoch()
    assert loop.model.conv2.out_channels == int(masks[-1]["conv2"].sum())


def test_each_step_ranks_by_its_own_minibatches() -> None:
    loop = Loop(policy=AtEpoch(0), steps_per_epoch=4, prune_steps=2, count="unit", ratio=0.5)
    model = loop.model
    history: list[dict[str, Tensor]] = []
    for step in range(4):
        x, y = batch(0, step)
        loop.optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        coupled = sum(
            b.weight.detach() * b.weight.grad + b.bias.detach() * b.bias.grad for b in (model.bn2, model.bn3)
        )
        last = (model.conv4.weight.detach() * model.conv4.weight.grad).sum((1, 2, 3))
        last = last + model.conv4.bias.detach() * model.conv4.bias.grad
        history.append({"conv2": coupled.abs(), "conv4": last.abs()})
        before = {n: m.clone() for n, m in loop.pat.kept.items()}
        loop.pat.step()
        if step in (1, 3):
            keep = exponential(32, 16, 2)[step // 2]
            mean = {n: (history[step - 1][n] + history[step][n]) / 2 for n in before}
            mean = {n: torch.where(before[n], s, -torch.inf) for n, s in mean.items()}
            expected = top_channels(mean, keep, min_channels=1)
            assert all(torch.equal(loop.pat.kept[n], expected[n]) for n in expected)
        loop.optimizer.step()
        loop.pat.after_step()


def test_magnitude_ranks_the_weights_of_the_moment() -> None:
    loop = Loop(criterion="magnitude", policy=AtEpoch(0), steps_per_epoch=2, count="unit")
    loop.steps(range(1))
    x, y = batch(0, 1)
    F.cross_entropy(loop.model(x), y).backward()
    model = loop.model
    scores = {
        "conv2": (magnitude(model.conv2.weight) + magnitude(model.conv3.weight)) / 2,
        "conv4": magnitude(model.conv4.weight),
    }
    expected = top_channels(scores, 16, min_channels=1)
    loop.pat.step()
    assert all(torch.equal(loop.pat.kept[n], expected[n]) for n in expected)


@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
@pytest.mark.parametrize(
    ("announced", "real"), [(6, 3), (6, 4), (6, 5), (6, 9), (9, 8), (1, 1), (1, 4), (2, 1), (100, 41)]
)
def test_epochs_that_are_shorter_or_longer_than_announced(criterion: str, announced: int, real: int) -> None:
    loop = Loop(criterion=criterion, steps_per_epoch=announced, count="unit", policy=AtEpoch(0))
    loop.epochs(1, real)
    assert loop.pat.status == "sparse"
    assert sum(loop.sizes()[n] for n in ("conv2", "conv4")) == 16
    loop.epochs(1, 2)


# --- when --------------------------------------------------------------------------------------------------


def statuses(policy: Policy, epochs: int, **settings: Any) -> str:
    loop = Loop(policy=policy, **settings).epochs(epochs, 3)
    return "".join(r.status[0] for r in loop.pat.reports)


def test_every_policy() -> None:
    assert statuses(Never(), 4) == "dddd"
    assert statuses(AtEpoch(0), 3) == "pss"
    assert statuses(AtEpoch(2), 4) == "ddps"
    assert statuses(AtEpoch(9), 3) == "ddd"
    source = torch.Generator().manual_seed(3)
    drawn = RandomEpoch(1, 3, source)
    assert statuses(drawn, 4).index("p") == drawn.prune_epoch
    assert statuses(EPI(1.0, fallback=2), 4) == "ddps"
    assert statuses(EPI(0.0, look_back=1, patience=0), 5) == "ddpss"  # EPI_1 is the first, and triggers
    assert statuses(EPI(0.0, look_back=2, patience=0), 5) == "dddps"


def test_at_epoch_0_prunes_from_construction() -> None:
    assert Loop(policy=AtEpoch(0)).pat.status == "prune"
    assert Loop(policy=AtEpoch(1)).pat.status == "dense"


def test_epi_triggering_after_t_prunes_in_t_plus_1() -> None:
    # Nothing moves at learning rate 0, so magnitude's EPI is 1 from t = 5 on and fires at t = 10.
    loop = Loop(criterion="magnitude", policy=EPI(0.983))
    for group in loop.optimizer.param_groups:
        group["lr"] = 0.0
    loop.epochs(13, 1)
    assert [r.epi for r in loop.pat.reports[:11]] == [None] * 5 + [1.0] * 6
    assert [r.status for r in loop.pat.reports] == ["dense"] * 11 + ["prune", "sparse"]
    assert [r.epoch for r in loop.pat.reports] == list(range(13))


def test_dense_epochs_report_the_one_shot_structure() -> None:
    loop = Loop(criterion="magnitude", track=["gradient"], policy=EPI(1.0, look_back=1))
    loop.epochs(2)
    first, second = loop.pat.reports
    assert set(first.scores) == {"magnitude", "gradient"}
    neurons = loop.pat.neurons
    assert torch.equal(second.scores["magnitude"]["conv4"], magnitude_scores(loop.model, neurons)["conv4"])
    assert not torch.equal(first.scores["gradient"]["conv4"], second.scores["gradient"]["conv4"])
    kept = top_channels(second.scores["magnitude"], 24, {"conv2": 2, "conv4": 1}, 1)
    assert second.counts == channel_counts(kept, neurons)
    assert first.epi is None
    assert second.epi is not None
    assert loop.sizes()["conv4"] == 16
    assert all(bool(mask.all()) for mask in loop.pat.kept.values())


def test_tracking_can_be_given_as_any_iterable() -> None:
    loop = Loop(criterion="magnitude", track=(name for name in ("gradient", "magnitude"))).epochs(1)
    assert list(loop.pat.reports[0].scores) == ["magnitude", "gradient"]


def test_watching_does_not_change_training() -> None:
    watched = Loop(policy=Never(), track=["magnitude"]).epochs(2)
    torch.manual_seed(0)
    model = Plain(activation=F.silu)
    optimizer = OPTIMIZERS["sgd"](model)
    for epoch in range(2):
        for step in range(STEPS):
            x, y = batch(epoch, step)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, watched.model.state_dict()[name])


# --- going on ----------------------------------------------------------------------------------------------


def save(loop: Loop) -> io.BytesIO:
    file = io.BytesIO()
    states = {"pat": loop.pat, "model": loop.model, "optimizer": loop.optimizer}
    torch.save({name: each.state_dict() for name, each in states.items()}, file)
    return file


def load(file: io.BytesIO) -> dict[str, Any]:
    file.seek(0)
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


def resume(file: io.BytesIO, **settings: Any) -> Loop:
    loop = Loop(seed=99, **settings)
    state = load(file)
    loop.pat.load_state_dict(state["pat"])
    loop.model.load_state_dict(state["model"])
    loop.optimizer.load_state_dict(state["optimizer"])
    return loop


@pytest.mark.parametrize("criterion", ["gradient", "magnitude"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resuming_anywhere_is_the_uninterrupted_run(criterion: str, optimizer: str) -> None:
    def settings() -> dict[str, Any]:
        # Triggers after epoch 2: two dense epochs with EPI, epoch 3 prunes, 4 and 5 are sparse.
        policy = EPI(0.0, look_back=1, patience=1)
        return {"criterion": criterion, "optimizer": optimizer, "policy": policy, "keep_stem": False}

    whole = Loop(**settings())
    points: list[tuple[int, int, io.BytesIO]] = []
    for epoch in range(6):
        for step in range(STEPS):
            if step in (0, 1, 3, 4):
                points.append((epoch, step, save(whole)))
            whole.steps(range(step, step + 1))
        points.append((epoch, STEPS, save(whole)))
        whole.pat.end_epoch()
    points.append((6, 0, save(whole)))
    phases = [r.status for r in whole.pat.reports]
    assert phases[-3:] == ["prune", "sparse", "sparse"]

    # Whoever comes from any point to the next one's whole state comes to the end.
    for (epoch, step, file), (next_epoch, next_step, after) in pairwise(points):
        loop = resume(file, **settings())
        assert (loop.pat.epoch, loop.pat.status) == (epoch, phases[epoch])
        if next_epoch == epoch:
            loop.steps(range(step, next_step))
        else:
            loop.pat.end_epoch()
        assert same(load(save(loop)), load(after)), (epoch, step)
    for epoch, step, file in (points[3], points[17], points[26]):
        loop = resume(file, **settings())
        for e in range(epoch, 6):
            loop.steps(range(step if e == epoch else 0, STEPS))
            loop.pat.end_epoch()
        assert same(whole.model.state_dict(), loop.model.state_dict())
        assert same(whole.optimizer.state_dict(), loop.optimizer.state_dict())
        assert [r.counts for r in loop.pat.reports] == [r.counts for r in whole.pat.reports[epoch:]]
        assert [r.epi for r in loop.pat.reports] == [r.epi for r in whole.pat.reports[epoch:]]


def same(one: Any, other: Any) -> bool:
    """Bit for bit, at any depth."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def test_resuming_at_the_end_of_a_short_pruning_epoch() -> None:
    # The last step has no minibatch of its own: the scores of the step before serve, after resuming too.
    whole = Loop(policy=AtEpoch(0))
    whole.steps(range(4))
    loop = resume(save(whole), policy=AtEpoch(0))
    for each in (whole, loop):
        each.pat.end_epoch()
        each.epochs(1)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, loop.model.state_dict()[name])


def test_resuming_shrinks_the_extra_models() -> None:
    loop = Loop(extra_models=[])
    average = copy.deepcopy(loop.model)
    loop.pat.extra_models.append(average)
    loop.epochs(2)
    assert surgery.sizes(average) == surgery.sizes(loop.model)
    fresh = Plain()
    again = Loop(extra_models=[fresh])
    again.pat.load_state_dict(loop.pat.state_dict())
    assert surgery.sizes(fresh) == surgery.sizes(again.model) == surgery.sizes(loop.model)


def test_the_state_is_a_copy() -> None:
    loop = Loop(policy=AtEpoch(0))
    loop.steps(range(3))
    state = loop.pat.state_dict()
    before = copy.deepcopy(state)
    loop.steps(range(3, STEPS))
    assert str(state) == str(before)


def test_a_policy_of_ones_own_may_take_the_structure_alone() -> None:
    class Second(AtEpoch):
        def update(self, counts: Any) -> float | None:  # type: ignore[override]
            return float(sum(counts.values()))

    loop = Loop(policy=Second(1)).epochs(2)
    assert [report.status for report in loop.pat.reports] == ["dense", "prune"]
    assert loop.pat.reports[0].epi == sum((loop.pat.reports[0].counts or {}).values())


def test_a_state_of_other_settings_is_refused() -> None:
    state = Loop().pat.state_dict()
    for other in ({"ratio": 0.6}, {"count": "unit"}, {"criterion": "magnitude"}, {"keep_stem": False}):
        loop = Loop(**other)
        with pytest.raises(ValueError, match="the state was saved with"):
            loop.pat.load_state_dict(state)
        assert loop.pat.epoch == 0


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (AtEpoch(1), AtEpoch(2)),
        (AtEpoch(1), Never()),
        (AtEpoch(1), EPI(0.9, fallback=1)),
        (EPI(0.9), EPI(0.8)),
        (EPI(0.9), EPI(0.9, look_back=4)),
        (EPI(0.9), EPI(0.9, patience=4)),
        (EPI(0.9), EPI(0.9, history="available")),
        (EPI(0.9), EPI(0.9, fallback=3)),
    ],
)
def test_a_state_of_another_policy_is_refused(saved: Policy, other: Policy) -> None:
    state = Loop(policy=saved).epochs(1).pat.state_dict()
    loop = Loop(policy=other)
    with pytest.raises(ValueError, match="the state was saved with"):
        loop.pat.load_state_dict(state)
    assert (loop.pat.epoch, loop.pat.status) == (0, "dense")
    again = Loop(policy=copy.deepcopy(saved))
    again.pat.load_state_dict(state)
    assert again.pat.epoch == 1


def test_a_drawn_epoch_is_a_setting_too() -> None:
    def drawn(seed: int) -> RandomEpoch:
        return RandomEpoch(1, 1000, torch.Generator().manual_seed(seed))

    state = Loop(policy=drawn(0)).pat.state_dict()
    Loop(policy=drawn(0)).pat.load_state_dict(state)
    with pytest.raises(ValueError, match="the state was saved with"):
        Loop(policy=drawn(1)).pat.load_state_dict(state)


def test_an_epoch_before_the_first_one_is_refused() -> None:
    for policy in (AtEpoch(1), EPI(0.9, fallback=1)):
        with pytest.raises(ValueError, match="the policy prunes in epoch 1, before start_epoch=2"):
            Loop(policy=policy, start_epoch=2)
    assert Loop(policy=AtEpoch(2), start_epoch=2).pat.status == "prune"
    assert Loop(policy=Never(), start_epoch=2).pat.status == "dense"


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["dense", "prune"])
def test_non_finite_minibatches_are_skipped_and_counted(phase: str) -> None:
    loop = Loop(policy=AtEpoch(0 if phase == "prune" else 5), count="unit")
    bad = {1, 2, 5}
    for step in range(STEPS):
        x, y = batch(0, step)
        loop.optimizer.zero_grad()
        F.cross_entropy(loop.model(x), y).backward()
        if step in bad:
            loop.model.bn2.weight.grad[0] = torch.inf
        loop.pat.step()
        if step not in bad:  # as a GradScaler does
            loop.optimizer.step()
        loop.pat.after_step()
    report = loop.pat.end_epoch()
    assert report.skipped == 3
    if phase == "prune":
        assert sum(loop.sizes()[n] for n in ("conv2", "conv4")) == 16
    assert all(bool(p.isfinite().all()) for p in loop.model.parameters())
    assert loop.epochs(1).pat.reports[-1].skipped == 0


def test_an_epoch_without_a_finite_minibatch_is_an_error() -> None:
    for epoch in (0, 5):
        loop = Loop(policy=AtEpoch(epoch))
        for _ in range(STEPS):
            F.cross_entropy(loop.model(batch(0, 0)[0]), batch(0, 0)[1]).backward()
            loop.model.bn2.weight.grad[0] = torch.nan
            loop.pat.step()
        with pytest.raises(RuntimeError, match=r"no minibatch with finite gradients.*skipped"):
            loop.pat.end_epoch()


def test_skipping_over_a_pruning_step_catches_up() -> None:
    loop = Loop(policy=AtEpoch(0), steps_per_epoch=4, prune_steps=2, count="unit")
    for step in range(4):
        x, y = batch(0, step)
        loop.optimizer.zero_grad()
        F.cross_entropy(loop.model(x), y).backward()
        if step < 2:
            loop.model.bn2.weight.grad[0] = torch.nan
        loop.pat.step()
        left = sum(int(m.sum()) for m in loop.pat.kept.values())
        assert left == (32 if step < 3 else 16)


def test_a_step_without_gradients_is_an_error() -> None:
    loop = Loop()
    with pytest.raises(RuntimeError, match=r"call step\(\) after loss.backward\(\)"):
        loop.pat.step()


def test_layer_collapse() -> None:
    loop = Loop(ratio=0.9, min_channels=0, count="unit", policy=AtEpoch(0), criterion="magnitude")
    with torch.no_grad():
        loop.model.conv4.weight.mul_(1e-6)
    with pytest.raises(LayerCollapse, match="no path of channels"):
        loop.epochs(1)
    safe = Loop(ratio=0.9, min_channels=1, count="unit", policy=AtEpoch(0), criterion="magnitude")
    with torch.no_grad():
        safe.model.conv4.weight.mul_(1e-6)
    safe.epochs(2)
    assert safe.sizes()["conv4"] == 1


def test_layers_may_be_emptied_where_a_skip_leads_around() -> None:
    class Skip(Plain):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.bn1(self.conv1(x)))
            x = torch.relu(self.bn2(self.conv2(x)))
            return self.fc(torch.relu(x + self.bn3(self.conv3(torch.relu(self.conv4(x))))).mean((2, 3)))

    torch.manual_seed(0)
    model = Skip()
    with torch.no_grad():
        model.conv4.weight.mul_(1e-6)
    optimizer = OPTIMIZERS["sgd"](model)
    pruner = PruningAwareTraining(
        model, optimizer, EXAMPLE, ratio=0.5, steps_per_epoch=4, criterion="magnitude",
        policy=AtEpoch(0), min_channels=0, count="unit",
    )  # fmt: skip
    for epoch in range(3):
        for step in range(4):
            x, y = batch(epoch, step)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if epoch == 0:
                model.conv4.weight.grad.zero_()
            pruner.step()
            optimizer.step()
            pruner.after_step()
        pruner.end_epoch()
    assert pruner.reports[0].counts == {"conv2": 16, "conv4": 0}
    assert torch.isfinite(model(batch(0, 0)[0])).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
        ({"ratio": -0.1}, "got -0.1"),
        ({"ratio": float("nan")}, "got nan"),
        ({"steps_per_epoch": 0}, "at least 1, got 0, 30"),
        ({"prune_steps": 0}, "at least 1, got 6, 0"),
        ({"policy": AtEpoch}, "must be one of pat.policy .*got <class"),
        ({"criterion": "taylor"}, "one of gradient, magnitude, got 'taylor'"),
        ({"track": ["gradients"]}, "got 'gradients'"),
        ({"count": "channels"}, "'filter' or 'unit', got 'channels'"),
        ({"min_channels": -1}, "min_channels must not be negative, got -1"),
        ({"ratio": 0.95, "min_channels": 4}, "min_channels=4 of each of 2 groups are 12, more than the 2"),
        ({"exclude": ["conv9"]}, "exclude names 'conv9'"),
        ({"exclude": ["conv2", "conv4"]}, "no convolution whose channels could be pruned"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(**settings)


def test_a_model_that_cannot_be_followed_is_refused_before_training() -> None:
    class Renormed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](torch.renorm(self[0](x), 2, 0, 1.0))

    model = Renormed(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 4, 3))
    with pytest.raises(UnsupportedOperation, match=r"renorm in layer .*exclude=\['0'\]"):
        PruningAwareTraining(
            model, OPTIMIZERS["sgd"](model), EXAMPLE, ratio=0.5, steps_per_epoch=4, policy=Never()
        )


def test_construction_leaves_the_model_as_it_was() -> None:
    model = Plain()
    before = snapshot(model)
    PruningAwareTraining(
        model, OPTIMIZERS["sgd"](model), EXAMPLE, ratio=0.5, steps_per_epoch=4, policy=Never()
    )
    assert_unchanged(model, before)


def test_masked_and_removed_agree_at_the_epochs_end() -> None:
    loop = Loop(policy=AtEpoch(0), keep_stem=False)
    loop.steps(range(STEPS))
    x = batch(9, 9)[0]
    masked = copy.deepcopy(loop.model)
    loop.pat.end_epoch()
    for training in (False, True):
        with torch.no_grad():
            assert difference(masked.train(training)(x), loop.model.train(training)(x)) < 1e-5


def test_resnet18_end_to_end() -> None:
    model, x = build("resnet18")
    x = torch.randn(4, 3, 32, 32)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    average = copy.deepcopy(model)
    pruner = PruningAwareTraining(
        model, optimizer, x, ratio=0.7, steps_per_epoch=4, policy=AtEpoch(1), extra_models=[average]
    )
    for _ in range(3):
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(x), torch.arange(4)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            pruner.step()
            optimizer.step()
            pruner.after_step()
        pruner.end_epoch()
    filters = {n: m.out_channels for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    stage1 = ("conv1", "layer1.0.conv2", "layer1.1.conv2")  # coupled with the stem, so kept
    assert [filters[n] for n in stage1] == [64, 64, 64]
    dense = sum(m.out_channels for m in build("resnet18")[0].modules() if isinstance(m, nn.Conv2d))
    total = dense - 3 * 64
    left = sum(filters.values()) - 3 * 64
    assert kept_count(total, 0.7) - left in range(3)
    assert surgery.sizes(average) == surgery.sizes(model)
    assert pruner.status == "sparse"
    assert torch.isfinite(model(x)).all()
    assert sum(g.size for g in trace(model, x).values()) < sum(g.size for g in pruner.groups.values())


def test_an_optimizer_that_cannot_be_cut_is_refused_before_anything_is_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(OPTIMIZERS, "adafactor", lambda m: torch.optim.Adafactor(m.parameters()))
    loop = Loop("adafactor", policy=AtEpoch(0))
    with pytest.raises(ValueError, match="Adafactor keeps"):
        loop.steps(range(1))
    assert all(bool(mask.all()) for mask in loop.pat.kept.values())
    assert not any(bool((p == 0).flatten(1).all(1).any()) for p in loop.model.parameters() if p.dim() > 1)


def test_an_optimizer_of_another_model_is_refused() -> None:
    model, other = Plain(), Plain()
    with pytest.raises(ValueError, match="no parameter of the model"):
        PruningAwareTraining(
            model, OPTIMIZERS["sgd"](other), EXAMPLE, ratio=0.5, steps_per_epoch=4, policy=AtEpoch(0)
        )
