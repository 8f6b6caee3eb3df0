"""PruneTrain in a training loop: the penalty, what goes and when, and going on from any point."""

import copy
import io
import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Plain, assert_unchanged, build, difference, roughen, snapshot
from rival_loop import restore, save
from tiny import RECIPE
from torch import Tensor, nn

from pat import LayerCollapse, surgery
from pat.channels import trace
from pat.files import paths
from pat.rivals.prunetrain import GroupLasso, PruneTrain, starting_loss
from pat.training import models
from pat.training.data import load_manifest, open_dataset
from pat.training.trainer import Trainer

torch.set_num_threads(1)

STEPS = 4
EXAMPLE = torch.zeros(2, 1, 8, 8)


def batch(epoch: int, step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1000 * epoch + step)
    y = torch.randint(10, (16,), generator=generator)
    return torch.randn(16, 1, 8, 8, generator=generator) + y[:, None, None, None] / 5, y


class Loop:
    """A plain training loop; ``empty`` makes channels' weights small, as a long training would."""

    def __init__(
        self, seed: int = 0, model: nn.Module | None = None, optimizer: str = "sgd", **settings: Any
    ) -> None:
        torch.manual_seed(seed)
        self.model = Plain() if model is None else model
        parameters = self.model.parameters()
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-3)
            if optimizer == "sgd"
            else torch.optim.AdamW(parameters, 1e-2)
        )
        defaults = {"initial_loss": 2.3, "share": 0.2, "interval": 1, "threshold": 1e-3}
        self.pat = PruneTrain(self.model, self.optimizer, EXAMPLE, **(defaults | settings))

    def steps(self, steps: range = range(STEPS)) -> "Loop":
        for step in steps:
            x, y = batch(self.pat.epoch, step)
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.pat.step()
            self.optimizer.step()
            self.pat.after_step()
        return self

    def epochs(self, count: int = 1) -> "Loop":
        for _ in range(count):
            self.steps().pat.end_epoch()
        return self

    def sizes(self) -> dict[str, int]:
        return {n: m.out_channels for n, m in self.model.named_modules() if isinstance(m, nn.Conv2d)}


# The slices that belong to a channel, by Plain's source: conv2 and conv3 are added, conv3 and conv4 read the
# sum, bn2's output and, through it, conv2's channels are read by conv3 as well.
COUPLED = [("conv2", 0), ("conv3", 0), ("conv3", 1), ("conv4", 1)]
LAST = [("conv4", 0), ("fc", 1)]


def empty(
    model: nn.Module, slices: Iterable[tuple[str, int]], channels: list[int], value: float = 0.0
) -> None:
    with torch.no_grad():
        for layer, dim in slices:
            weight = model.get_parameter(f"{layer}.weight")
            weight.index_fill_(dim, torch.tensor(channels), value)


# --- the penalty -------------------------------------------------------------------------------------------


def penalty(model: nn.Module, keep_stem: bool = True) -> Tensor:
    """Plain's penalty, written out."""
    total = torch.zeros(())
    wanted = [("conv2", 0), ("conv3", 0), ("conv3", 1), ("conv4", 0), ("conv4", 1), ("fc", 1)]
    for layer, dim in wanted if keep_stem else [*wanted, ("conv1", 0), ("conv2", 1)]:
        rows = model.get_parameter(f"{layer}.weight").transpose(0, dim).flatten(1)
        total = total + (rows**2).sum(1).sqrt().sum()
    return total


@pytest.mark.parametrize("keep_stem", [True, False])
def test_lambda_makes_the_penalty_the_given_share_of_the_loss(keep_stem: bool) -> None:
    loop = Loop(share=0.25, initial_loss=2.4, keep_stem=keep_stem)
    norms = penalty(loop.model, keep_stem).item()
    assert math.isclose(loop.pat.coefficient, 0.25 * 2.4 / (0.75 * norms), rel_tol=1e-5)
    share = loop.pat.coefficient * norms / (2.4 + loop.pat.coefficient * norms)
    assert math.isclose(share, 0.25, rel_tol=1e-5)


