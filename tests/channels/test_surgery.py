"""Surgery: a masked and a removed model are one function, and training goes on as if nothing had happened."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import (
    NAMED,
    Plain,
    assert_unchanged,
    build,
    difference,
    flat,
    random_masks,
    roughen,
    snapshot,
)
from torch import Tensor, nn

from pat import surgery
from pat.channels import ChannelGroups, trace
from pat.importance import magnitude_scores
from pat.structure import kept_count, top_channels
from pat.training import models
from pat.training.data import Augment, load_manifest, open_dataset

torch.set_num_threads(1)


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout) or type(module).__name__ in ("StochasticDepth", "DropPath"):
            module.eval()


def train_a_little(model: nn.Module, x: Tensor) -> None:
    """Two steps that move every weight and BatchNorm statistic away from its initial value."""
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        flat(model(x)).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.zero_grad()


@pytest.mark.parametrize("name", NAMED)
def test_masked_and_removed_agree(name: str) -> None:
    dense, x = build(name)
    if name not in ("vgg16_bn", "ssd300"):
        # The last stages see 1 x 1 pixels: a BatchNorm over two values blows rounding errors up.
        dense, x = dense.double(), x.double()
    roughen(dense)
    if name != "vgg16_bn":  # 138 million parameters: slow to train
        train_a_little(dense, x)
    groups = trace(dense, x)
    neurons = groups.neurons(keep_stem=False)
    total = sum(g.size * g.multiplicity for g in neurons.values())
    multiplicity = {n: g.multiplicity for n, g in neurons.items()}
    for ratio in (0.1, 0.5, 0.9):
        generator = torch.Generator().manual_seed(0)
        scores = {n: torch.rand(g.size, generator=generator) for n, g in neurons.items()}
        kept = top_channels(scores, kept_count(total, ratio), multiplicity, min_channels=1)
        if name == "vgg16_bn":
            kept["classifier.0"] = torch.arange(4096) % 3 > 0
        removed, masked = copy.deepcopy(dense), copy.deepcopy(dense)
        surgery.mask(masked, kept, groups=groups)
        surgery.remove(removed, kept, groups=groups)

        asked = sum(int((~kept[n]).sum()) * multiplicity[n] for n in neurons)
        gone = sum(
            before.out_channels - removed.get_submodule(layer).out_channels
            for layer, before in masked.named_modules()
            if isinstance(before, nn.Conv2d)
        )
        assert gone == asked
        assert asked - (total - kept_count(total, ratio)) in range(max(multiplicity.values()))
        for training in (False, True):  # eval first: training mode moves the statistics
            for model in (masked, removed):
                model.train(training)
                without_dropout(model)
            with torch.no_grad():
                assert difference(masked(x), removed(x)) < 1e-5, (ratio, training)
        for model in (masked, removed):
            model.eval()
        with torch.no_grad():  # the statistics that training mode left agree too
            assert difference(masked(x), removed(x)) < 1e-5


def conv_sizes(model: nn.Module) -> dict[str, tuple[int, int, int]]:
    convs = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    return {n: (m.in_channels, m.out_channels, m.groups) for n, m in convs.items()}


def test_attributes_follow() -> None:
    model, x = build("mobilenet_v2")
    groups = trace(model, x)
    name = "features.2.conv.0.0"  # expands 16 to 96 channels, with a depthwise convolution behind
    surgery.remove(model, {name: torch.arange(96) < 10}, groups=groups)
    assert conv_sizes(model)[name] == (16, 10, 1)
    assert conv_sizes(model)["features.2.conv.1.0"] == (10, 10, 10)
    assert conv_sizes(model)["features.2.conv.2"][0] == 10
    assert model.features[2].conv[0][1].num_features == 10
    assert model.features[2].conv[0][1].running_var.shape == (10,)

    plain = nn.Sequential(nn.Conv2d(1, 6, 3), nn.PReLU(6), nn.Flatten(), nn.Linear(6 * 4, 5), nn.ReLU())
    plain.append(nn.Linear(5, 2))
    groups = trace(plain, torch.randn(1, 1, 4, 4))
    surgery.remove(plain, {"0": torch.arange(6) < 2, "3": torch.arange(5) != 1}, groups=groups)
    assert (plain[1].num_parameters, plain[3].in_features, plain[3].out_features) == (2, 8, 4)
    assert plain[5].in_features == 4


def test_depthwise_down_to_one_channel_and_again() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1)
    )
    x = torch.randn(2, 3, 8, 8)
    surgery.remove(model, {"0": torch.arange(4) == 2}, groups=trace(model, x))
    assert conv_sizes(model)["2"] == (1, 1, 1)
    groups = trace(model, x)
    assert sum(g.size for g in groups.values()) >= 1
    assert model(x).shape == (2, 2, 4, 4)


# --- the optimizer -----------------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda m: torch.optim.SGD(m.parameters(), 0.05, momentum=0.9, nesterov=True),
    "adam": lambda m: torch.optim.Adam(m.parameters(), 1e-2, amsgrad=True),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), 1e-2, weight_decay=0.1),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), 1e-3, momentum=0.9, centered=True),
}


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.randint(10, (8,), generator=generator)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> Tensor:
    loss = torch.zeros(())
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return loss


def trained_plain(name: str) -> tuple[Plain, torch.optim.Optimizer, ChannelGroups, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = Plain()
    optimizer = OPTIMIZERS[name](model)
    train(model, optimizer, range(5))
    groups = trace(model, batch(0)[0])
    return model, optimizer, groups, random_masks(groups, 0.5)


def plain_cut(name: str, tensor: Tensor, kept: dict[str, Tensor]) -> Tensor:
    """Plain's parameters cut by hand."""
    out = {"conv1": "conv1", "conv2": "conv2", "conv3": "conv2", "conv4": "conv4"}
    out |= {"bn1": "conv1", "bn2": "conv2", "bn3": "conv2"}
    into = {"conv2": "conv1", "conv3": "conv2", "conv4": "conv2", "fc": "conv4"}
    layer, _, kind = name.partition(".")
    if layer in out:
        tensor = tensor[kept[out[layer]]]
    if layer in into and kind == "weight":
        tensor = tensor[:, kept[into[layer]]]
    return tensor


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_state_and_gradients_are_cut_as_by_hand(name: str) -> None:
    model, optimizer, groups, kept = trained_plain(name)
    before = copy.deepcopy(dict(model.named_parameters()))
    gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
    state = {n: copy.deepcopy(optimizer.state[p]) for n, p in model.named_parameters()}
    param_groups = [[id(p) for p in g["params"]] for g in optimizer.param_groups]
    surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    assert param_groups == [[id(p) for p in g["params"]] for g in optimizer.param_groups]
    assert [id(p) for p in model.parameters()] == param_groups[0]
    for param, p in model.named_parameters():
        assert torch.equal(p, plain_cut(param, before[param], kept))
        assert torch.equal(p.grad, plain_cut(param, gradients[param], kept))
        assert optimizer.state[p].keys() == state[param].keys()
        for key, value in state[param].items():
            if isinstance(value, Tensor) and value.dim() > 0:
                expected = plain_cut(param, value, kept)
                assert torch.equal(optimizer.state[p][key], expected), (param, key)
            else:
                assert optimizer.state[p][key] == value


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_masked(name: str) -> None:
    model, optimizer, groups, kept = trained_plain(name)
    masked = copy.deepcopy(model)
    masked_optimizer = OPTIMIZERS[name](masked)
    masked_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # it shares tensors
    factors = surgery.mask_factors(masked, kept, groups=groups)

    def hold() -> None:
        with torch.no_grad():
            for param, factor in factors.items():
                p = masked.get_parameter(param)
                for tensor in (p, *(v for v in masked_optimizer.state[p].values() if v.shape == p.shape)):
                    tensor.mul_(factor)

    hold()
    surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    for step in range(5, 11):
        loss = train(model, optimizer, range(step, step + 1))
        other = train(masked, masked_optimizer, range(step, step + 1))
        hold()
        assert loss.item() == pytest.approx(other.item(), rel=1e-5)
    for param, p in model.named_parameters():
        expected = plain_cut(param, masked.get_parameter(param).detach(), kept)
        scale = expected.abs().max()
        assert ((p - expected).abs().max() / scale) < 1e-5, param
        assert not torch.equal(p, start[param]), f"{param} did not move"


