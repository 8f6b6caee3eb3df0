"""Pruning at initialisation: scores by hand, what they must be equal to, what goes, and whole runs."""

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Plain, assert_unchanged, random_masks, roughen, snapshot
from tiny import dense
from torch import Tensor, nn

from pat import surgery
from pat.channels import trace
from pat.loops.counting import Counting
from pat.methods import METHODS, Start
from pat.pruner import LayerCollapse
from pat.rivals.initialisation import FORCE, SNIP, GraSP, IterativeSNIP, RandomChannels, SynFlow
from pat.rivals.initialisation.mask import AtInitialisation
from pat.rivals.scores.gates import weights
from pat.rivals.scores.gradient_flow import gradient_flow
from pat.rivals.scores.synaptic_flow import SynapticFlow
from pat.study.plan.spec import Neurons
from pat.study.runs.run import run
from pat.study.store import Store

SHAPE = (1, 8, 8)
RULES: list[type[AtInitialisation]] = [SNIP, IterativeSNIP, FORCE, GraSP, SynFlow, RandomChannels]


def digits(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Three minibatches of noise, others in each epoch."""
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(3):
        yield torch.randn(8, *SHAPE, generator=generator), torch.randint(10, (8,), generator=generator)


def in_64_bits(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    return ((images.double(), labels) for images, labels in digits(epoch))


def start(
    model: nn.Module,
    batches: Callable[[int], Iterator[tuple[Tensor, Tensor]]] = digits,
    example: Tensor | None = None,
    **changes: Any,
) -> Start:
    fields: dict[str, Any] = {"steps_per_epoch": 3, "epochs": 4, "seed": 0, "label_smoothing": 0.0}
    fields |= {"count": "filter", "keep_stem": True, "min_channels": 1}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    whole = torch.zeros(2, *SHAPE) if example is None else example
    return Start(model, optimizer, whole, batches=batches, **(fields | changes))


def plain(seed: int = 0) -> Plain:
    torch.manual_seed(seed)
    return Plain()


def scores(
    rule: AtInitialisation, begin: Start, kept: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    groups = trace(begin.model, begin.example)
    return rule.scorer(begin, groups, groups.neurons(begin.keep_stem))(kept or {})


def chain(*layers: list[list[float]]) -> nn.Sequential:
    """Linear layers without biases or anything between them."""
    made = [nn.Linear(len(rows[0]), len(rows), bias=False) for rows in layers]
    for layer, rows in zip(made, layers, strict=True):
        layer.weight.data = torch.tensor(rows)
    return nn.Sequential(*made)


def short(rule: type[AtInitialisation], ratio: float = 0.5) -> AtInitialisation:
    """The rule with few steps, where it has some."""
    return rule(ratio, steps=4) if "steps" in rule.takes() else rule(ratio)  # type: ignore[call-arg]


def one(*values: float) -> Callable[[int], Iterator[tuple[Tensor, Tensor]]]:
    """The same single sample of class 0 in every epoch."""
    return lambda epoch: iter([(torch.tensor([values], dtype=torch.float32), torch.tensor([0]))])


# --- scores -------------------------------------------------------------------------------------------------

SMALL = ([[3.0, -1.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]])


def test_snip_by_hand() -> None:
    # h = (2, 2) and so are the logits, whose gradient is (-1/2, 1/2), and h's. Weights times gradients are
    # (-3/2, 1/2) and (0, 1).
    begin = start(chain(*SMALL), one(1, 1), torch.ones(1, 2))
    assert scores(SNIP(0.5), begin)["0"].tolist() == [2.0, 1.0]
    assert scores(IterativeSNIP(0.5), begin)["0"].tolist() == [2.0, 1.0]


def test_force_by_hand() -> None:
    # Without the first channel logits are (0, 2): their gradient is (-q, q), q the softmax's second output.
    begin = start(chain(*SMALL), one(1, 1), torch.ones(1, 2))
    found = scores(FORCE(0.5), begin, {"0": torch.tensor([False, True])})["0"]
    q = float(torch.tensor([0.0, 2.0]).softmax(0)[1])
    assert found.tolist() == pytest.approx([4 * q, 2 * q])
    neurons = trace(begin.model, begin.example).neurons(begin.keep_stem)
    again = Counting(neurons, "unit", min_channels=0, ratio=0.5).top({"0": found}, 1)
    assert again["0"].tolist() == [True, False]  # the first comes back
    alone = scores(IterativeSNIP(0.5), begin, {"0": torch.tensor([False, True])})["0"]
    assert alone.tolist() == pytest.approx([0, 2 * q])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_grasp_by_hand(temperature: float) -> None:
    # One hidden unit a = 1 with outputs b = c = 1: the loss is log(1 + exp(-(b - c) a / T)). Its gradient is
    # (0, -1/2, 1/2) / T, its mixed second derivatives with respect to a are -1/2 and 1/2 / T.
    begin = start(chain([[1.0]], [[1.0], [1.0]]), one(1), torch.ones(1, 1))
    found = scores(GraSP(0.5, temperature=temperature), begin)["0"]
    assert found.tolist() == pytest.approx([0.5 / temperature**2])


def test_synflow_by_hand() -> None:
    # Ones become (3, 4), each unit of which the outputs have 2 and 3 times: 6 and 12.
    begin = start(chain([[1.0, -2.0], [-4.0, 0.0]], [[1.0, 1.0], [-1.0, 2.0]]), example=torch.zeros(3, 2))
    assert scores(SynFlow(0.5), begin)["0"].tolist() == [6.0, 12.0]


def test_a_coupled_channels_score_is_that_of_all_its_filters() -> None:
    begin = start(plain())
    images, labels = next(digits(0))
    model = copy.deepcopy(begin.model).train()
    F.cross_entropy(model(images), labels).backward()
    products = [(w * w.grad).abs().sum((1, 2, 3)) for w in (model.conv2.weight, model.conv3.weight)]
    found = scores(SNIP(0.5), begin)
    assert list(found) == ["conv2", "conv4"]
    assert torch.allclose(found["conv2"], sum(products).double())


def test_more_minibatches_give_the_gradient_of_their_mean() -> None:
    begin = start(plain())
    model = copy.deepcopy(begin.model).train()
    for images, labels in digits(0):
        (F.cross_entropy(model(images), labels, label_smoothing=0.1) / 3).backward()
    wanted = (model.conv4.weight * model.conv4.weight.grad).abs().sum((1, 2, 3)).double()
    found = scores(SNIP(0.5, batches=3), start(plain(), label_smoothing=0.1))["conv4"]
    assert torch.allclose(found, wanted, rtol=1e-4)


class Mixed(nn.Module):
    """What else couples channels: a depthwise convolution, a gate, groups, branches side by side, Flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.gate = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8), nn.GELU())
        self.turned = nn.Sequential(nn.ConvTranspose2d(8, 5, 3), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(13, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.classifier = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.wide(self.stem(x)))
        x = x * self.gate(x.mean((2, 3), keepdim=True))
        x = torch.cat([x, self.turned(self.grouped(x))], 1)
        return self.classifier(self.last(x).flatten(1))


@pytest.mark.parametrize("rule", [IterativeSNIP(0.5), FORCE(0.5), SynFlow(0.5)])
@pytest.mark.parametrize("make", [plain, Mixed])
def test_channels_that_are_left_score_as_if_the_others_were_removed(
    rule: AtInitialisation, make: Callable[[], nn.Module]
) -> None:
    torch.manual_seed(0)
    model = make()
    begin = start(model)
    groups = trace(model, begin.example)
    kept = random_masks(groups, 0.4, names=groups.neurons())
    assert len(kept) == (2 if make is plain else 5)
    found = scores(rule, begin, kept)
    smaller = copy.deepcopy(model)
    surgery.remove(smaller, kept, groups=groups)
    wanted = scores(rule, start(smaller))
    for group, mask in kept.items():
        assert torch.allclose(found[group][mask], wanted[group], rtol=1e-3, atol=1e-7), group
    off = torch.cat([found[group][~mask] for group, mask in kept.items()])
    assert bool(off.all() if rule.returning else not off.any() or isinstance(rule, SynFlow))


def test_force_is_the_dense_weights_with_the_gradient_of_the_pruned_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(6, 6, bias=False) for _ in range(3)), nn.Linear(6, 10, bias=False))

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield torch.randn(5, 6, generator=torch.Generator().manual_seed(1)), torch.arange(5)

    begin = start(model, batches, torch.zeros(1, 6))
    kept = {name: torch.rand(6, generator=torch.Generator().manual_seed(i)) < 0.5 for i, name in
            enumerate(("0", "1", "2"))}  # fmt: skip
    assert not all(bool(mask.all()) for mask in kept.values())
    masked = [layer.weight.detach().clone().requires_grad_() for layer in model]
    images, labels = next(batches(0))
    value = images
    for weight, name in zip(masked, ("0", "1", "2", ""), strict=True):
        rows = kept[name][:, None] if name else torch.ones(1, 1)
        value = (
            value @ (weight.detach() * rows + weight - weight.detach()).t() if name else value @ weight.t()
        )
        # the value is that of zeroed rows, the gradient is handed through to all
    F.cross_entropy(value, labels).backward()
    found = scores(FORCE(0.5), begin, kept)
    for name, weight in zip(("0", "1", "2"), masked, strict=False):
        assert torch.allclose(found[name], (weight * weight.grad).abs().sum(1).double(), rtol=1e-5), name