def test_lambda_worked_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(2, 2, bias=False)
    )
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([3.0, -4.0]).reshape(2, 1, 1, 1))
        model[3].weight.copy_(torch.tensor([[0.0, 5.0], [2.0, 12.0]]))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    pat = PruneTrain(model, optimizer, torch.zeros(2, 1, 1, 1), initial_loss=3.0, share=0.2)
    # Without the stem: filters |3| + |-4|, and the classifier's inputs |(0, 2)| + |(5, 12)|: 3 + 4 + 2 + 13.
    assert math.isclose(pat.coefficient, 0.2 * 3.0 / (0.8 * 22.0))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pat.step()
    per_unit = [model[1].weight.grad.flatten() / pat.coefficient, model[3].weight.grad / pat.coefficient]
    assert torch.allclose(per_unit[0], torch.tensor([1.0, -1.0]))
    assert torch.allclose(per_unit[1], torch.tensor([[0.0, 5 / 13], [1.0, 12 / 13]]))
    assert not model[0].weight.grad.any()
    # The stem's filter too, and conv 1's input channel |(3, -4)|: another 5 and the stem's own weight.
    whole = PruneTrain(
        model, optimizer, torch.zeros(2, 1, 1, 1), initial_loss=3.0, share=0.2, keep_stem=False
    )
    norms = 22.0 + 5.0 + model[0].weight.abs().item()
    assert math.isclose(whole.coefficient, 0.2 * 3.0 / (0.8 * norms), rel_tol=1e-6)


@pytest.mark.parametrize("keep_stem", [True, False])
def test_the_gradient_is_that_of_the_penalised_loss(keep_stem: bool) -> None:
    loop = Loop(keep_stem=keep_stem)
    loop.steps(range(2))
    reference = copy.deepcopy(loop.model)
    x, y = batch(7, 7)
    loss = F.cross_entropy(reference(x), y) + loop.pat.coefficient * penalty(reference, keep_stem)
    loss.backward()
    loop.optimizer.zero_grad()
    F.cross_entropy(loop.model(x), y).backward()
    loop.pat.step()
    for (name, ours), theirs in zip(loop.model.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7), name


def test_a_group_of_zeros_has_no_gradient_and_gives_no_nan() -> None:
    loop = Loop()
    empty(loop.model, COUPLED, [3])
    for parameter in loop.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loop.pat.step()
    assert not loop.model.conv2.weight.grad[3].any()
    assert all(bool(p.grad.isfinite().all()) for p in loop.model.parameters())


def test_the_gradient_follows_a_removal() -> None:
    loop = Loop(keep_stem=False)
    empty(loop.model, COUPLED, [0, 7, 12])
    empty(loop.model, LAST, [4])
    loop.pat.end_epoch()
    reference = copy.deepcopy(loop.model)
    (loop.pat.coefficient * penalty(reference, keep_stem=False)).backward()
    for parameter in loop.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loop.pat.step()
    for name, theirs in reference.named_parameters():
        wanted = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
        assert torch.allclose(loop.model.get_parameter(name).grad, wanted, rtol=1e-4, atol=1e-7), name


def test_depthwise_convolutions_and_what_stays_are_not_penalised() -> None:
    model, x = build("mobilenetv1_100")
    groups = trace(model, x)
    lasso = GroupLasso(model, groups, groups.neurons())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    lasso.add_gradient(1.0)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            free = module.groups > 1 or name == "conv_stem"
            assert bool(module.weight.grad.any()) != free, name
        elif isinstance(module, nn.BatchNorm2d):
            assert not module.weight.grad.any()
    assert model.classifier.weight.grad.any()
    assert not model.classifier.bias.grad.any()