def test_a_loss_that_is_still_alive_does_not_stop_the_next_step() -> None:
    model, optimizer, groups, kept = trained_plain("sgd")
    loss = train(model, optimizer, range(5, 6))  # holds its graph, and with it the old shapes
    surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    after = train(model, optimizer, range(6, 7))
    assert loss.grad_fn is not None
    assert torch.isfinite(after)


class Factored(torch.optim.Optimizer):
    """State in containers, which surgery cannot know how to cut."""

    def __init__(self, params: object) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["factors"] = [p.sum(0), p.flatten()]


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, Factored])
def test_an_optimizer_whose_state_cannot_be_cut_is_refused(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    model = Plain()
    optimizer = kind(model.parameters())
    train(model, optimizer, range(2))
    groups = trace(model, batch(0)[0])
    before, state = snapshot(model), copy.deepcopy(optimizer.state_dict())
    copied = copy.deepcopy(model)
    with pytest.raises(ValueError, match=rf"{kind.__name__} keeps '.*' of 'conv1.weight'"):
        surgery.remove(
            model, random_masks(groups, 0.5), groups=groups, optimizer=optimizer, extra_models=[copied]
        )
    assert_unchanged(model, before)
    assert surgery.sizes(copied) == surgery.sizes(model)
    assert str(optimizer.state_dict()) == str(state)


def test_an_optimizer_that_has_not_stepped() -> None:
    model, kept = Plain(), {"conv1": torch.arange(8) < 3}
    optimizer = OPTIMIZERS["adam"](model)
    surgery.remove(model, kept, groups=trace(model, batch(0)[0]), optimizer=optimizer)
    assert torch.isfinite(train(model, optimizer, range(2)))


# --- what must survive -------------------------------------------------------------------------------------


def test_what_must_survive() -> None:
    model = Plain().to(memory_format=torch.channels_last)
    model.bn2.eval()
    model.conv3.requires_grad_(False)
    model.bn1.bias.requires_grad_(False)
    seen: list[tuple[int, ...]] = []
    model.conv2.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    model.conv2.weight.register_post_accumulate_grad_hook(lambda p: seen.append(tuple(p.grad.shape)))
    model.conv2.weight.register_hook(lambda grad: seen.append(tuple(grad.shape)))
    x, y = batch(0)
    groups = trace(model, x)
    seen.clear()
    identities = {n: id(p) for n, p in model.named_parameters()}
    modes = {n: m.training for n, m in model.named_modules()}
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    surgery.remove(model, random_masks(groups, 0.5), groups=groups)
    assert identities == {n: id(p) for n, p in model.named_parameters()}
    assert modes == {n: m.training for n, m in model.named_modules()}
    assert frozen == {n for n, p in model.named_parameters() if not p.requires_grad}
    assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert not model.conv2.weight.is_contiguous()
    F.cross_entropy(model(x), y).backward()
    assert seen == [(8, 8, 8, 8), (8, 4, 3, 3), (8, 4, 3, 3)]
    assert model.conv3.weight.grad is None
    assert all(p.is_leaf for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_survive(dtype: torch.dtype) -> None:
    model = Plain().to(dtype)
    x = batch(0)[0].to(dtype)
    groups = trace(model, x)
    model(x).sum().backward()
    surgery.remove(model, random_masks(groups, 0.5), groups=groups)
    assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()} == {dtype}
    model(x).sum().backward()


def test_copies_are_cut_along() -> None:
    model, optimizer, groups, kept = trained_plain("sgd")
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    twin = copy.deepcopy(average.module)
    expected = copy.deepcopy(average.module)
    surgery.remove(expected, kept, groups=groups)
    copies = (each for each in (average.module, twin))
    surgery.remove(model, kept, groups=groups, optimizer=optimizer, extra_models=copies)
    for other in (average.module, twin):
        for name, tensor in expected.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor)
    average.update_parameters(model)
    assert average(batch(0)[0]).shape == (8, 10)