def test_grasps_product_is_the_gradients_change_along_itself() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers).double()
    begin = start(model, in_64_bits)

    def gradient() -> list[Tensor]:
        losses = [F.cross_entropy(model(x.double()) / 3, y) for x, y in digits(0)]
        return list(torch.autograd.grad(sum(losses[:2]) / 2, list(own.values())))

    own = weights(model)
    before, step = {n: w.detach().clone() for n, w in own.items()}, 1e-4
    along = gradient()
    ends = []
    for sign in (1, -1):
        for weight, direction in zip(own.values(), along, strict=True):
            weight.data += sign * step * direction
        ends.append(gradient())
        for name, weight in own.items():
            weight.data = before[name].clone()
    found = gradient_flow(begin, 2, temperature=3.0)
    for i, (name, weight) in enumerate(before.items()):
        wanted = weight * (ends[0][i] - ends[1][i]) / (2 * step)
        assert torch.allclose(found[name], wanted, rtol=1e-4, atol=1e-9), name


def test_grasp_removes_the_largest_gradients_before_a_batchnorm() -> None:
    model = plain().double()
    for norm in (model.bn2, model.bn3):
        norm.eps = 1e-12
    begin = start(model, in_64_bits, torch.zeros(2, *SHAPE).double())
    trained = copy.deepcopy(model).train()
    images, labels = next(digits(0))
    F.cross_entropy(trained(images.double()), labels).backward()
    filters = [layer.weight.grad.square().sum((1, 2, 3)) for layer in (trained.conv2, trained.conv3)]
    found = scores(GraSP(0.5, temperature=1.0), begin)["conv2"]
    assert torch.allclose(found, -sum(filters), rtol=1e-5)


