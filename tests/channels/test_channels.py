"""Channel groups: against engine.md's counts, against Torch-Pruning, and by hand on small networks."""

import ast
import copy
import operator
import random
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
import torch_pruning
import torchvision
from networks import Plain, assert_unchanged, build, difference, random_masks, roughen, snapshot
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from pat import channels, surgery
from pat.channels import ChannelGroups, UnsupportedOperation, trace
from pat.channels.operations.own import _RULES

torch.set_num_threads(1)

# Groups, units and filters of the whole model. The filters of the SSDs are without the head's output
# convolutions (3,420 and 2,850 channels), whose channels are no neurons.
COUNTS = {
    "resnet34": (20, 4736, 8512),
    "resnet50": (37, 11456, 26560),
    "mobilenet_v2": (25, 9128, 17056),
    "mobilenet_v3_large": (30, 8696, 17280),
    "vgg16_bn": (15, 12416, 4224),
    "mobilenetv1_100": (14, 5984, 10944),
    "ssdlite320": (37, 7384, 23772 - 3420),
    "ssd300": (23, 8192, 11042 - 2850),
}


def count_filters(groups: ChannelGroups) -> int:
    return sum(g.size * g.multiplicity for g in groups.values() if g.convolutional)


def torch_pruning_sets(model: nn.Module, x: Tensor, layer: str, channel: int) -> set[tuple[str, int]]:
    """The output channels and BatchNorm channels that Torch-Pruning removes with one channel."""
    graph = model.tp_graph
    module = model.get_submodule(layer)
    cut = graph.get_pruner_of_module(module).prune_out_channels
    names = {m: name for name, m in model.named_modules()}
    found = set()
    for dependency, indices in graph.get_pruning_group(module, cut, idxs=[channel]):
        target = dependency.target.module
        outputs = dependency.handler.__name__ == "prune_out_channels"
        if outputs and isinstance(target, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            found |= {(names[target], int(i)) for i in indices}
    return found


@pytest.mark.filterwarnings("ignore:Unwrapped parameters")
@pytest.mark.parametrize("name", ["resnet18", *COUNTS, "plain"])
def test_groups_are_engine_mds_and_torch_prunings(name: str) -> None:
    model, x = build(name)
    groups = trace(model, x)
    if name in COUNTS:
        units = sum(g.size for g in groups.values())
        assert (len(groups), units, count_filters(groups)) == COUNTS[name]

    model.eval()
    model.tp_graph = torch_pruning.DependencyGraph().build_dependency(model, x)
    for group in groups.values():
        for unit in {0, group.size // 2, group.size - 1}:
            ours = {(m.layer, int(m.channels[unit])) for m in (*group.members, *group.norms)}
            for member in group.members if unit == 0 else group.members[-1:]:
                theirs = torch_pruning_sets(model, x, member.layer, int(member.channels[unit]))
                assert ours == theirs, (member.layer, unit)

    covered = {
        (member.layer, int(channel))
        for group in groups.values()
        for member in group.members
        for channel in member.channels
    }
    outputs = {"fc", "classifier", "head", "classifier.1", "classifier.3", "classifier.6"}
    for layer, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and not layer.startswith("head."):
            assert {(layer, c) for c in range(module.out_channels)} <= covered, layer
        elif isinstance(module, nn.Linear) and layer in outputs and module.out_features == 1000:
            assert not any(owner == layer for owner, _ in covered), layer


def test_resnet18_by_hand() -> None:
    groups = trace(*build("resnet18"))
    # Stage 1: stem and both blocks' second convolutions. Each later stage: downsample and the second ones.
    stage1 = ("conv1", "layer1.0.conv2", "layer1.1.conv2")
    assert groups["conv1"].layers == stage1
    assert groups["conv1"].multiplicity == 3
    assert groups["conv1"].reads_input
    assert {n.layer for n in groups["conv1"].norms} == {"bn1", "layer1.0.bn2", "layer1.1.bn2"}
    assert groups["layer3.0.conv2"].layers == (
        "layer3.0.conv2",
        "layer3.0.downsample.0",
        "layer3.1.conv2",
    )
    assert len(groups) == 4 + 8
    assert "fc" not in groups
    assert next(iter(groups)) == "conv1"
    assert list(groups.neurons(keep_stem=True)) == [n for n in groups if n != "conv1"]
    assert list(groups.neurons(keep_stem=False)) == list(groups)


def test_vgg_neurons_are_convolutions_alone() -> None:
    groups = trace(*build("vgg16_bn"))
    assert {"classifier.0", "classifier.3"} <= set(groups)
    assert not groups["classifier.0"].convolutional
    assert all(name.startswith("features.") for name in groups.neurons(keep_stem=False))


def test_a_users_net() -> None:
    groups = trace(Plain(), torch.randn(2, 1, 8, 8))
    assert {n: (g.size, g.layers, [m.layer for m in g.norms]) for n, g in groups.items()} == {
        "conv1": (8, ("conv1",), ["bn1"]),
        "conv2": (16, ("conv2", "conv3"), ["bn2", "bn3"]),
        "conv4": (16, ("conv4",), []),
    }
    assert [g.units.start for g in groups.values()] == [0, 8, 24]


def test_the_model_is_left_as_it_was() -> None:
    model, x = build("mobilenet_v3_large")
    model(x).sum().backward()
    model.features[3].eval()
    model.features[4].requires_grad_(False)
    before = snapshot(model)
    random_state = torch.get_rng_state()
    trace(model, x)
    assert_unchanged(model, before)
    assert torch.equal(random_state, torch.get_rng_state())


def test_a_failing_trace_leaves_the_model_as_it_was() -> None:
    class Broken(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("not today")

    model = Broken(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3))
    before = snapshot(model)
    with pytest.raises(UnsupportedOperation, match="Broken cannot be run: RuntimeError: not today"):
        trace(model, torch.randn(2, 3, 8, 8))
    assert_unchanged(model, before)


# --- small networks of one operation each ------------------------------------------------------------------


class Net(nn.Module):
    """Two convolutions side by side, the operation of interest, a convolution, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(3, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 6, 3, padding=1)
        self.d = nn.Conv2d(16, 6, 3, padding=1)
        self.map = nn.Conv2d(3, 1, 3, padding=1)
        self.fc = nn.Linear(6, 4)
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 8))
        self.one = nn.Parameter(torch.tensor([1.5]))
        self.fixed = torch.ones(8, 1, 1)  # no parameter, no buffer: nothing that could be cut

    def tall(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.shape[1], -1, 4)

    def after(self, x: Tensor, change: Callable[[Tensor], object]) -> Tensor:
        change(x)
        return self.end(x)

    def through_a_view(self, x: Tensor) -> Tensor:
        view = x.view_as(x)
        x.sigmoid_()
        return self.end(view)

    def end(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.c(x)).mean((2, 3)))

    def wide_end(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.d(x)).mean((2, 3)))


def net(forward: object) -> nn.Module:
    torch.manual_seed(0)
    return type("Case", (Net,), {"forward": forward})()


ONE = [("a", ("a",)), ("c", ("c",))]
JOINED = [("a", ("a", "b")), ("c", ("c",))]
APART = [("a", ("a",)), ("b", ("b",)), ("d", ("d",))]
FOLLOWED = {
    "add": (lambda s, x: s.end(s.a(x) + s.b(x)), JOINED),
    "add with alpha": (lambda s, x: s.end(s.a(x).add(s.b(x), alpha=2)), JOINED),
    "add by keyword": (lambda s, x: s.end(torch.add(s.a(x), other=s.b(x))), JOINED),
    "add all by keyword": (
        lambda s, x: s.end(torch.add(other=s.a(x), input=s.b(x))),
        [("a", ("a", "b")), ONE[1]],
    ),
    "multiply by keyword": (lambda s, x: s.end(torch.mul(s.a(x), other=s.b(x))), JOINED),
    "add in place": (lambda s, x: s.end(s.a(x).add_(s.b(x))), JOINED),
    "ReLU in place": (lambda s, x: s.after(s.a(x), F.relu_), ONE),
    "gate": (lambda s, x: s.end(s.a(x) * torch.sigmoid(s.b(x))), JOINED),
    "one minus the gate": (lambda s, x: s.end(s.a(x) * (1 - torch.sigmoid(s.b(x)))), JOINED),
    "divide": (lambda s, x: s.end(s.a(x) / 2), ONE),
    "divide by keyword": (lambda s, x: s.end(torch.div(input=s.a(x), other=2.0)), ONE),
    "divide by one parameter": (lambda s, x: s.end(s.a(x) / s.one), ONE),
    "add zero": (lambda s, x: s.end(0 + s.a(x)), ONE),
    "bare scale": (lambda s, x: s.end(s.a(x) * s.scale.view(1, -1, 1, 1)), ONE),
    "bare shift": (lambda s, x: s.end(s.a(x) + s.scale[None, :, None, None]), ONE),
    "concatenation": (lambda s, x: s.wide_end(torch.cat([s.a(x), s.b(x)], 1)), APART),
    "concatenation by keyword": (lambda s, x: s.wide_end(torch.cat(tensors=(s.a(x), s.b(x)), dim=1)), APART),
    "concatenation in space": (lambda s, x: s.end(torch.cat([s.a(x), s.b(x)], 3)), JOINED),
    "concatenation with itself": (
        lambda s, x: s.wide_end(torch.cat([s.a(x)] * 2, 1)),
        [("a", ("a",)), ("d", ("d",))],
    ),
    "a part of the image": (lambda s, x: s.end(s.a(x)[:, :, 1:-1, ::2]), ONE),
    "computed view": (lambda s, x: s.end(s.tall(s.a(x))), ONE),
    "unsqueeze, squeeze": (lambda s, x: s.end(s.a(x).unsqueeze(1).squeeze(1)), ONE),
    "there and back": (lambda s, x: s.end(s.a(x).permute(0, 2, 3, 1).transpose(1, 3).transpose(2, -1)), ONE),
    "normalised input": (lambda s, x: s.end(s.a(x - torch.tensor([1.0, 2, 3]).view(3, 1, 1))), ONE),
    "spatial attention": (lambda s, x: s.end(s.a(x) * torch.sigmoid(s.map(x))), ONE),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_followed(name: str) -> None:
    forward, expected = FOLLOWED[name]
    model = net(forward)
    roughen(model)
    x = torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert [(n, g.layers) for n, g in groups.items()] == expected
    assert_masked_is_removed(model, groups, x)


def assert_masked_is_removed(model: nn.Module, groups: ChannelGroups, x: Tensor, share: float = 0.5) -> None:
    """In eval and in train mode, in 64 bits; and something was removed."""
    kept = random_masks(groups, share)
    for training in (False, True):
        dense = copy.deepcopy(model).double().train(training)
        masked, removed = copy.deepcopy(dense), copy.deepcopy(dense)
        surgery.mask(masked, kept, groups=groups)
        surgery.remove(removed, kept, groups=groups)
        with torch.no_grad():
            assert difference(masked(x.double()), removed(x.double())) < 1e-9
            if any(not bool(mask.all()) for mask in kept.values()):
                assert difference(dense(x.double()), removed(x.double())) > 1e-3, "nothing was removed"


ZERO, TIED = "not zero when masked", "written in the code or does not follow"
KEPT_WHOLE: dict[str, tuple[object, str, str]] = {  # the layers that stay whole, and why
    "add a number": (lambda s, x: s.end(s.a(x) + 3), "a", ZERO),
    "one minus": (lambda s, x: s.end(1 - s.a(x)), "a", ZERO),
    "add one parameter": (lambda s, x: s.end(s.a(x) + s.one), "a", ZERO),
    "add one map": (lambda s, x: s.end(s.a(x) + s.map(x)), "a", ZERO),
    "sigmoid": (lambda s, x: s.end(torch.sigmoid(s.a(x))), "a", ZERO),
    "in place": (lambda s, x: s.after(s.a(x), lambda y: y.add_(1)), "a", ZERO),
    "in place on a part of the image": (
        lambda s, x: s.after(s.a(x), lambda y: y[:, :, 2:].add_(1)),
        "a",
        ZERO,
    ),
    "in place on a transposed view": (lambda s, x: s.after(s.a(x), lambda y: y.mT.exp_()), "a", ZERO),
    "in place on the input of a view": (lambda s, x: s.through_a_view(s.a(x)), "a", ZERO),
    "written into": (lambda s, x: s.after(s.a(x), lambda y: operator.setitem(y, 0, 1.0)), "a", ZERO),
    "sum of sigmoids": (lambda s, x: s.end(torch.sigmoid(s.a(x)) + s.b(x)), "a b", ZERO),
    "mean over channels": (lambda s, x: s.end(s.a(x) * s.b(x).mean(1, keepdim=True)), "b", "mixes"),
    "mean over all": (lambda s, x: s.end(s.a(x) * s.b(x).mean()), "b", "mixes"),
    "maximum over channels": (lambda s, x: s.end(s.a(x) * s.b(x).amax(1, keepdim=True)), "b", "mixes"),
    "softmax": (lambda s, x: s.end(F.softmax(s.a(x), 1)), "a", "mixes"),
    "divide by channels": (lambda s, x: s.end(s.a(x) / s.b(x)), "a b", ZERO),
    "power": (lambda s, x: s.end(s.a(x) ** 0), "a", ZERO),
    "slice of channels": (lambda s, x: s.end(torch.cat([s.a(x)[:, :4], s.b(x)[:, 4:]], 1)), "a b", "a part"),
    "one channel": (lambda s, x: s.end(s.a(x) * s.b(x)[:, 0].unsqueeze(1)), "b", "by their number"),
    "list of channels": (lambda s, x: s.end(s.a(x)[:, [1, 0, 3, 2, 5, 4, 7, 6]]), "a", "by their number"),
    "split by a number": (lambda s, x: s.end(torch.cat(s.a(x).split(4, 1)[::-1], 1)), "a", "a part"),
    "tensor in the code": (lambda s, x: s.end(s.a(x) * torch.arange(8.0).view(8, 1, 1)), "a", TIED),
    "tensor attribute": (lambda s, x: s.end(s.a(x) * s.fixed), "a", TIED),
    "literal view": (lambda s, x: s.end(s.a(x).view(-1, 8, 8, 8)), "a", "written into"),
    "literal view of a parameter": (lambda s, x: s.end(s.a(x) * s.scale.view(1, 8, 1, 1)), "a", TIED),
    "functional convolution": (
        lambda s, x: s.end(F.conv2d(s.a(x), s.c.weight.new_ones(8, 8, 1, 1))),
        "a",
        "weight",
    ),
    "its number as a factor": (
        lambda s, x: s.end(s.a(x) * s.a(x).shape[1] ** -0.5),
        "a",
        "uses their number",
    ),
    "another's number as a size": (
        lambda s, x: s.end(s.a(x).reshape(2, s.b(x).size(1), 8, 8)),
        "a b",
        "number",
    ),
}


@pytest.mark.parametrize("name", KEPT_WHOLE)
def test_what_cannot_be_smaller_stays_whole_and_is_said(name: str) -> None:
    forward, layers, reason = KEPT_WHOLE[name]
    model, x = net(forward), torch.randn(2, 3, 8, 8)
    roughen(model)
    groups = trace(model, x)
    for layer in layers.split():
        assert all(layer not in group.layers for group in groups.values())
        assert reason in groups.whole[layer]
        assert f"{layer} stays whole: " in repr(groups)
    assert_masked_is_removed(model, groups, x)


UNKNOWN = {
    "renorm": lambda s, x: s.end(torch.renorm(s.a(x), 2, 1, 1.0)),
    "logcumsumexp": lambda s, x: s.end(s.a(x).logcumsumexp(1) + torch.renorm(s.b(x), 2, 1, 1.0)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_operation_without_a_rule_is_refused_with_all_its_layers_and_the_remedy_works(name: str) -> None:
    model, x = net(UNKNOWN[name]), torch.randn(2, 3, 8, 8)
    with pytest.raises(UnsupportedOperation, match=f"{name} in layer") as error:
        trace(model, x)
    assert isinstance(error.value, ValueError)
    layers = ast.literal_eval(re.search(r"exclude=(\[.*?\])", str(error.value)).group(1))
    assert layers == (["a"] if name == "renorm" else ["a", "b"])
    groups = trace(model, x, exclude=layers)
    assert list(groups) == ["c"]
    assert_masked_is_removed(model, groups, x)


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Shifted(nn.ReLU):
    """A known layer with another forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class ScaledWeight(nn.Conv2d):
    """A convolution whose filters are normalised."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        flat = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, keepdim=True) + 1e-5).sqrt()
        return self._conv_forward(x, flat.view_as(self.weight), self.bias)


class Response(nn.Module):
    """ConvNeXt V2's: each channel relative to the mean over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.square().sum((2, 3), keepdim=True).sqrt()
        return x + x * size / (size.mean(1, keepdim=True) + 1e-6) * self.scale


class Neighbours(nn.Module):
    """A gate from neighbouring channels, by a convolution over them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv(x.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(-1)
        return x * torch.sigmoid(gate).expand_as(x)


class Gates(nn.Module):
    """Squeeze and excitation with a softmax over two branches, as matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.up(torch.relu(self.down(torch.einsum("nchw->nc", x)))).view(x.shape[0], 2, x.shape[1])
        first, second = gates.softmax(1).unbind(1)
        return x * first[:, :, None, None] + x.abs() * second[:, :, None, None]


class ChannelsLast(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


EXACT_LAYERS: dict[str, Callable[[], nn.Module]] = {  # before a convolution of 8 channels; all prunable
    "channel shuffle": Shuffle,
    "torch's channel shuffle": lambda: nn.ChannelShuffle(4),
    "GroupNorm": lambda: nn.GroupNorm(4, 8),
    "GroupNorm of one group": lambda: nn.GroupNorm(1, 8),
    "GroupNorm without scale": lambda: nn.GroupNorm(4, 8, affine=False),
    "LayerNorm over all": lambda: nn.LayerNorm([8, 8, 8]),
    "LayerNorm over channels": lambda: ChannelsLast(8),
    "LayerNorm without scale": lambda: ChannelsLast(8, elementwise_affine=False),
    "RMSNorm over all": lambda: nn.RMSNorm([8, 8, 8]),
    "response normalisation": Response,
    "local response normalisation": lambda: nn.LocalResponseNorm(3),
    "standardised weights": lambda: ScaledWeight(8, 8, 3, padding=1),
    "standardised weights of groups": lambda: ScaledWeight(8, 8, 3, padding=1, groups=2),
    "convolution over channels": Neighbours,
    "gates": Gates,
    "PixelUnshuffle, PixelShuffle": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), nn.ReLU(), nn.PixelShuffle(2)
    ),
    "Softmax2d": nn.Softmax2d,
    "ConvTranspose": lambda: nn.ConvTranspose2d(8, 8, 2, 2),
    "ConvTranspose of groups": lambda: nn.ConvTranspose2d(8, 8, 2, 2, groups=2),
    "depthwise ConvTranspose": lambda: nn.ConvTranspose2d(8, 8, 2, 2, groups=8),
    "frozen batch norm": lambda: torchvision.ops.FrozenBatchNorm2d(8),
    "sigmoid": nn.Sigmoid,
    "sigmoid in place": lambda: nn.Sequential(nn.Hardsigmoid(inplace=True), nn.ReLU()),
    "sigmoid, then no shift": lambda: nn.Sequential(nn.Sigmoid(), nn.BatchNorm2d(8, affine=False)),
    "BatchNorm with a sigmoid in it": lambda: BatchNormAct2d(8, act_layer=nn.Sigmoid),
    "hard tanh away from 0": lambda: nn.Hardtanh(0.5, 1),
    "padding with ones": lambda: nn.ConstantPad2d(1, 1.0),
    "a subclass with another forward": Shifted,
    "fractional pooling": lambda: nn.LPPool2d(2, 2),
}


@pytest.mark.parametrize("name", EXACT_LAYERS)
def test_layers_that_keep_the_promise(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), EXACT_LAYERS[name](), nn.Conv2d(8, 4, 1))
    roughen(model)
    x = torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert any("0" in group.layers for group in groups.values())
    assert_masked_is_removed(model, groups, x)
    removed = copy.deepcopy(model)
    surgery.remove(removed, random_masks(groups, 0.5), groups=groups)
    again = trace(removed, x)
    assert_masked_is_removed(removed, again, x)


