"""GPWP: relevance by hand and conserved, what goes and when, and going on from any point."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Plain, assert_unchanged, build, roughen, snapshot
from rival_loop import RivalLoop, data, restore, save
from tiny import dense
from torch import Tensor, nn

from pat import LayerCollapse, surgery
from pat.channels import trace
from pat.methods import METHODS
from pat.rivals.gpwp import GradualPruning, GradualPruningSettings, Relevance
from pat.rivals.gpwp.pruner import relevance_scores
from pat.study.runs.run import run
from pat.study.store import Store

torch.set_num_threads(1)


class Loop(RivalLoop):
    def __init__(self, seed: int = 0, model: nn.Module | None = None, **settings: Any) -> None:
        defaults = {"ratio": 0.5, "interval": 1, "until": 3}
        super().__init__(GradualPruning, defaults | settings, seed, model)


# --- relevance ---------------------------------------------------------------------------------------------


def two_layers() -> nn.Sequential:
    """An image of one pixel x gives channels x and 3 x - 1, and logits (h0 - h1 + 0.5, 2 h0 + h1)."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.0, -1.0]))
        model[3].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 1.0]]))
        model[3].bias.copy_(torch.tensor([0.5, 0.0]))
    return model.double()


def test_two_layers_worked_by_hand() -> None:
    model = two_layers()
    images, labels = torch.full((2, 1, 1, 1), 2.0).double(), torch.tensor([0, 1])
    found = dict(Relevance(model, alpha=2.0).of_layers(images, labels))
    assert torch.equal(found["3"], torch.eye(2, dtype=torch.float64))
    # h = (2, 5). Class 0 has contributions 2 and -5: alpha for the first, -beta for the second. Class 1 has
    # 4 and 5, of one sign: 4/9 and 5/9.
    wanted = torch.tensor([[2.0, -1.0], [4 / 9, 5 / 9]], dtype=torch.float64)
    assert torch.allclose(found["0"].flatten(1), wanted)
    groups = trace(model, images)
    units = Relevance(model).of_units([(images, labels)], groups, groups.unit_mask({}))
    assert torch.allclose(units, torch.tensor([11 / 9, -2 / 9], dtype=torch.float64))
    scores = relevance_scores(units, groups.neurons(keep_stem=False))
    assert torch.allclose(scores["0"], torch.tensor([11.0, 2.0], dtype=torch.float64) / math.sqrt(125))


def test_classes_count_alike_however_many_images_they_have() -> None:
    model, images = two_layers(), torch.full((4, 1, 1, 1), 2.0).double()
    groups = trace(model, images)
    batches = [(images, torch.tensor([1, 1, 1, 0])), (images, torch.tensor([1, 1, 1, 1]))]
    units = Relevance(model).of_units(batches, groups, groups.unit_mask({}))
    assert torch.allclose(units, torch.tensor([11 / 9, -2 / 9], dtype=torch.float64))


class Skip(nn.Module):
    """``h = (x, 2 x)``, then ``h + (h0, -h1 / 2)``, then the sum of both."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 1, bias=False)
        self.b = nn.Conv2d(2, 2, 1, bias=False)
        self.fc = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.a.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
            self.b.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -0.5]]).reshape(2, 2, 1, 1))
            self.fc.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h = self.b(h) + h
        return self.fc(h.flatten(1))


def test_a_coupled_channel_has_the_sum_over_its_layers_worked_by_hand() -> None:
    model, images = Skip().double(), torch.ones(2, 1, 1, 1).double()
    labels = torch.zeros(2, dtype=torch.int64)
    found = dict(Relevance(model).of_layers(images, labels))
    # h = (1, 2), b gives (1, -1), the sum is (2, 1): relevance 2/3 and 1/3. b's part is 1/3 and -1/3.
    assert torch.allclose(found["b"][0].flatten(), torch.tensor([1 / 3, -1 / 3], dtype=torch.float64))
    # The skip hands down 1/3 and 2/3, b all that it has.
    assert torch.allclose(found["a"][0].flatten(), torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    groups = trace(model, images)
    (group,) = groups.values()
    units = Relevance(model).of_units([(images, labels)], groups, groups.unit_mask({}))
    assert group.layers == ("a", "b")
    assert torch.allclose(units, torch.tensor([1.0, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_relevance_is_conserved(alpha: float) -> None:
    """The true class's 1 arrives whole at every layer that all paths pass."""
    torch.manual_seed(0)
    model = Plain()
    roughen(model)
    images, labels = next(data(0))
    found = dict(Relevance(model.double(), alpha).of_layers(images, labels))
    for layer in ("fc", "conv4", "conv2", "conv1"):
        whole = found[layer].flatten(1).sum(1)
        assert torch.allclose(whole, torch.ones_like(whole), atol=1e-6), layer