def test_a_copy_of_other_sizes_changes_nothing() -> None:
    model, optimizer, groups, kept = trained_plain("sgd")
    before = snapshot(model)
    with pytest.raises(
        ValueError, match=r"'conv1\.weight' has 4 entries along dimension 0, the trace knew 8"
    ):
        surgery.remove(model, kept, groups=groups, optimizer=optimizer, extra_models=[Plain(width=4)])
    assert_unchanged(model, before)


def test_a_second_pruning_needs_a_new_trace() -> None:
    model, optimizer, groups, kept = trained_plain("adam")
    x = batch(0)[0]
    surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    before = snapshot(model)
    with pytest.raises(ValueError, match="trace the model again"):
        surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    assert_unchanged(model, before)
    again = trace(model, x)
    assert [g.size for g in again.values()] == [4, 8, 8]
    second = random_masks(again, 0.5, seed=3)
    masked = copy.deepcopy(model).eval()
    surgery.mask(masked, second, groups=again)
    surgery.remove(model, second, groups=again, optimizer=optimizer)
    assert difference(masked(x), copy.deepcopy(model).eval()(x)) < 1e-5
    assert torch.isfinite(train(model, optimizer, range(3)))


def test_bad_masks_change_nothing() -> None:
    model, _, groups, kept = trained_plain("sgd")
    before = snapshot(model)
    for function in (surgery.mask, surgery.remove):
        with pytest.raises(ValueError, match="no channel group 'nothing'"):
            function(model, {**kept, "nothing": kept["conv1"]}, groups=groups)
        with pytest.raises(ValueError, match="'conv2' needs a bool mask"):
            function(model, {**kept, "conv2": kept["conv1"]}, groups=groups)
    assert_unchanged(model, before)