def test_a_batch_norm_over_weights_is_no_layer_of_its_own() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            flat = self.weight.reshape(1, self.out_channels, -1)
            flat = F.batch_norm(flat, None, None, self.bias, None, training=True)
            return self._conv_forward(x, flat.view_as(self.weight), None)

    model = nn.Sequential(nn.Conv2d(3, 6, 3), Standardised(6, 8, 3), nn.ReLU(), Standardised(8, 4, 3))
    x = torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert [(name, group.size, group.norms) for name, group in groups.items()] == [("0", 6, ()), ("1", 8, ())]
    assert_masked_is_removed(model, groups, x)


def test_a_masked_model_trains_as_the_smaller_one() -> None:
    """The norm that sees the kept alone passes gradients on: three steps of both give the same outputs."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), ChannelsLast(8), nn.ReLU(), nn.Conv2d(8, 4, 1)
    ).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    groups = trace(model, x)
    kept = random_masks(groups, 0.5)
    masked, removed = copy.deepcopy(model), copy.deepcopy(model)
    surgery.mask(masked, kept, groups=groups)
    surgery.remove(removed, kept, groups=groups)
    assert copy.deepcopy(masked)(x).equal(masked(x))
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (masked, removed)]
    for _ in range(3):
        for each, optimizer in zip((masked, removed), optimizers, strict=True):
            optimizer.zero_grad()
            each(x).square().mean().backward()
            optimizer.step()
    assert difference(masked(x), removed(x)) < 1e-9
    surgery.remove(masked, kept, groups=groups)
    assert difference(masked(x), removed(x)) < 1e-9
    assert set(vars(masked[1])) == set(vars(model[1]))


def test_unknown_operations_where_all_channels_stay_are_fine() -> None:
    head = nn.Sequential(nn.Conv2d(8, 8, 1), Shuffle(), nn.Softmax2d())
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), head)
    assert list(trace(model, torch.randn(2, 3, 8, 8))) == ["0"]


def test_hard_coded_view_before_a_classifier() -> None:
    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 32, 3, padding=1), nn.Linear(512, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).view(-1, 512))

    x = torch.randn(2, 3, 4, 4)
    groups = trace(Hard(), x)
    assert list(groups) == []
    assert "written into it" in groups.whole["conv"]
    assert list(trace(Hard(), x, exclude=["conv"])) == []


def test_shared_parameters_are_cut_once() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 2, 1)
    )
    model[3].weight = model[1].weight
    roughen(model)
    x = torch.randn(2, 3, 4, 4)
    groups = trace(model, x)
    assert [(g.layers, g.size) for g in groups.values()] == [(("0", "1"), 6)]
    assert_masked_is_removed(model, groups, x)
    surgery.remove(model, {"0": torch.arange(6) < 2}, groups=groups)
    assert (model[1].out_channels, model[3].out_channels, model[3].in_channels) == (2, 2, 2)


def test_control_flow_that_reads_values() -> None:
    model = net(lambda s, x: s.end(s.a(x)) if x.sum() > 0 else s.end(s.b(x)))
    assert list(trace(model, torch.ones(2, 3, 8, 8))) == ["a", "c"]
    assert list(trace(model, -torch.ones(2, 3, 8, 8))) == ["b", "c"]


def test_layers_of_the_train_pass_are_seen() -> None:
    class Auxiliary(Net):
        def forward(self, x: Tensor) -> object:
            y = self.a(x)
            return (self.end(y), self.d(torch.cat([y, y], 1))) if self.training else self.end(y)

    torch.manual_seed(0)
    model, x = Auxiliary(), torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert {"c.weight", "d.weight"} <= {slot.tensor for slot in groups.slots}
    assert_masked_is_removed(model, groups, x)


def test_layers_that_no_pass_reaches_are_refused() -> None:
    class Targets(Net):
        def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
            if self.training:
                assert target is not None, "give a target"
                return self.wide_end(self.a(x))
            return self.end(self.a(x))

    with pytest.raises(UnsupportedOperation, match=r"'d'.*not reached in eval mode.*give a target"):
        trace(Targets(), torch.randn(2, 3, 8, 8))


def test_tracing_has_no_side_effects() -> None:
    class Busy(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.calls = getattr(self, "calls", 0) + 1
            if self.training:
                self.mean.lerp_(x.mean(), 0.1)
                x = x + torch.rand(1) * random.random()
            return self.end(F.dropout(self.a(x - self.mean), 0.5, self.training))

    model = Busy().train()
    model.register_buffer("mean", torch.zeros(()))
    before, numbers, plain = snapshot(model), torch.get_rng_state(), random.getstate()
    trace(model, torch.randn(2, 3, 8, 8) + 1)
    assert_unchanged(model, before)
    assert random.getstate() == plain
    trace(model, torch.ones(2, 3, 8, 8))
    assert not torch.equal(numbers, torch.get_rng_state()), "the example's own randn"
    numbers = torch.get_rng_state()
    trace(model, torch.ones(2, 3, 8, 8))
    assert torch.equal(numbers, torch.get_rng_state())
    assert not hasattr(model, "calls")


class Renorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.renorm(x, 2, 0, 1.0)


@pytest.fixture
def rules() -> Iterator[None]:
    before = dict(_RULES)
    yield
    _RULES.clear()
    _RULES.update(before)


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    "target", [torch.renorm, "renorm", torch.ops.aten.renorm.default], ids=["function", "name", "operation"]
)
def test_a_registered_operation(target: object) -> None:
    model = net(lambda s, x: s.end(torch.renorm(s.a(x), 2, 0, 1.0)))
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(UnsupportedOperation, match="renorm in layer"):
        trace(model, x)
    channels.register(target, channels.keeps_zero)
    groups = trace(model, x)
    assert list(groups) == ["a", "c"]
    assert_masked_is_removed(model, groups, x)
    channels.register(target, channels.elementwise)  # as if renorm made something of zeros
    assert "not zero" in trace(model, x).whole["a"]


@pytest.mark.usefixtures("rules")
def test_a_registered_module() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 8, 3), Renorm(), nn.Conv2d(8, 4, 1)), torch.randn(2, 3, 8, 8)
    assert [lone.layer for lone in trace(model, x).alone] == ["1"]
    channels.register(Renorm, channels.keeps_zero)
    groups = trace(model, x)
    assert (list(groups), groups.alone) == (["0"], ())
    assert_masked_is_removed(model, groups, x)


@pytest.mark.usefixtures("rules")
def test_a_registered_function_of_two_values_needs_a_rule_of_its_own() -> None:
    channels.register(torch.maximum, channels.keeps_zero)
    with pytest.raises(UnsupportedOperation, match="maximum"):
        trace(net(lambda s, x: s.end(torch.maximum(s.a(x), s.b(x)))), torch.randn(2, 3, 8, 8))


def test_exclude() -> None:
    model, x = build("resnet18")
    everything = set(trace(model, x))
    assert set(trace(model, x, exclude=["layer2.0.conv1"])) == everything - {"layer2.0.conv1"}
    # A coupled layer keeps its whole group; a module keeps all that is in it; a BatchNorm its channels.
    assert set(trace(model, x, exclude=["layer2.1.conv2"])) == everything - {"layer2.0.conv2"}
    inside = {name for name in everything if name.startswith("layer3")}
    assert set(trace(model, x, exclude=["layer3"])) == everything - inside
    assert set(trace(model, x, exclude=["layer4.0.bn1"])) == everything - {"layer4.0.conv1"}
    for name in ("layer9", "relu", ""):
        with pytest.raises(ValueError, match=f"exclude names '{name}'"):
            trace(model, x, exclude=[name])


def test_a_layer_called_twice_reads_and_writes_the_same_channels() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.step = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
            self.bn, self.end = nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = torch.relu(self.bn(self.step(x)))
            return self.end(torch.relu(self.bn(self.step(x))))

    model, x = Recurrent(), torch.randn(2, 3, 8, 8)
    roughen(model)
    groups = trace(model, x)
    assert [(g.layers, g.size) for g in groups.values()] == [(("stem", "step"), 8)]
    assert_masked_is_removed(model, groups, x)


def test_a_layer_that_also_reads_something_unknown_stays_whole() -> None:
    model = net(lambda s, x: s.end(s.a(x)) + s.end(torch.ones(1, 8, 4, 4)))
    assert list(trace(model, torch.randn(2, 3, 8, 8))) == ["c"]


def squeeze_excite(linear: bool) -> nn.Module:
    class SqueezeExcite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.down = nn.Linear(8, 4) if linear else nn.Conv2d(8, 4, 1)
            self.up = nn.Linear(4, 8) if linear else nn.Conv2d(4, 8, 1)
            self.end = nn.Conv2d(8, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = F.silu(self.bn(self.conv(x)))
            y = x.mean((2, 3), keepdim=not linear)
            gate = torch.sigmoid(self.up(torch.relu(self.down(y))))
            gate = gate.view(gate.size(0), gate.size(1), 1, 1) if linear else gate
            return self.end(x * gate)

    return SqueezeExcite()


@pytest.mark.parametrize("linear", [False, True])
def test_squeeze_and_excite(linear: bool) -> None:
    model, x = squeeze_excite(linear), torch.randn(2, 3, 8, 8)
    roughen(model)
    groups = trace(model, x)
    assert {n: (g.layers, g.size, g.convolutional) for n, g in groups.items()} == {
        "conv": (("conv",) if linear else ("conv", "up"), 8, True),
        "down": (("down",), 4, not linear),
    }
    assert_masked_is_removed(model, groups, x)


def test_grouped_convolutions() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnext50_32x4d()
    roughen(model)
    x = torch.randn(2, 3, 32, 32)
    groups = trace(model, x)
    # 32 groups of 4 inputs and 4 outputs: the i-th channel of every group goes together, in and out apart.
    first, second = groups["layer1.0.conv1"], groups["layer1.0.conv2"]
    assert (first.size, first.multiplicity, first.layers) == (4, 32, ("layer1.0.conv1",))
    assert (second.size, second.multiplicity, second.layers) == (4, 32, ("layer1.0.conv2",))
    assert {int(m.channels[1]) for m in second.members} == {1 + 4 * g for g in range(32)}
    assert_masked_is_removed(model, groups, x)


def test_depthwise_convolution_with_several_filters_a_channel() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1))
    x = torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert [(g.layers, g.size, g.multiplicity) for g in groups.values()] == [(("0", "2"), 4, 3)]
    unit = {(m.layer, int(m.channels[1])) for m in groups["0"].members}
    assert unit == {("0", 1), ("2", 2), ("2", 3)}
    assert_masked_is_removed(model, groups, x)


@pytest.mark.parametrize(
    "between",
    [
        nn.PReLU(8),
        nn.PReLU(),
        nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        nn.BatchNorm2d(8, affine=False),
        nn.Hardtanh(-1, 1),
        nn.Sequential(nn.Sigmoid(), nn.BatchNorm2d(8)),  # its scale and shift are masked
        BatchNormAct2d(8, act_layer=nn.SiLU),
        nn.Upsample(scale_factor=2),
        nn.Sequential(nn.ReLU6(), nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1), nn.GELU()),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_between(between: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), between, nn.Conv2d(8, 4, 1))
    roughen(model)
    x = torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    assert list(groups) == ["0"]
    assert_masked_is_removed(model, groups, x)


@pytest.mark.parametrize("batch", [1, 2])
def test_flatten_into_linear(batch: int) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 7), nn.ReLU(), nn.Linear(7, 3)
    )
    x = torch.randn(batch, 3, 8, 8)
    groups = trace(model, x)
    assert [(n, g.size, g.convolutional) for n, g in groups.items()] == [("0", 8, True), ("3", 7, False)]
    column = next(s for s in groups.slots if s.tensor == "3.weight" and s.dim == 1)
    assert column.units.tolist() == [unit for unit in range(8) for _ in range(36)]
    assert_masked_is_removed(model, groups, torch.randn(3, 3, 8, 8))


def test_densenet() -> None:
    torch.manual_seed(0)
    model = torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2)
    roughen(model)
    x = torch.randn(2, 3, 64, 64)
    groups = trace(model, x)
    stem = groups["features.conv0"]
    # Every later layer of the block, the transition with them, has a BatchNorm over the stem's channels.
    assert {n.layer for n in stem.norms} == {
        "features.norm0",
        "features.denseblock1.denselayer1.norm1",
        "features.denseblock1.denselayer2.norm1",
        "features.transition1.norm",
    }
    assert_masked_is_removed(model, groups, x)


def test_bad_masks() -> None:
    model, x = Plain(), torch.randn(2, 1, 8, 8)
    groups = trace(model, x)
    with pytest.raises(ValueError, match=r"no channel group 'conv3'.*conv1, conv2, conv4"):
        groups.unit_mask({"conv3": torch.ones(16, dtype=torch.bool)})
    with pytest.raises(
        ValueError, match=r"'conv2' needs a bool mask of shape \(16,\), got torch.bool \(8,\)"
    ):
        groups.unit_mask({"conv2": torch.ones(8, dtype=torch.bool)})
    with pytest.raises(ValueError, match="float32"):
        groups.unit_mask({"conv2": torch.ones(16)})


def test_repr_lists_the_groups() -> None:
    groups = trace(Plain(), torch.randn(2, 1, 8, 8))
    assert repr(groups).splitlines()[2] == "  conv2: 16 channels of conv2, conv3"
