"""LFPC: candidates and draws by hand, what is learned, what goes, and going on from any point."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import assert_unchanged, build, snapshot
from rival_loop import EXAMPLE, RivalLoop, data, restore, save
from tiny import dense
from torch import Tensor, nn

from pat import LayerCollapse, surgery
from pat.channels import trace
from pat.methods import METHODS
from pat.rivals.lfpc import CANDIDATES, CriteriaSampler, LearnedCriteria, LearnedCriteriaSettings
from pat.rivals.lfpc.candidates import candidate_masks, candidate_scores
from pat.rivals.lfpc.sampler import gumbel_softmax
from pat.study.runs.run import run
from pat.study.store import Store

torch.set_num_threads(1)


class Loop(RivalLoop):
    def __init__(self, seed: int = 0, **settings: Any) -> None:
        super().__init__(LearnedCriteria, {"ratio": 0.5, "epoch": 1} | settings, seed)


# --- candidates --------------------------------------------------------------------------------------------


def test_candidates_worked_by_hand() -> None:
    filters = torch.tensor([[3.0, 4.0], [6.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    scores = {name: of(filters).tolist() for name, of in CANDIDATES.items()}
    assert scores["l1"] == [7.0, 6.0, 0.0]
    assert scores["l2"] == [5.0, 6.0, 0.0]
    # Distances: 5 between the first two, as 3^2 + 4^2; 5 and 6 to the third.
    assert scores["geometric_median"] == pytest.approx([10.0, 11.0, 11.0])


def test_candidates_disagree_and_so_do_their_masks() -> None:
    scores = torch.tensor([[7.0, 6.0, 0.0], [5.0, 6.0, 0.0], [10.0, 11.0, 11.0]])
    masks = candidate_masks(scores, ratio=0.5, min_channels=1)  # 3 - ceil(1.5) = 1 stays
    assert masks.tolist() == [[True, False, False], [False, True, False], [False, True, False]]
    assert candidate_masks(scores, 0.99, 2).sum(1).tolist() == [2, 2, 2]
    assert not candidate_masks(scores, 0.99, 0).any()


def test_a_coupled_channel_has_the_sum_over_its_layers() -> None:
    model = Loop().model
    groups = trace(model, EXAMPLE)
    scores = candidate_scores(model, groups, groups.neurons())
    rows = [
        model.get_parameter(f"{layer}.weight").detach().double().flatten(1) for layer in ("conv2", "conv3")
    ]
    for i, of in enumerate(CANDIDATES.values()):
        assert torch.allclose(scores["conv2"][i], of(rows[0]) + of(rows[1]))


def test_scores_follow_a_permutation_of_channels() -> None:
    model = Loop().model
    groups = trace(model, EXAMPLE)
    before = candidate_scores(model, groups, groups.neurons())
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.conv4.weight.copy_(model.conv4.weight.clone()[order])
    after = candidate_scores(model, groups, groups.neurons())
    assert torch.allclose(after["conv4"], before["conv4"][:, order])
    assert torch.equal(after["conv2"], before["conv2"])


# --- the sampler -------------------------------------------------------------------------------------------


def test_a_draw_worked_by_hand() -> None:
    logits, noise = torch.tensor([math.log(1.0), math.log(3.0)]), torch.tensor([math.log(2.0), 0.0])
    # Without noise p = 1/4 and 3/4; with it 2/4 and 3/4; squared, at temperature 1/2, 4/16 and 9/16.
    assert torch.allclose(gumbel_softmax(logits, torch.zeros(2), 1.0), torch.tensor([1 / 4, 3 / 4]))
    assert torch.allclose(gumbel_softmax(logits, noise, 0.5), torch.tensor([4 / 13, 9 / 13]))


def test_draws_choose_as_often_as_the_probabilities_say() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    uniform = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)).clamp_(1e-12)
    drawn = gumbel_softmax(logits.expand(20000, 3), -torch.log(-torch.log(uniform)), 0.1).argmax(1)
    assert torch.allclose(drawn.bincount() / 20000, logits.softmax(0), atol=0.015)


class Two(nn.Module):
    """Two channels of an image of two: the first one knows the class, the second one is noise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1, bias=False)
        self.mix = nn.Conv2d(2, 2, 1, bias=False)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.stem.weight.copy_(torch.eye(2).reshape(2, 2, 1, 1))
            self.mix.weight.copy_(torch.eye(2).reshape(2, 2, 1, 1))
            self.fc.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix(self.stem(x)).flatten(1))


def knowing(masks: list[list[float]], **settings: Any) -> tuple[CriteriaSampler, Tensor, Tensor]:
    model, images = Two(), torch.randn(64, 2, 1, 1, generator=torch.Generator().manual_seed(0)) * 2
    labels = (images[:, 0, 0, 0] < 0).long()
    groups = trace(model, images)
    return CriteriaSampler(model, groups, {"mix": torch.tensor(masks) > 0}, **settings), images, labels


def test_the_loss_is_that_of_the_weighted_pruned_layers() -> None:
    sampler, images, labels = knowing([[1, 0], [0, 1], [0, 1]])
    # Equal weights: the first channel counts 1/3, the second one 2/3.
    logit = images[:, 0].flatten() / 3 + images[:, 1].flatten() * 2 / 3
    wanted = F.cross_entropy(torch.stack([logit, -logit], 1), labels)
    assert torch.allclose(sampler.loss(images, labels, torch.zeros(1, 3)), wanted)


@pytest.mark.parametrize("knows", [0, 1, 2])
def test_the_candidate_that_keeps_what_knows_the_class_is_chosen(knows: int) -> None:
    masks = [[0.0, 1.0]] * 3
    masks[knows] = [1.0, 0.0]
    sampler, images, labels = knowing(masks, seed=1)
    assert sampler.chosen() == {"mix": 0}  # of equal ones the first
    for _ in range(20):
        sampler.step(images, labels)
    assert sampler.chosen() == {"mix": knows}