def test_relevance_is_conserved_through_pools_and_stages() -> None:
    model, images = build("resnet18")
    found = Relevance(model.double(), alpha=1.0).of_layers(images, torch.tensor([3, 5]))
    whole = found[0][1].flatten(1).sum(1)  # the stem's
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-4)


def test_relevance_of_another_class_is_another() -> None:
    loop = Loop()
    images, labels = next(data(0))
    first, second = (
        dict(Relevance(loop.model).of_layers(images, y))["conv4"] for y in (labels, (labels + 1) % 10)
    )
    assert not torch.allclose(first, second)


def test_scores_follow_a_permutation_of_channels() -> None:
    loop = Loop()
    roughen(loop.model)
    other = copy.deepcopy(loop.model)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, dim in (("conv4.weight", 0), ("conv4.bias", 0), ("fc.weight", 1)):
            tensor = other.get_parameter(name)
            tensor.copy_(tensor.clone().index_select(dim, order))
    before, after = loop.pat.scores(), Loop(model=other).pat.scores()
    assert torch.allclose(after["conv4"], before["conv4"][order], atol=1e-4)
    assert torch.allclose(after["conv2"], before["conv2"], atol=1e-4)


def test_scores_of_a_group_have_norm_one_and_gone_channels_have_none() -> None:
    loop = Loop().epochs(1)
    for name, score in loop.pat.scores().items():
        assert math.isclose(torch.linalg.vector_norm(score).item(), 1.0)
        assert not score[~loop.pat.kept[name]].any()


def test_scoring_leaves_the_model_and_the_random_state() -> None:
    loop = Loop()
    loop.step(*next(data(0)))
    before, state = snapshot(loop.model), torch.get_rng_state()
    loop.pat.scores()
    assert_unchanged(loop.model, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_gives_no_logits_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1))
    with pytest.raises(ValueError, match=r"logits \[N, classes\]"):
        Relevance(model).of_layers(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64))
    groups = trace(two_layers(), torch.zeros(2, 1, 1, 1).double())
    with pytest.raises(ValueError, match="there is none"):
        Relevance(two_layers()).of_units([], groups, groups.unit_mask({}))


# --- what goes ---------------------------------------------------------------------------------------------


def test_channels_go_gradually_to_the_target() -> None:
    loop = Loop(interval=2, until=7)
    filters = []
    for _ in range(8):
        before = loop.pat.kept
        loop.epochs(1)
        assert all(bool((mask <= before[name]).all()) for name, mask in loop.pat.kept.items())
        counts = {name: int(mask.sum()) for name, mask in loop.pat.kept.items()}
        filters.append(sum(n * loop.pat.neurons[name].multiplicity for name, n in counts.items()))
    # Two coupled layers of 16 channels and one: 48 filters, then 40, 32, 24. A coupled channel that does not
    # fit any more goes whole.
    wanted = [48, 40, 40, 32, 32, 24, 24, 24]
    assert all(n in (want, want - 1) for n, want in zip(filters, wanted, strict=True))
    statuses = [report.status for report in loop.pat.reports]
    assert statuses == ["dense", "prune", "sparse", "prune", "sparse", "prune", "sparse", "sparse"]
    widths = {n: m.out_channels for n, m in loop.model.named_modules() if isinstance(m, nn.Conv2d)}
    assert loop.pat.reports[5].counts == {n: widths[n] for n in ("conv2", "conv3", "conv4")}


def test_the_least_relevant_go_first() -> None:
    loop = Loop(until=1)
    for x, y in data(0):
        loop.step(x, y)
    scores = loop.pat.scores()
    loop.pat.end_epoch()
    kept = torch.cat([scores[n][mask] for n, mask in loop.pat.kept.items()])
    gone = torch.cat([scores[n][~mask] for n, mask in loop.pat.kept.items()])
    assert gone.max() <= kept.min()