def test_synflow_is_conserved_by_layers_and_by_channels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU6(), nn.MaxPool2d(2),
        nn.Conv2d(5, 7, 3), nn.GELU(), nn.Flatten(), nn.Dropout(), nn.Linear(28, 10),
    )  # fmt: skip
    roughen(model)
    groups = trace(model, torch.zeros(2, *SHAPE))
    flow = SynapticFlow(model, torch.zeros(2, *SHAPE), groups, groups.neurons())
    for kept in ({}, {"4": torch.arange(7) > 2}):
        found = flow.weight_scores(kept)
        totals = [float(found[name].sum()) for name in ("0.weight", "4.weight", "8.weight")]
        assert totals == pytest.approx([totals[0]] * 3)
        out = found["8.weight"].sum(0).reshape(7, 4).sum(1)  # of the last channels into the classifier
        into = found["4.weight"].sum((1, 2, 3))
        on = kept.get("4", torch.ones(7, dtype=torch.bool))
        assert torch.allclose(into[on], out[on])
        assert not out[~on].any()


# --- what goes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_as_many_go_as_the_ratio_says_before_the_first_step(rule: type[AtInitialisation]) -> None:
    for ratio in (0.0, 0.3, 0.75):
        model = plain()
        pruner = short(rule, ratio).build(start(model, count="unit"))
        left = sum(int(mask.sum()) for mask in pruner.kept.values())
        assert left == 32 - round(ratio * 32)
        assert (model.conv2.out_channels, model.conv4.out_channels) == tuple(
            int(mask.sum()) for mask in pruner.kept.values()
        )
        assert pruner.status == "sparse"
        for name, group in pruner.neurons.items():
            assert pruner.kept[name].shape == (group.size,)


