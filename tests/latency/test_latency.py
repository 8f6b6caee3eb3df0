"""Latency: measured tables of layers, what removing a channel saves, and the penalty on saliency."""

import copy
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Plain, assert_unchanged, build, random_masks, snapshot
from torch import Tensor, nn

from pat import PruningAwareTraining, surgery
from pat.channels import trace
from pat.files.sealed import seal
from pat.latency.penalty import LatencyPenalty
from pat.latency.table import Geometry, Grid, LatencyTable
from pat.latency.timing import clock, measure
from pat.policy import EPI, AtEpoch, Policy
from pat.pruner import Adjust

torch.set_num_threads(1)


def trained(adjust: Adjust | None, policy: Policy, epochs: int) -> PruningAwareTraining:
    """A plain network after some epochs of two steps."""
    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    example = torch.zeros(2, 1, 8, 8)
    pruner = PruningAwareTraining(
        model, optimizer, example, ratio=0.5, steps_per_epoch=2, policy=policy, adjust=adjust
    )
    for _ in range(2 * epochs):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.randint(10, (8,))).backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
        if pruner._iteration == 2:
            pruner.end_epoch()
    return pruner


def favouring_the_last(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
    """As if a channel's number were its importance."""
    return {name: torch.arange(len(score)).float() for name, score in scores.items()}


def test_algorithm_1_ranks_by_adjusted_scores() -> None:
    pruner = trained(favouring_the_last, AtEpoch(0), 1)
    for mask in pruner.kept.values():
        gone = int((~mask).sum())
        assert not mask[:gone].any()
        assert mask[gone:].all()


def test_adjustment_sees_what_is_kept_and_pruned_channels_never_return() -> None:
    seen = []

    def all_equal(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append({name: mask.clone() for name, mask in kept.items()})
        sign = 1 if len(seen) == 1 else -1  # turned round between two steps
        return {name: sign * torch.arange(len(score)).float() for name, score in scores.items()}

    torch.manual_seed(0)
    model = Plain()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    pruner = PruningAwareTraining(
        model, optimizer, torch.zeros(2, 1, 8, 8), ratio=0.5, steps_per_epoch=4, policy=AtEpoch(0),
        adjust=all_equal,
    )  # fmt: skip
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 1, 8, 8)).square().mean().backward()
        pruner.step()
        optimizer.step()
        pruner.after_step()
    assert len(seen) == 2
    assert all(mask.all() for mask in seen[0].values())
    assert not all(mask.all() for mask in seen[1].values())
    assert not any((pruner.kept[name] & ~mask).any() for name, mask in seen[1].items())


def test_what_epi_watches_is_not_adjusted() -> None:
    def refuse(scores: dict[str, Tensor], kept: dict[str, Tensor]) -> dict[str, Tensor]:
        raise AssertionError("adjusted in a dense epoch")

    policy = EPI(0.99, look_back=1, patience=0)
    plain = trained(None, policy, 1)
    watched = trained(refuse, EPI(0.99, look_back=1, patience=0), 1)
    assert plain.reports[0].counts == watched.reports[0].counts