def test_absent_groups_stay_whole() -> None:
    model, _, groups, kept = trained_plain("sgd")
    surgery.remove(model, {"conv4": kept["conv4"]}, groups=groups)
    assert conv_sizes(model) == {
        "conv1": (1, 8, 1),
        "conv2": (8, 16, 1),
        "conv3": (16, 16, 1),
        "conv4": (16, 8, 1),
    }


# --- emptied layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "emptied"),
    [
        ("resnet18", ["layer1.0.conv1", "layer3.1.conv1"]),
        ("resnet18", ["layer2.0.conv2", "layer3.0.conv2"]),  # two whole stages
        ("resnet50", ["layer2.1.conv1", "layer2.2.conv2"]),
        ("mobilenet_v2", ["features.5.conv.0.0"]),  # with its depthwise convolution
        ("mobilenet_v3_large", ["features.4.block.2.fc1", "features.6.block.0.0"]),  # SE alone; all inside
        ("plain", ["conv1"]),
    ],
)
def test_emptied_layers(name: str, emptied: list[str]) -> None:
    model, x = build(name)
    model, x = model.double(), x.double()
    roughen(model)
    groups = trace(model, x)
    kept = random_masks(groups, 0.3)
    kept |= {group: torch.zeros(groups[group].size, dtype=torch.bool) for group in emptied}
    masked = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    flat(model(x)).mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    masked.load_state_dict(model.state_dict())
    surgery.mask(masked, kept, groups=groups)
    surgery.remove(model, kept, groups=groups, optimizer=optimizer)
    for training in (False, True):
        for each in (masked, model):
            each.train(training)
            without_dropout(each)
        with torch.no_grad():
            assert difference(masked(x), model(x)) < 1e-5, training
    for group in emptied:
        assert all(model.get_submodule(layer).out_channels == 0 for layer in groups[group].layers)
    # It trains, saves its structure, is traced again and pruned again.
    optimizer.zero_grad()
    flat(model(x)).square().mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    again = trace(model, x)
    assert not set(emptied) & set(again)
    second = random_masks(again, 0.5)
    twice = copy.deepcopy(model)
    surgery.mask(model, second, groups=again)
    surgery.remove(twice, second, groups=again)
    with torch.no_grad():
        assert difference(model.eval()(x), twice.eval()(x)) < 1e-5