@pytest.mark.parametrize("rule", RULES)
def test_filters_are_counted_and_every_group_keeps_the_least(rule: type[AtInitialisation]) -> None:
    for ratio, least in ((0.4, 1), (0.85, 2)):
        pruner = short(rule, ratio).build(start(plain(), min_channels=least))
        two, four = (int(mask.sum()) for mask in pruner.kept.values())
        keep = 48 - int(-(-ratio * 48 // 1))  # conv2's channels are conv3's, too
        assert keep - 1 <= 2 * two + four <= keep
        assert min(two, four) >= least


def test_force_in_one_step_is_snip() -> None:
    masks = [rule.build(start(plain())).kept for rule in (SNIP(0.5), FORCE(0.5, steps=1),
                                                          IterativeSNIP(0.5, steps=1))]  # fmt: skip
    for other in masks[1:]:
        assert all(torch.equal(masks[0][name], mask) for name, mask in other.items())


def test_channels_come_back_by_force_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from pat.rivals.scores.sensitivity import ConnectionSensitivity

    seen: list[dict[str, Tensor]] = []
    original = ConnectionSensitivity.__call__

    def watched(self: ConnectionSensitivity, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(kept)
        return original(self, kept)

    monkeypatch.setattr(ConnectionSensitivity, "__call__", watched)
    for rule, comes_back in ((FORCE(0.7, steps=20), True), (IterativeSNIP(0.7, steps=20), False)):
        seen.clear()
        last = rule.build(start(plain(), count="unit")).kept
        sizes = [sum(int(mask.sum()) for mask in kept.values()) for kept in (*seen, last)]
        assert sizes[0] == 32
        assert sizes[-1] == 9
        assert sizes == sorted(sizes, reverse=True)
        later = [*seen[1:], last]
        new = [any(bool((b[n] & ~a[n]).any()) for n in a) for a, b in zip(seen, later, strict=True)]
        assert any(new) == comes_back


def test_rounds_see_new_minibatches() -> None:
    taken: list[int] = []

    def counted(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for i, batch in enumerate(digits(epoch)):
            taken.append(3 * epoch + i)
            yield batch

    IterativeSNIP(0.5, steps=4, batches=2).build(start(plain(), counted))
    assert taken == list(range(8))
    taken.clear()
    SynFlow(0.5).build(start(plain(), counted))
    assert taken == []


@pytest.mark.parametrize("rule", RULES)
def test_scoring_leaves_the_network_and_the_random_state(rule: type[AtInitialisation]) -> None:
    model = plain().eval()
    before, state = snapshot(model), torch.get_rng_state()
    begin = start(model)
    scores(rule(0.5), begin)
    assert_unchanged(model, before)
    short(rule).build(begin)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("rule", RULES)
def test_the_seed_decides_what_is_drawn(rule: type[AtInitialisation]) -> None:
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(3 + len(masks))
        model = nn.Sequential(plain(), nn.Dropout(0.5))
        masks.append(torch.cat(list(short(rule).build(start(model, seed=seed)).kept.values())))
    assert torch.equal(masks[0], masks[1])
    if rule is RandomChannels:
        assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("rule", RULES)
def test_a_network_that_is_cut_in_two_says_so_in_its_first_step(rule: type[AtInitialisation]) -> None:
    model = plain()
    pruner = short(rule, 0.97).build(start(model, min_channels=0))
    assert pruner.status == "prune"
    output = model.eval()(torch.randn(4, *SHAPE))
    assert torch.allclose(output, output[:1].expand_as(output))
    with pytest.raises(LayerCollapse, match="leaves no path of channels"):
        pruner.step()
    with pytest.raises(LayerCollapse):
        pruner.end_epoch(1.0)


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *((lambda rule=rule: rule(1.0), r"ratio must lie in \[0, 1\), got 1.0") for rule in RULES),
        (lambda: SNIP(-0.1), "got -0.1"),
        (lambda: SNIP(0.5, batches=0), "batches must be at least 1, got 0"),
        (lambda: FORCE(0.5, steps=0), "steps must be at least 1, got 0"),
        (lambda: IterativeSNIP(0.5, batches=-1), "batches must be at least 1, got -1"),
        (lambda: SynFlow(0.5, steps=0), "steps must be at least 1, got 0"),
        (lambda: GraSP(0.5, batches=0), "batches must be at least 1, got 0"),
        (lambda: GraSP(0.5, temperature=0.0), "temperature must be positive and finite, got 0.0"),
        (lambda: GraSP(0.5, temperature=float("inf")), "got inf"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], AtInitialisation], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_ratio_that_the_least_number_of_channels_forbids_is_refused() -> None:
    with pytest.raises(ValueError, match="min_channels=8"):
        SNIP(0.9).build(start(plain(), min_channels=8))


def test_scores_that_are_no_numbers_are_refused() -> None:
    model = plain()
    model.conv4.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="SNIP: scores must be finite"):
        SNIP(0.5).build(start(model))


# --- runs ---------------------------------------------------------------------------------------------------

METHOD: dict[str, AtInitialisation] = {
    "snip": SNIP(0.5),
    "iterative_snip": IterativeSNIP(0.5, steps=3),
    "force": FORCE(0.5, steps=3),
    "grasp": GraSP(0.5),
    "synflow": SynFlow(0.5, steps=5),
    "random": RandomChannels(0.5),
}


def test_all_are_registered() -> None:
    assert {name: type(rule) for name, rule in METHOD.items()}.items() <= dict(METHODS).items()


@pytest.mark.parametrize("name", METHOD)
def test_a_run_is_small_from_its_first_epoch_on(name: str, tmp_path: Path) -> None:
    rule = METHOD[name]
    spec = dense(method=rule, neurons=Neurons(min_channels=1))
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    record = run(spec, Store(tmp_path))
    assert record.status == "done"
    assert record.cost.macs < 0.7 * record.cost.dense_macs
    passes = {"snip": 1, "iterative_snip": 3, "force": 3, "grasp": 4}.get(name, 0)
    steps = 4 * 5
    assert record.cost.training_share == pytest.approx(
        record.cost.macs / record.cost.dense_macs + passes / steps
    )
    assert record.history[0].phase == "sparse"
    assert sum(record.history[0].structure.values()) > 0
    assert spec.title == f"resnet8-basic {rule.title} 50 %, seed 0"


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    from pat.study.runs.building import build_trainer, open_data
    from pat.study.runs.watcher import SILENT

    spec = dense(method=FORCE(0.5, steps=3), neurons=Neurons(min_channels=1))
    data = open_data(spec)
    whole, part = (build_trainer(spec, data, SILENT, 0) for _ in range(2))
    whole.train()
    part.train(until=2)
    again = build_trainer(spec, data, SILENT, 0)
    again.load_state_dict(copy.deepcopy(part.state_dict()))
    again.train()
    ours, theirs = again.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_collapsed_run_is_a_record(tmp_path: Path) -> None:
    record = run(dense(method=SNIP(0.99)), Store(tmp_path))
    assert record.status == "collapsed"
    assert record.result.prune_epoch == 0