@pytest.mark.parametrize(
    "wrong",
    [lambda scores: {}, lambda scores: {name: score[1:] for name, score in scores.items()}],
    ids=["a group is missing", "another size"],
)
def test_an_adjustment_of_other_shape_is_refused(
    wrong: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    with pytest.raises(ValueError, match="adjust must give 16 scores for group 'conv2'"):
        trained(lambda scores, kept: wrong(scores), AtEpoch(0), 1)


# Tables


def seconds(geometry: Geometry, inputs: int, outputs: int) -> float:
    """A made-up machine: overhead, and more for each input, output, pair of them, and row of pixels."""
    pairs = inputs if geometry.groups == 0 else inputs * outputs
    return 1e-6 * geometry.height * (50 + 3 * inputs + 5 * outputs + pairs)


def table_of(name: str, **changes: Any) -> tuple[nn.Module, Tensor, LatencyTable]:
    model, example = build(name)
    return model, example, measure(model, example, time_layer=seconds, **({"repeats": 1} | changes))


GEOMETRY = Geometry(8, 8, (3, 3), (1, 1), (1, 1), (1, 1))
positive = st.floats(1e-6, 1e-2)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(positive, min_size=3, max_size=3), min_size=4, max_size=4))
def test_more_channels_never_take_less_time(rows: list[list[float]]) -> None:
    grid = Grid((1, 4, 8, 9), (2, 5, 6), tuple(map(tuple, rows)))
    at = [[grid.at(i, o) for o in range(2, 7)] for i in range(1, 10)]
    for i in range(9):
        for o in range(5):
            assert i == 0 or at[i][o] >= at[i - 1][o] - 1e-12
            assert o == 0 or at[i][o] >= at[i][o - 1] - 1e-12
    assert all(
        e <= s for own, raw in zip(grid.envelope, rows, strict=True) for e, s in zip(own, raw, strict=True)
    )
    assert grid.envelope[-1][-1] == rows[-1][-1]


def test_interpolation_worked_by_hand() -> None:
    grid = Grid((1, 3), (2, 4), ((1.0, 3.0), (5.0, 11.0)))
    assert grid.at(1, 2) == 1
    assert grid.at(2, 2) == 3
    assert grid.at(2, 3) == 5  # the mean of all four
    assert grid.at(0, 2) == -1  # the first piece goes on
    # 4 is the least of what is at least as large as the cells in the first row and the first column.
    assert Grid((1, 2), (1, 2), ((6.0, 7.0), (9.0, 4.0))).envelope == [[4, 4], [4, 4]]


@pytest.mark.parametrize("name", ["plain", "resnet18", "mobilenetv1_100", "mobilenet_v2"])
def test_a_table_has_exactly_the_layers_of_a_model(name: str) -> None:
    model, _, table = table_of(name)
    convolutions = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert set(table.layers) == set(convolutions)
    for layer, conv in convolutions.items():
        (geometry,) = table.layers[layer]
        assert (geometry.kernel, geometry.stride) == (conv.kernel_size, conv.stride)
        grid = table.grids[geometry]
        assert grid.inputs[0] == 1
        assert grid.inputs[-1] >= conv.in_channels
        depthwise = 1 < conv.groups == conv.in_channels
        assert depthwise == (geometry.groups == 0)
        # Bilinear times are met everywhere, so also between the cells.
        for share in (1, 0.6, 0.3):
            inputs = max(1, round(share * conv.in_channels))
            outputs = inputs if depthwise else max(1, round(share * conv.out_channels))
            assert table.seconds(geometry, inputs, outputs) == pytest.approx(
                seconds(geometry, inputs, outputs), rel=1e-4
            )


def test_grouped_convolutions_are_measured_at_multiples_of_their_groups() -> None:
    model = nn.Sequential(nn.Conv2d(3, 24, 1), nn.Conv2d(24, 48, 3, groups=4), nn.Conv2d(48, 8, 1))
    seen: set[tuple[int, int, int]] = set()

    def visit(geometry: Geometry, inputs: int, outputs: int) -> float:
        seen.add((geometry.groups, inputs, outputs))
        return 1.0

    measure(model, torch.zeros(2, 3, 8, 8), repeats=1, time_layer=visit)
    grouped = {(i, o) for groups, i, o in seen if groups == 4}
    assert grouped
    assert all(i % 4 == 0 and o % 4 == 0 for i, o in grouped)


def test_the_least_of_all_visits_counts() -> None:
    visits: dict[Any, int] = {}

    def slower_at_first(*cell: Any) -> float:
        visits[cell] = visits.get(cell, 0) + 1
        return 3.0 - (visits[cell] == 2)

    model, example = build("plain")
    table = measure(model, example, repeats=3, time_layer=slower_at_first)
    assert set(visits.values()) == {3}
    assert {s for grid in table.grids.values() for row in grid.seconds for s in row} == {2.0}


def test_a_budget_ends_measuring_after_whole_rounds() -> None:
    model, example = build("plain")
    table = measure(model, example, repeats=5, budget=0, time_layer=seconds)
    assert table.repeats == 1