def test_a_sure_sampler_is_the_pruned_network() -> None:
    model, images = build("resnet18")
    model.eval()
    groups = trace(model, images)
    scores = candidate_scores(model, groups, groups.neurons())
    masks = {name: candidate_masks(score, 0.5, 1) for name, score in scores.items()}
    sampler = CriteriaSampler(model, groups, masks)
    labels, noise = torch.tensor([3, 5]), torch.full(sampler.logits.shape, -1e9)
    noise[:, 2] = 0.0
    ours = sampler.loss(images, labels, noise)
    surgery.remove(model, {name: mask[2] for name, mask in masks.items()}, groups=groups)
    assert torch.allclose(ours, F.cross_entropy(model(images), labels), rtol=1e-4)


# --- what goes ---------------------------------------------------------------------------------------------


def test_every_group_loses_the_share_at_the_end_of_the_epoch() -> None:
    loop = Loop(ratio=0.25).epochs(3)
    assert [report.status for report in loop.pat.reports] == ["dense", "prune", "sparse"]
    assert loop.pat.reports[1].counts == {"conv2": 12, "conv3": 12, "conv4": 12}
    assert loop.pat.chosen.keys() == loop.pat.neurons.keys()
    assert set(loop.pat.chosen.values()) <= set(CANDIDATES)
    assert loop.model.conv4.weight.shape[:2] == (12, 12)


def test_what_is_kept_is_what_the_chosen_criterion_keeps() -> None:
    loop = Loop().epochs(1)
    for x, y in data(1):
        loop.step(x, y)
    scores = candidate_scores(loop.model, loop.pat.groups, loop.pat.neurons)
    before, state = snapshot(loop.model), torch.get_rng_state()
    wanted = loop.pat.wanted()
    assert_unchanged(loop.model, before)
    assert torch.equal(torch.get_rng_state(), state)
    loop.pat.end_epoch()
    for name, candidate in loop.pat.chosen.items():
        mask = candidate_masks(scores[name], 0.5, 1)[list(CANDIDATES).index(candidate)]
        assert torch.equal(loop.pat.kept[name], mask)
        assert wanted is not None
        assert torch.equal(wanted[name], mask)


def test_no_path_left_is_a_collapse() -> None:
    with pytest.raises(LayerCollapse, match=r"by epoch 1 learned criteria have left no path"):
        Loop(ratio=0.99, min_channels=0).epochs(2)


def test_weights_that_are_no_numbers_are_an_error() -> None:
    loop = Loop(epoch=0)
    with torch.no_grad():
        loop.model.conv4.weight[2] = torch.nan
    with pytest.raises(ValueError, match="must be finite, those of 'conv4'"):
        loop.pat.end_epoch()


# --- going on ----------------------------------------------------------------------------------------------


def test_resuming_anywhere_is_the_uninterrupted_run() -> None:
    whole, files = Loop(), []
    for epoch in range(3):
        for step, (x, y) in enumerate(data(epoch)):
            files.append((epoch, step, save(whole)))
            whole.step(x, y)
        whole.pat.end_epoch()
    for epoch, step, file in files[::2]:
        loop = Loop(seed=99)
        restore(loop, file)
        loop.epochs(3 - epoch, first_step=step)
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, loop.model.state_dict()[name]), (epoch, step, name)
        assert loop.pat.chosen == whole.pat.chosen
        assert loop.pat.reports == whole.pat.reports[epoch:]


@pytest.mark.parametrize("other", [{"ratio": 0.4}, {"epoch": 2}, {"temperature": 0.5}, {"min_channels": 2}])
def test_a_state_of_other_settings_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the state was saved with"):
        Loop(**other).pat.load_state_dict(Loop().pat.state_dict())


# --- as a method -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
        ({"ratio": math.nan}, "got nan"),
        ({"epoch": -1}, "epoch must not be negative, got -1"),
        ({"batches": -1}, "batches must not be negative, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"temperature": math.inf}, "temperature must be positive and finite, got inf"),
        ({"count": "channels"}, "'filter' or 'unit', got 'channels'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(**settings)


def test_what_the_training_costs_worked_by_hand() -> None:
    method = LearnedCriteriaSettings(ratio=0.5, epoch=1)
    # Two epochs at 100, two at 60, one dense pass of an epoch's minibatches.
    assert math.isclose(method.training_share(100, 60, 10, [(1, 60)], 4), (320 + 100) / 400)
    few = LearnedCriteriaSettings(ratio=0.5, epoch=1, batches=5)
    assert math.isclose(few.training_share(100, 60, 10, [(1, 60)], 4), (320 + 50) / 400)


def test_a_run_is_recorded_with_structure_and_cost(tmp_path: Path) -> None:
    spec = dense(method=METHODS["lfpc"](ratio=0.5, epoch=1, batches=2))
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    record = run(spec, Store(tmp_path))
    assert [epoch.phase for epoch in record.history] == ["dense", "prune", "sparse", "sparse"]
    assert record.cost is not None
    assert record.cost.macs == record.history[1].macs < record.cost.dense_macs
    assert record.spec.title == "resnet8-basic learned criteria 50 %, seed 0"


def test_a_removal_after_the_trainings_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epoch=4 is beyond the training's 4 epochs"):
        run(dense(method=LearnedCriteriaSettings(ratio=0.5, epoch=4)), Store(tmp_path))


def test_the_model_of_a_state_is_not_touched() -> None:
    loop = Loop().epochs(2)
    state = loop.pat.state_dict()
    before = copy.deepcopy(state)
    loop.epochs(1)
    assert str(state) == str(before)