@pytest.mark.parametrize(
    ("kind", "settings", "size"),
    [
        (nn.Conv2d, {"kernel_size": 3, "stride": 2, "padding": 1}, (9, 10)),
        (
            nn.Conv2d,
            {"kernel_size": (3, 5), "dilation": (2, 1), "padding": (0, 2), "stride": (1, 3)},
            (9, 10),
        ),
        (nn.Conv2d, {"kernel_size": 5, "padding": "same", "dilation": 2}, (9, 10)),
        (nn.Conv2d, {"kernel_size": 2, "padding": "valid"}, (9, 10)),
        (nn.Conv1d, {"kernel_size": 3, "stride": 2}, (11,)),
        (nn.Conv3d, {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (4, 5, 6)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_without_inputs_keeps_its_outputs_shape(
    kind: type[nn.Module], settings: dict[str, object], size: tuple[int, ...], bias: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(kind(2, 4, 1), nn.ReLU(), kind(4, 6, **settings, bias=bias), kind(6, 3, 1))
    x = torch.randn(2, 2, *size)
    groups = trace(model, x)
    masked = copy.deepcopy(model)
    nothing = {"0": torch.zeros(4, dtype=torch.bool)}
    surgery.mask(masked, nothing, groups=groups)
    surgery.remove(model, nothing, groups=groups)
    assert torch.allclose(model[:3](x), masked[:3](x))
    assert torch.allclose(model(x), masked(x))
    assert isinstance(model[2], kind)
    assert "Empty" in type(model[2]).__name__
    assert groups.collapsed(nothing)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_strided_shortcut_over_few_channels_learns_rightly(
    layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN spoils the gradient of its weights on processors with AVX2 alone: wrong, or a crash."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 1, (2, 3)))
    x = torch.randn(4, 3, 9, 9)
    groups = trace(model, x)
    surgery.remove(model, {"0": torch.arange(12) < 5}, groups=groups)
    expected = copy.deepcopy(model).double()
    expected[2].__class__ = nn.Conv2d
    model = model.to(memory_format=layout)
    outputs = []
    for net, images in ((model, x.contiguous(memory_format=layout)), (expected, x.double())):
        out = net(images)
        out.square().sum().backward()
        outputs.append(out.double())
    assert torch.allclose(*outputs, atol=1e-5)
    for own, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad.double(), other.grad, atol=1e-4)
    assert isinstance(model[2], nn.Conv2d)
    assert type(model[2]) is not nn.Conv2d
    again = trace(model, x)  # it can be pruned again
    surgery.remove(model, {"0": torch.arange(5) < 2}, groups=again)
    assert model(x).shape == (4, 8, 5, 3)
    assert copy.deepcopy(model)(x).shape == (4, 8, 5, 3)


@pytest.mark.parametrize("processor", ["AVX2", "AVX512", "DEFAULT"])
def test_only_layers_in_danger_are_replaced(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 1, 2), nn.Conv2d(12, 12, 1), nn.Conv2d(12, 2, 3, 2)
    )
    groups = trace(model, torch.randn(2, 3, 16, 16))
    surgery.remove(model, {"0": torch.arange(12) < 8, "1": torch.arange(12) < 7}, groups=groups)
    assert all(type(layer) is nn.Conv2d for layer in model)
    groups = trace(model, torch.randn(2, 3, 16, 16))
    surgery.remove(model, {"0": torch.arange(8) < 7}, groups=groups)
    replaced = [type(layer) is not nn.Conv2d for layer in model]
    assert replaced == [False, processor == "AVX2", False, False]


def test_collapsed() -> None:
    def empty(groups: ChannelGroups, *names: str) -> dict[str, Tensor]:
        return {name: torch.zeros(groups[name].size, dtype=torch.bool) for name in names}

    chain = trace(*build("mobilenetv1_100"))
    assert not chain.collapsed({})
    for name in chain:
        assert chain.collapsed(empty(chain, name)), name
        one = empty(chain, name)
        one[name][0] = True
        assert not chain.collapsed(one)

    residual = trace(*build("resnet18"))
    inner = [name for name in residual if name.endswith("conv1") and name != "conv1"]
    # A block without its inside is the identity, but where a stage begins its shortcut convolves.
    assert not residual.collapsed(empty(residual, *inner))
    for stage in ("conv1", "layer2.0.conv2", "layer4.0.conv2"):
        assert residual.collapsed(empty(residual, stage)), stage

    gated = trace(*build("mobilenet_v3_large"))
    squeezes = [name for name in gated if name.endswith("fc1")]
    assert squeezes
    assert not gated.collapsed(empty(gated, *squeezes))

    users = trace(Plain(), batch(0)[0])
    for name in users:
        assert users.collapsed(empty(users, name))


def test_a_gate_alone_is_a_path() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.c, self.end = nn.Conv2d(4, 5, 1), nn.Conv2d(9, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(torch.cat([self.c(self.a(x)), self.b(x)], 1))

    groups = trace(Gated(), torch.randn(1, 3, 4, 4))
    gone = {name: torch.zeros(groups[name].size, dtype=torch.bool) for name in groups}
    assert not groups.collapsed({"a": gone["a"]})
    assert not groups.collapsed({"b": gone["b"]})
    assert groups.collapsed({"a": gone["a"], "b": gone["b"]})  # c is left, and constant


# --- sizes and resize --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "mobilenet_v2", "mobilenet_v3_large", "ssdlite320"])
def test_resize_is_what_removal_leaves(name: str) -> None:
    model, x = build(name)
    roughen(model)
    fresh, _ = build(name)
    groups = trace(model, x)
    kept = random_masks(groups, 0.8)
    if name == "mobilenet_v2":
        first = "features.4.conv.0.0"
        kept[first] = torch.zeros(groups[first].size, dtype=torch.bool)
    surgery.remove(model, kept, groups=groups)
    surgery.resize(fresh, surgery.sizes(model))
    assert surgery.sizes(fresh) == surgery.sizes(model)
    assert conv_sizes(fresh) == conv_sizes(model)
    assert [type(m) for m in fresh.modules()] == [type(m) for m in model.modules()]
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(flat(fresh.eval()(x)), flat(model.eval()(x)))


def test_resize_refuses_what_does_not_fit_and_changes_nothing() -> None:
    model = Plain()
    before, sizes = snapshot(model), surgery.sizes(model)
    bad = {
        "other tensors": {**sizes, "extra.weight": [1]},
        "fc.bias": {n: s for n, s in sizes.items() if n != "fc.bias"},
        "cannot become \\(9": {**sizes, "fc.bias": [4], "bn1.weight": [9]},
        "cannot become \\(8, 8\\)": {**sizes, "bn1.weight": [8, 8]},
        "cannot become \\(-1": {**sizes, "bn1.weight": [-1]},
    }
    for message, target in bad.items():
        with pytest.raises(ValueError, match=message):
            surgery.resize(model, target)
    assert_unchanged(model, before)


class TwoPools(nn.Module):
    """Two branches, each pooled, and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        both = [self.pool(self.first(x).relu()), F.max_pool2d(self.second(x).relu(), 2)]
        return self.head(torch.cat(both, 1).mean((2, 3)))


@pytest.mark.parametrize(("branch", "node"), [("first", "layer 'pool'"), ("second", "max_pool2d")])
def test_a_pooling_left_without_channels_is_refused_by_name(branch: str, node: str) -> None:
    torch.manual_seed(0)
    model, x = TwoPools(), torch.zeros(2, 1, 8, 8)
    groups = trace(model, x)
    before = snapshot(model)
    with pytest.raises(ValueError, match=f"{node}.* would have no channel left"):
        surgery.remove(model, {branch: torch.zeros(4, dtype=torch.bool)}, groups=groups)
    assert_unchanged(model, before)
    surgery.remove(model, {branch: torch.tensor([True, False, False, False])}, groups=groups)
    assert model(x).shape == (2, 3)


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A bottleneck ResNet that has learned the plain digits, and test images with their labels."""
    data = open_dataset(load_manifest("digits"), root=Path("data"), device=torch.device("cpu"))
    torch.manual_seed(0)
    model = models.build("resnet8-bottleneck", num_classes=10, in_channels=1, image_size=8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for epoch in range(6):
        for x, y in data.train_batches(batch_size=50, seed=0, epoch=epoch, augment=Augment()):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    x, y = next(iter(data.eval_batches("test", batch_size=256)))
    return model.eval(), x, y


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_masked_and_removed_agree_on_a_network_that_has_learned(
    trained: tuple[nn.Module, Tensor, Tensor], ratio: float, training: bool
) -> None:
    model, x, y = trained
    assert (model(x).argmax(1) == y).float().mean() > 0.9
    groups = trace(model, x)
    neurons = groups.neurons()
    scores = magnitude_scores(model, neurons)
    keep = kept_count(sum(group.size for group in neurons.values()), ratio)
    kept = top_channels(scores, keep, min_channels=1)
    assert sum(int(mask.sum()) for mask in kept.values()) == keep
    masked, removed = copy.deepcopy(model).train(training), copy.deepcopy(model).train(training)
    if training:  # batch statistics of almost constant channels amplify the rounding of 32 bits
        masked, removed, x = masked.double(), removed.double(), x.double()
    surgery.mask(masked, kept, groups=groups)
    surgery.remove(removed, kept, groups=groups)
    with torch.no_grad():
        expected = masked(x)
        assert expected.std() > 0.05  # a dead network would agree with anything
        assert difference(expected, removed(x)) <= 1e-5