def test_a_layer_that_is_called_twice_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(F.avg_pool2d(self.conv(x), 2))

    table = measure(Twice(), torch.zeros(2, 3, 8, 8), repeats=1, time_layer=seconds)
    assert [geometry.height for geometry in table.layers["conv"]] == [8, 4]


def test_measuring_leaves_model_and_random_state_alone() -> None:
    model, example = build("plain")
    model.train()
    before, state = snapshot(model), torch.get_rng_state()
    table = measure(model, example[:, :, :8, :8], points=2, repeats=1)
    assert_unchanged(model, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert table.batch == 2
    assert table.torch == torch.__version__
    assert (table.device, table.threads, table.clock) == ("cpu", 1, "processor")
    assert table.hardware
    assert len(table.layers) == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_real_measurement_gives_positive_times(precision: Any) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8))
    table = measure(
        model,
        torch.zeros(2, 4, 8, 8),
        points=2,
        repeats=1,
        precision=precision,
        channels_last=True,
        hardware="mine",
    )
    assert table.hardware == "mine"
    assert {grid.outputs for grid in table.grids.values()} == {(1, 8), (0,)}
    assert all(0 < s < 1 for grid in table.grids.values() for row in grid.seconds for s in row)


def test_on_one_thread_the_clock_is_the_processors() -> None:
    kind, now = clock("cpu")
    assert (kind, now) == ("processor", time.process_time)
    torch.set_num_threads(2)
    try:
        assert clock("cpu")[0] == "wall"
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"points": 1}, "points must be at least 2"), ({"repeats": 0}, "repeats at least 1, got 9 and 0")],
)
def test_bad_settings_are_refused(settings: dict[str, int], message: str) -> None:
    model, example = build("plain")
    with pytest.raises(ValueError, match=message):
        measure(model, example, time_layer=seconds, **settings)


def test_a_convolution_that_is_not_two_dimensional_is_refused() -> None:
    with pytest.raises(ValueError, match="latency is measured of Conv2d, '0' is Conv1d"):
        measure(nn.Sequential(nn.Conv1d(3, 4, 3)), torch.zeros(2, 3, 8))


# Files


def test_a_table_comes_back_as_it_was() -> None:
    _, _, table = table_of("mobilenetv1_100")
    again = LatencyTable.from_json(table.to_json())
    assert again == table
    assert again.checksum == table.checksum
    assert again.to_json() == table.to_json()


def test_the_checksum_is_of_everything() -> None:
    _, _, table = table_of("plain")
    _, _, slower = table_of("plain", hardware="another")
    assert len(table.checksum) == 64
    assert table.checksum != slower.checksum