def test_one_path_less_is_a_collapse() -> None:
    loop = Loop(ratio=0.99, until=1, min_channels=0)
    with pytest.raises(LayerCollapse, match=r"by epoch 0 relevance has left no path .* lower ratio"):
        loop.epochs(1)
    assert not loop.model.conv4.weight.any()


def test_a_branch_without_channels_has_no_relevance() -> None:
    model = nn.Sequential(Skip(), nn.Linear(1, 2))
    model[0].b = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1, bias=False))
    images, labels = torch.ones(2, 1, 1, 1), torch.tensor([0, 1])
    groups = trace(model, images)
    kept = {"0.b.0": torch.zeros(3, dtype=torch.bool)}
    surgery.remove(model, kept, groups=groups)
    units = Relevance(model).of_units([(images, labels)], groups, groups.unit_mask(kept))
    inside, around = groups["0.b.0"].units, groups["0.a"].units
    assert not units[inside.start : inside.stop].any()
    assert units[around.start : around.stop].sum().item() > 0


def test_weights_that_are_no_numbers_are_an_error() -> None:
    loop = Loop()
    with torch.no_grad():
        loop.model.conv4.weight[2] = torch.nan
    with pytest.raises(ValueError, match="relevance must be finite"):
        loop.pat.end_epoch()


# --- going on ----------------------------------------------------------------------------------------------


def test_resuming_anywhere_is_the_uninterrupted_run() -> None:
    whole, files = Loop(), []
    for epoch in range(5):
        for step, (x, y) in enumerate(data(epoch)):
            files.append((epoch, step, save(whole)))
            whole.step(x, y)
        whole.pat.end_epoch()
    for epoch, step, file in files[::4]:
        loop = Loop(seed=99)
        restore(loop, file)
        loop.epochs(5 - epoch, first_step=step)
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, loop.model.state_dict()[name]), (epoch, step, name)
        assert loop.pat.reports == whole.pat.reports[epoch:]
        assert all(torch.equal(mask, loop.pat.kept[name]) for name, mask in whole.pat.kept.items())


@pytest.mark.parametrize(
    "other", [{"ratio": 0.4}, {"until": 2}, {"alpha": 1.0}, {"batches": 1}, {"count": "unit"}]
)
def test_a_state_of_other_settings_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the state was saved with"):
        Loop(**other).pat.load_state_dict(Loop().pat.state_dict())


# --- as a method -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
        ({"ratio": math.nan}, "got nan"),
        ({"interval": 0}, "interval must be at least 1, got 0"),
        ({"until": 0}, "until must be at least interval=1, got 0"),
        ({"batches": -1}, "batches must not be negative, got -1"),
        ({"alpha": 0.5}, "alpha must be at least 1 and finite, got 0.5"),
        ({"alpha": math.inf}, "got inf"),
        ({"count": "channels"}, "'filter' or 'unit', got 'channels'"),
        ({"min_channels": 20}, "min_channels=20"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(**settings)


def test_what_the_training_costs_worked_by_hand() -> None:
    method = GradualPruningSettings(ratio=0.5, interval=1, until=2)
    removals = [(0, 80), (1, 60)]
    # Trained at 100, 80, 60, 60; scored at 100 and at 80, two passes each.
    assert math.isclose(method.training_share(100, 60, 10, removals, 4), (300 + 2 * 180) / 400)
    few = GradualPruningSettings(ratio=0.5, interval=1, until=2, batches=5)
    assert math.isclose(few.training_share(100, 60, 10, removals, 4), (300 + 180) / 400)


def test_a_run_is_recorded_with_structure_and_cost(tmp_path: Path) -> None:
    method = METHODS["gpwp"](ratio=0.5, interval=1, until=2, batches=2)
    record = run(dense(method=method), Store(tmp_path))
    assert [epoch.phase for epoch in record.history] == ["prune", "prune", "sparse", "sparse"]
    first, second = (epoch.macs for epoch in record.history[:2])
    assert first is not None
    assert second is not None
    assert record.cost is not None
    assert record.cost.macs == second < first < record.cost.dense_macs
    assert record.spec.title == "resnet8-basic gradual pruning by relevance 50 %, seed 0"


def test_steps_after_the_trainings_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="until=9 is beyond the training's 4 epochs"):
        run(dense(method=GradualPruningSettings(ratio=0.5, interval=1, until=9)), Store(tmp_path))