def test_weights_that_are_frozen_or_out_of_the_losss_reach() -> None:
    loop = Loop()
    loop.model.conv2.weight.requires_grad_(False)
    loop.optimizer.zero_grad()
    F.cross_entropy(loop.model(batch(0, 0)[0]), batch(0, 0)[1]).backward()
    loop.model.conv4.weight.grad = None
    loop.pat.step()
    assert loop.model.conv2.weight.grad is None
    rows = loop.model.conv4.weight.detach()
    norms = [torch.linalg.vector_norm(rows, dim=d, keepdim=True) for d in ((1, 2, 3), (0, 2, 3))]
    wanted = loop.pat.coefficient * sum(rows / n for n in norms)
    assert torch.allclose(loop.model.conv4.weight.grad, wanted, rtol=1e-4)


def test_the_loss_at_the_start_leaves_the_model_and_the_random_state() -> None:
    model = nn.Sequential(Plain(), nn.Dropout(0.5))
    x, y = batch(0, 0)
    before, state = snapshot(model), torch.get_rng_state()
    found = starting_loss(model.eval(), x, y, label_smoothing=0.1)
    model.train()
    assert_unchanged(model, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert math.isclose(found, F.cross_entropy(model(x), y, label_smoothing=0.1).item(), rel_tol=1e-6)


# --- what goes ---------------------------------------------------------------------------------------------


def test_a_removal_of_zeros_keeps_the_function_whatever_batchnorm_says() -> None:
    loop = Loop(keep_stem=False)
    roughen(loop.model)  # beta and running means: a filter of zeros does not give zeros
    empty(loop.model, COUPLED, [1, 2, 15])
    empty(loop.model, LAST, [0, 9])
    empty(loop.model, [("conv1", 0), ("conv2", 1)], [5])
    before = copy.deepcopy(loop.model)
    report = loop.pat.end_epoch()
    assert (report.status, report.counts) == ("prune", {"conv1": 7, "conv2": 13, "conv3": 13, "conv4": 14})
    assert loop.sizes() == report.counts
    x = batch(9, 9)[0]
    for training in (False, True):
        with torch.no_grad():
            assert difference(before.train(training)(x), loop.model.train(training)(x)) < 1e-5


def test_under_the_threshold_the_function_moves_by_as_little() -> None:
    outputs = {}
    for value in (1e-5, 1e-4):
        loop = Loop(threshold=2e-4)
        roughen(loop.model)
        empty(loop.model, COUPLED, [1, 2, 15], value)
        before = copy.deepcopy(loop.model).eval()
        assert loop.pat.end_epoch().status == "prune"
        x = batch(9, 9)[0]
        with torch.no_grad():
            outputs[value] = difference(before(x), loop.model.eval()(x))
    assert 0 < outputs[1e-5] < outputs[1e-4] < 1e-2
    assert 5 < outputs[1e-4] / outputs[1e-5] < 20  # as the weights, so nothing else was lost


@pytest.mark.parametrize("slices", [COUPLED, LAST], ids=["coupled", "last"])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_weight_at_the_threshold_keeps_the_channel(slices: list[tuple[str, int]], sign: int) -> None:
    for layer, dim in slices:
        loop = Loop(threshold=1e-3)
        empty(loop.model, slices, [6], 5e-4)
        weight = loop.model.get_parameter(f"{layer}.weight").detach()
        place = [-1] * weight.dim()
        place[dim] = 6
        weight[tuple(place)] = sign * 1.001e-3
        assert loop.pat.end_epoch().status == "dense", layer
        weight[tuple(place)] = sign * 0.999e-3
        assert loop.pat.end_epoch().status == "prune", layer


def test_reports_and_intervals() -> None:
    loop = Loop(interval=3)
    empty(loop.model, LAST, [2])
    for _ in range(3):
        loop.pat.end_epoch()
    assert [r.status for r in loop.pat.reports] == ["dense", "dense", "prune"]
    empty(loop.model, LAST, [2])  # the third channel of what is left
    loop.pat.end_epoch()
    assert loop.pat.status == "dense"
    loop.pat.end_epoch()
    loop.pat.end_epoch()
    for _ in range(3):
        loop.pat.end_epoch()
    statuses = [r.status for r in loop.pat.reports]
    assert statuses == ["dense", "dense", "prune", "sparse", "sparse", "prune", *["sparse"] * 3]
    assert [r.epoch for r in loop.pat.reports] == list(range(9))
    assert loop.pat.epoch == 9
    assert [r.counts for r in loop.pat.reports if r.status != "prune"] == [None] * 7
    assert (~loop.pat.kept["conv4"]).nonzero().flatten().tolist() == [2, 3]
    assert loop.pat.reports[5].counts == {"conv2": 16, "conv3": 16, "conv4": 14}


def test_reports_may_count_units() -> None:
    loop = Loop(count="unit", keep_stem=False)
    empty(loop.model, COUPLED, [2])
    assert loop.pat.end_epoch().counts == {"conv1": 8, "conv2": 15, "conv4": 16}


def test_kept_is_of_the_dense_model() -> None:
    loop = Loop()
    loop.model.conv4.bias.data.copy_(torch.arange(16.0))  # a name for each channel
    gone: set[int] = set()
    for channels in ([0, 3, 8], [0, 1], [10]):  # as numbered in what is left
        left = [c for c in range(16) if c not in gone]
        gone |= {left[c] for c in channels}
        empty(loop.model, LAST, channels)
        loop.pat.end_epoch()
        assert set((~loop.pat.kept["conv4"]).nonzero().flatten().tolist()) == gone
        assert loop.model.conv4.bias.tolist() == [c for c in range(16) if c not in gone]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_optimizers_state_and_copies_are_cut(optimizer: str) -> None:
    def without(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
        for dim in dims:
            tensor = tensor.index_select(dim, torch.tensor([c for c in range(16) if c != 4]))
        return tensor

    loop = Loop(optimizer=optimizer)
    average = copy.deepcopy(loop.model)
    loop.pat.extra_models.append(average)
    loop.steps()
    empty(loop.model, COUPLED, [4])
    before = {name: p.grad.clone() for name, p in loop.model.named_parameters()}
    states = {n: dict(loop.optimizer.state[p]) for n, p in loop.model.named_parameters()}
    loop.pat.end_epoch()
    cut = {"conv2.weight": (0,), "conv3.weight": (0, 1), "conv4.weight": (1,), "bn3.bias": (0,)}
    for name, dims in cut.items():
        parameter = loop.model.get_parameter(name)
        assert torch.equal(parameter.grad, without(before[name], dims))
        for key, value in states[name].items():
            wanted = without(value, dims) if value.dim() else value
            assert torch.equal(loop.optimizer.state[parameter][key], wanted), (name, key)
    assert surgery.sizes(average) == surgery.sizes(loop.model)
    loop.epochs(2)
    assert all(bool(p.isfinite().all()) for p in loop.model.parameters())


def test_training_empties_channels() -> None:
    loop = Loop(share=0.7, interval=2, threshold=0.02)
    loop.epochs(16)
    statuses = [r.status for r in loop.pat.reports]
    removals = [r.counts for r in loop.pat.reports if r.status == "prune"]
    assert removals
    assert removals[-1] == {n: c for n, c in loop.sizes().items() if n != "conv1"}
    assert all(status != "prune" for status in statuses[::2])  # every second epoch only


@pytest.mark.parametrize("channels", [1, 3, 40])
def test_a_group_keeps_its_largest_channels(channels: int) -> None:
    loop = Loop(min_channels=channels)
    empty(loop.model, LAST, list(range(16)))
    with torch.no_grad():
        loop.model.conv4.weight[7] = 3e-4
        loop.model.fc.weight[:, 9] = 5e-4
    loop.epochs(0).pat.end_epoch()
    wanted = {1: [9], 3: [0, 7, 9], 40: list(range(16))}[channels]
    assert loop.pat.kept["conv4"].nonzero().flatten().tolist() == wanted
    status = loop.pat.reports[-1].status
    assert status == ("dense" if channels == 40 else "prune")
    assert loop.pat.end_epoch().status == ("dense" if channels == 40 else "sparse")  # nothing more to go


def test_a_collapse_is_told_and_masked() -> None:
    loop = Loop(min_channels=0)
    loop.steps()
    empty(loop.model, LAST, list(range(16)), 5e-4)
    with pytest.raises(LayerCollapse, match=r"by epoch 0 .* lower share or min_channels=1"):
        loop.pat.end_epoch()
    assert not loop.model.conv4.weight.any()
    assert not loop.model.conv4.bias.any()
    output = loop.model.eval()(batch(1, 1)[0])
    assert torch.equal(output, output[:1].expand_as(output))


class Branch(nn.Module):
    """A residual branch beside a convolution of several groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.a = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False)
        self.c = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.fc((x + self.c(self.b(torch.relu(self.bn(self.a(x)))))).mean((2, 3)))


def test_a_residual_branch_may_be_emptied() -> None:
    branch = Branch()
    loop = Loop(model=branch, min_channels=0)
    loop.steps()
    empty(branch, [("a", 0)], list(range(8)))
    empty(branch, [("b", 1)], [0, 1])
    empty(branch, [("b", 0)], list(range(8)))
    empty(branch, [("c", 1)], list(range(8)))
    x = batch(5, 5)[0]
    before = copy.deepcopy(branch).eval()(x)
    report = loop.pat.end_epoch()
    assert report.counts == {"a": 0, "b": 0}
    assert difference(before, branch.eval()(x)) < 1e-5
    branch.train()
    loop.epochs(2)
    assert [r.status for r in loop.pat.reports] == ["prune", "sparse", "sparse"]
    assert math.isfinite(loop.pat._lasso.norm())
    again = Loop(model=Branch(), min_channels=0)
    again.pat.load_state_dict(loop.pat.state_dict())
    assert surgery.sizes(again.model) == surgery.sizes(branch)


def test_a_grouped_convolution_that_becomes_depthwise_couples_its_channels() -> None:
    loop = Loop(model=Branch(), min_channels=0)
    model = loop.model
    roughen(model)
    x = batch(5, 5)[0]
    # Each of b's four groups loses the first of its two inputs: these four are one unit.
    empty(model, [("a", 0)], [0, 2, 4, 6])
    empty(model, [("b", 1)], [0])
    before = copy.deepcopy(model).eval()(x)
    assert loop.pat.end_epoch().counts == {"a": 4, "b": 8}
    assert difference(before, model.eval()(x)) < 1e-5
    # With four inputs in four groups b is depthwise: its outputs go with the inputs, or not at all.
    empty(model, [("b", 0), ("c", 1)], [1, 3, 5, 7])
    assert loop.pat.end_epoch().status == "sparse"
    assert loop.sizes() == {"stem": 8, "a": 4, "b": 8, "c": 8}
    model.train()
    loop.epochs(1)
    empty(model, [("a", 0)], list(range(4)))
    empty(model, [("b", 0), ("c", 1)], list(range(8)))
    before = copy.deepcopy(model).eval()(x)
    assert loop.pat.end_epoch().counts == {"a": 0, "b": 0}
    assert difference(before, model.eval()(x)) < 1e-5


def test_weights_that_are_no_numbers_do_not_go() -> None:
    loop = Loop()
    with torch.no_grad():
        loop.model.conv4.weight[2] = torch.nan
    assert loop.pat.end_epoch().status == "dense"


# --- going on ----------------------------------------------------------------------------------------------


def resume(file: io.BytesIO, **settings: Any) -> Loop:
    loop = Loop(**({"seed": 99, "initial_loss": 1.0} | settings))
    restore(loop, file)
    return loop


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resuming_anywhere_is_the_uninterrupted_run(optimizer: str) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "interval": 2, "keep_stem": False}

    def go(loop: Loop, epoch: int, step: int) -> None:
        """One step, with channels emptied at the end of some epochs, as if the training had."""
        loop.steps(range(step, step + 1))
        if step == STEPS - 1:
            if epoch in (1, 3):
                empty(loop.model, COUPLED, [1, epoch])
                empty(loop.model, LAST, [0])
            loop.pat.end_epoch()

    whole = Loop(**settings)
    files = []
    for epoch in range(6):
        for step in range(STEPS):
            if step in (0, 1, STEPS - 1):
                files.append((epoch, step, save(whole)))
            go(whole, epoch, step)
    reports = whole.pat.reports
    assert [r.status for r in reports] == ["dense", "prune", "sparse", "prune", "sparse", "sparse"]

    for first, start, file in files:
        loop = resume(file, **settings)
        assert (loop.pat.epoch, loop.pat.coefficient) == (first, whole.pat.coefficient)
        for epoch in range(first, 6):
            for step in range(start if epoch == first else 0, STEPS):
                go(loop, epoch, step)
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, loop.model.state_dict()[name]), (first, start, name)
        for ours, theirs in zip(loop.model.parameters(), whole.model.parameters(), strict=True):
            for key, value in whole.optimizer.state[theirs].items():
                assert torch.equal(value, loop.optimizer.state[ours][key])
        assert loop.pat.reports == reports[first:]
        assert all(torch.equal(mask, loop.pat.kept[name]) for name, mask in whole.pat.kept.items())


def test_resuming_shrinks_the_extra_models() -> None:
    loop = Loop()
    empty(loop.model, COUPLED, [3])
    loop.pat.end_epoch()
    fresh = Plain()
    again = Loop(extra_models=[fresh])
    again.pat.load_state_dict(loop.pat.state_dict())
    assert surgery.sizes(fresh) == surgery.sizes(again.model) == surgery.sizes(loop.model)


def test_the_state_is_a_copy() -> None:
    loop = Loop()
    state = loop.pat.state_dict()
    before = copy.deepcopy(state)
    empty(loop.model, COUPLED, [3])
    loop.epochs(1)
    assert loop.pat.reports[-1].status == "prune"
    assert str(state) == str(before)


@pytest.mark.parametrize(
    "other",
    [
        {"share": 0.3},
        {"interval": 2},
        {"threshold": 1e-2},
        {"count": "unit"},
        {"min_channels": 2},
        {"keep_stem": False},
    ],
)
def test_a_state_of_other_settings_is_refused(other: dict[str, Any]) -> None:
    state = Loop().epochs(1).pat.state_dict()
    loop = Loop(**other)
    with pytest.raises(ValueError, match="the state was saved with"):
        loop.pat.load_state_dict(state)
    assert loop.pat.epoch == 0


def test_the_trainer_drives_it_and_goes_on_with_it() -> None:
    dataset = open_dataset(load_manifest("digits"), root=paths.DATA, device="cpu")

    def trainer() -> Trainer:
        torch.manual_seed(0)
        model = models.build(
            "resnet8-basic", num_classes=dataset.num_classes, in_channels=1, image_size=dataset.image_size
        )

        def make(m: nn.Module, optimizer: torch.optim.Optimizer, example: Tensor, steps: int) -> PruneTrain:
            batches = dataset.train_batches(
                batch_size=RECIPE.batch_size, seed=0, epoch=0, augment=RECIPE.augment
            )
            images, labels = next(batches)
            loss = starting_loss(m, images, labels, RECIPE.label_smoothing)
            return PruneTrain(m, optimizer, example, initial_loss=loss, share=0.9, interval=1, threshold=0.15)

        return Trainer(model, dataset, RECIPE, make, None, seed=0)  # type: ignore[arg-type]

    whole = trainer()
    outcome = whole.train()
    assert outcome is not None
    phases = [log.phase for log in whole.history]
    assert phases[0] == "dense"
    assert phases.count("prune") >= 2
    assert outcome.prune_epoch == phases.index("prune")
    for log in whole.history:
        assert (log.macs is not None) == (log.structure is not None) == (log.phase == "prune")
    removals = [log for log in whole.history if log.phase == "prune"]
    assert removals[-1].macs == outcome.final.macs < removals[0].macs < outcome.dense.macs
    first, second = trainer(), trainer()
    first.train(until=2)
    assert first.history[-1].phase == "prune"
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.train() == outcome
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial_loss": 0.0}, "initial_loss must be positive and finite, got 0.0"),
        ({"initial_loss": math.nan}, "initial_loss must be positive and finite, got nan"),
        ({"initial_loss": math.inf}, "got inf"),
        ({"share": 0.0}, r"share must lie in \(0, 1\), got 0.0"),
        ({"share": 1.0}, "got 1.0"),
        ({"share": math.nan}, "got nan"),
        ({"interval": 0}, "interval must be at least 1, got 0"),
        ({"threshold": 0.0}, "threshold must be positive and finite, got 0.0"),
        ({"threshold": -1e-4}, "got -0.0001"),
        ({"threshold": math.nan}, "got nan"),
        ({"count": "channels"}, "'filter' or 'unit', got 'channels'"),
        ({"min_channels": -1}, "min_channels must not be negative, got -1"),
        ({"exclude": ["conv9"]}, "exclude names 'conv9'"),
        ({"exclude": ["conv2", "conv4"]}, "no convolution whose channels could be pruned"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(**settings)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_weights_that_give_no_lambda_are_refused(value: float) -> None:
    model = Plain()
    empty(model, [*COUPLED, ("conv4", 0), ("fc", 1)], list(range(16)), value)
    with pytest.raises(ValueError, match="norms must be positive and finite"):
        Loop(model=model)


def test_excluded_layers_are_neither_penalised_nor_cut() -> None:
    loop = Loop(exclude=["conv4"])
    empty(loop.model, LAST, [1, 2])
    empty(loop.model, COUPLED, [5])
    for parameter in loop.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loop.pat.step()
    assert not loop.model.fc.weight.grad.any()
    assert loop.model.conv4.weight.grad.any()  # as a reader of the coupled channels
    assert loop.pat.end_epoch().counts == {"conv2": 15, "conv3": 15}
    assert loop.sizes()["conv4"] == 16


def test_a_step_without_gradients_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"call step\(\) after loss.backward\(\)"):
        Loop().pat.step()


def test_an_optimizer_that_cannot_be_cut_is_refused_before_anything_goes() -> None:
    loop = Loop()
    loop.optimizer = loop.pat.optimizer = torch.optim.Adafactor(loop.model.parameters())
    loop.steps()
    empty(loop.model, COUPLED, [3])
    before = snapshot(loop.model)
    with pytest.raises(ValueError, match="Adafactor keeps"):
        loop.pat.end_epoch()
    assert_unchanged(loop.model, before)
    assert all(bool(mask.all()) for mask in loop.pat.kept.values())


def test_construction_leaves_the_model_as_it_was() -> None:
    model = Plain()
    before = snapshot(model)
    Loop(model=model)
    assert_unchanged(model, before)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv1_100", "mobilenet_v3_large"])
def test_architectures_lose_what_is_empty_and_stay_the_same_function(name: str) -> None:
    model, x = build(name)
    roughen(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    pat = PruneTrain(model, optimizer, x, initial_loss=6.9, interval=1, threshold=1e-4)
    wanted = {}
    with torch.no_grad():
        for group_name, group in pat.neurons.items():
            channels = torch.arange(group.size) < group.size // 4
            wanted[group_name] = group.size - int(channels.sum())
            gone = torch.zeros(sum(g.size for g in pat.groups.values()) + 1, dtype=torch.bool)
            gone[group.units.start : group.units.stop] = channels
            for slot in pat.groups.slots:
                module = model.get_submodule(slot.tensor.rpartition(".")[0])
                if slot.tensor.endswith("weight") and isinstance(module, nn.Conv2d | nn.Linear):
                    tensor = model.get_parameter(slot.tensor)
                    tensor.index_fill_(slot.dim, gone[slot.units].nonzero().flatten(), 0.0)
    before = copy.deepcopy(model).eval()(x)
    report = pat.end_epoch()
    assert report.status == "prune"
    assert {n: int(mask.sum()) for n, mask in pat.kept.items()} == wanted
    assert difference(before, model.eval()(x)) < 1e-4
    nn.functional.cross_entropy(model(x), torch.tensor([1, 2])).backward()
    pat.step()
    optimizer.step()
    assert pat.end_epoch().status == "sparse"