def test_a_changed_table_is_refused() -> None:
    _, _, table = table_of("plain")
    content = json.loads(table.to_json())
    content["grids"][0]["seconds"][0][0] *= 2
    with pytest.raises(ValueError, match="its checksum does not fit"):
        LatencyTable.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a latency table"),
        ("[]", "it is not a JSON object"),
        (json.dumps(seal({"format": 2})), "expected format 1"),
        ('{"format": 1}', "not a latency table"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatencyTable.from_json(text)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (((2, 1), (1,), ((1.0,), (2.0,))), r"must ascend, got \[2, 1\]"),
        (((1, 2), (1,), ((1.0,),)), "expected 2 rows of 1 times"),
        (((1,), (1,), ((0.0,),)), "times must be positive"),
        (((1,), (1,), ((math.nan,),)), "times must be positive"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(grid: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(*grid)


# What removing a channel saves


def step_seconds(model: nn.Module, example: Tensor) -> float:
    """The made-up machine's time for a model as it is."""
    total = 0.0

    def add(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal total
        assert isinstance(conv, nn.Conv2d)
        groups = 0 if 1 < conv.groups == conv.in_channels else conv.groups
        height = given[0].shape[2]
        inputs, outputs = conv.weight.shape[1] * conv.groups, conv.weight.shape[0]
        if not groups:
            inputs = outputs
        total += seconds(Geometry(height, height, (1, 1), (1, 1), (0, 0), (1, 1), groups), inputs, outputs)

    handles = [m.register_forward_pre_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model.eval()(example)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("name", ["plain", "resnet18", "mobilenetv1_100"])
def test_savings_are_what_surgery_saves(name: str) -> None:
    """Where times are bilinear, removing half of a group by surgery saves dT for each of its channels.

    Before and after others were removed.
    """
    model, example, table = table_of(name)
    groups = trace(model, example)
    penalty = LatencyPenalty(model, groups, table, 1.0)
    whole = {n: torch.ones(group.size, dtype=torch.bool) for n, group in groups.items()}
    for kept in (whole, random_masks(groups, 0.5, names=groups.neurons())):
        savings = penalty.savings(kept)
        for group in list(groups.neurons())[::4]:
            left = int(kept[group].sum())
            if left % 2:
                continue
            fewer = {**kept, group: kept[group].clone()}
            fewer[group][kept[group].nonzero().flatten()[: left // 2]] = False
            times = []
            for masks in (kept, fewer):
                smaller = copy.deepcopy(model)
                surgery.remove(smaller, masks, groups=groups)
                times.append(step_seconds(smaller, example))
                assert penalty.seconds(masks) == pytest.approx(times[-1], rel=1e-3)
            own = savings[group]
            assert own[kept[group]] == pytest.approx([(times[0] - times[1]) / (left // 2)] * left, rel=0.02)
            assert not own[~kept[group]].any()


def test_savings_worked_by_hand() -> None:
    """conv2 of the plain network has 8 inputs and 16 outputs, and conv3 reads what it and conv3 add up to."""
    model = Plain()
    example = torch.zeros(2, 1, 8, 8)
    table = measure(model, example, repeats=1, time_layer=seconds)
    groups = trace(model, example)
    savings = LatencyPenalty(model, groups, table, 1.0, reach=1e-9).savings({})
    # conv1: an output of 1 input, 5 + 1, and an input of conv2 with 16 outputs, 3 + 16; times 8 rows.
    assert savings["conv1"][0] == pytest.approx(8e-6 * (5 + 1 + 3 + 16), rel=1e-3)
    # conv4: an output of 16 inputs, 5 + 16, read by the classifier, which is no convolution.
    assert savings["conv4"][0] == pytest.approx(8e-6 * (5 + 16), rel=1e-3)
    # conv2 and conv3 go together: outputs of conv2 (8 inputs) and conv3 (16), inputs of conv3 and conv4 (16
    # outputs each); the pair that conv3's input and output share vanishes at this reach.
    assert savings["conv2"][0] == pytest.approx(8e-6 * (5 + 8 + 5 + 16 + 3 + 16 + 3 + 16), rel=1e-3)


def test_an_empty_layer_saves_nothing_more() -> None:
    model, example, table = table_of("resnet18")
    groups = trace(model, example)
    penalty = LatencyPenalty(model, groups, table, 1.0)
    gone = torch.zeros(groups["layer1.0.conv1"].size, dtype=torch.bool)
    kept = {"layer1.0.conv1": gone}
    assert not penalty.savings(kept)["layer1.0.conv1"].any()
    assert penalty.seconds(kept) < penalty.seconds({})


# The penalty


def plain_penalty(weight: float) -> tuple[LatencyPenalty, dict[str, Tensor], dict[str, Tensor]]:
    model, example, table = table_of("plain")
    neurons = trace(model, example).neurons()
    generator = torch.Generator().manual_seed(0)
    scores = {name: torch.rand(group.size, generator=generator) for name, group in neurons.items()}
    kept = random_masks(trace(model, example), 0.25, names=neurons)
    return LatencyPenalty(model, trace(model, example), table, weight), scores, kept


def test_the_formula() -> None:
    penalty, scores, kept = plain_penalty(0.3)
    found, saved = penalty(scores, kept), penalty.savings(kept)
    mean = torch.cat([score[kept[name]] for name, score in scores.items()]).double().mean()
    mean_saved = torch.cat([saved[name][kept[name]] for name in scores]).mean()
    assert found.keys() == scores.keys()
    for name, score in scores.items():
        expected = score.double() / mean - 0.3 * saved[name] / mean_saved
        best = int(torch.where(kept[name], score, -1).argmax())
        expected[best] = score[best].double() / mean  # the group's best one is spared
        assert torch.allclose(found[name][kept[name]], expected[kept[name]])
        assert bool((found[name][~kept[name]] == -torch.inf).all())


def test_scale_of_scores_and_of_the_clock_do_not_matter() -> None:
    penalty, scores, kept = plain_penalty(0.3)
    found = penalty(scores, kept)
    larger = penalty({name: 1000 * score for name, score in scores.items()}, kept)
    model, example, slow = table_of("plain")
    slow = measure(model, example, repeats=1, time_layer=lambda *cell: 100 * seconds(*cell))
    slower = LatencyPenalty(model, trace(model, example), slow, 0.3)(scores, kept)
    for name in scores:
        assert torch.allclose(found[name], larger[name])
        assert torch.allclose(found[name], slower[name])


def test_without_weight_the_order_is_the_saliencys() -> None:
    penalty, scores, kept = plain_penalty(0)
    found = penalty(scores, kept)
    mean = torch.cat([score[kept[name]] for name, score in scores.items()]).double().mean()
    for name, score in scores.items():
        assert torch.allclose(found[name][kept[name]] * mean, score[kept[name]].double())


def test_scores_that_are_all_zero_are_ranked_by_latency() -> None:
    penalty, scores, kept = plain_penalty(1)
    found = penalty({name: torch.zeros_like(score) for name, score in scores.items()}, kept)
    assert all(bool(found[name][kept[name]].isfinite().all()) for name in found)
    assert min(float(found[name][kept[name]].min()) for name in found) < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": -1.0}, "weight must be a finite number of at least 0, got -1.0"),
        ({"weight": math.inf}, "weight must be a finite number"),
        ({"weight": 1.0, "reach": 0.0}, r"reach must lie in \(0, 1\], got 0.0"),
    ],
)
def test_a_bad_weight_is_refused(arguments: dict[str, float], message: str) -> None:
    model, example, table = table_of("plain")
    with pytest.raises(ValueError, match=message):
        LatencyPenalty(model, trace(model, example), table, **arguments)


def test_a_table_of_another_model_is_refused() -> None:
    _, example, table = table_of("plain")
    other = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
    with pytest.raises(ValueError, match="the latency table has no layer '0'; it has conv1, conv2"):
        LatencyPenalty(other, trace(other, example), table, 1.0)
    wider = Plain(width=16, channels=3)
    with pytest.raises(
        ValueError, match=r"'conv\d' has \d+ channels, the latency table was measured up to \d+"
    ):
        LatencyPenalty(wider, trace(wider, example), table, 1.0)


def test_costly_channels_go_first_in_algorithm_1() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in ((1, 8, 3), (8, 16, 1), (16, 16, 5)):
            conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))

    example = torch.zeros(2, 1, 8, 8)

    def only_the_last(geometry: Geometry, inputs: int, outputs: int) -> float:
        return 1e-3 * (1 + (outputs if geometry.kernel == (5, 5) else 0))

    table = measure(network(), example, repeats=1, time_layer=only_the_last)
    pruners = []
    for weight in (0.0, 50.0):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        pruner = PruningAwareTraining(
            model, optimizer, example, ratio=0.4, steps_per_epoch=4, policy=AtEpoch(0)
        )
        pruner.adjust = LatencyPenalty(model, pruner.groups, table, weight)
        for _ in range(4):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.randint(10, (8,))).backward()
            pruner.step()
            optimizer.step()
            pruner.after_step()
        pruner.end_epoch()
        pruners.append(pruner)
    plain, aware = pruners
    assert not bool(plain.kept["3"].all())
    assert bool(aware.kept["3"].all())
    assert int(aware.kept["6"].sum()) == 16 - 13  # 40 % of 32, rounded up
