"""Step times: networks rebuilt to a structure, timed in turn with the dense one, kept beside the records."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from test_record import ORIGIN, example
from tiny import dense, pruned, recipe
from torch import nn

from pat import surgery
from pat.channels import trace
from pat.files.sealed import seal, unseal
from pat.latency import timing
from pat.latency.table import LatencyTable
from pat.structure import channel_counts
from pat.study.plan.profile import load_profile
from pat.study.plan.spec import Neurons, Spec
from pat.study.runs.latency_tables import table_of
from pat.study.runs.timing.measuring import Stepper, compare, measure_speeds, network
from pat.study.store import Published, Store, measured, open_store
from pat.study.store.measured import MissingTable, find_table, read_table
from pat.study.store.publishing import PublishConflict, publish, publish_measurements
from pat.study.store.record import Epoch, Record
from pat.study.store.speeds import (
    Seconds,
    Session,
    Speeds,
    StepTime,
    final_structure,
    network_key,
    read_speeds,
    speeds_of,
    step_time,
    with_step_times,
    write_speeds,
)

torch.set_num_threads(1)

SMALL = {"layer1.0.conv1": 3, "layer2.0.conv1": 5, "layer2.0.conv2": 9, "layer2.0.downsample.0": 9}


def left(structure: dict[str, int] | None, spec: Spec | None = None, **changes: Any) -> Record:
    """A pruned run that left a structure."""
    record = example(spec or pruned(1))
    row = record.history[-1].model_copy(update={"structure": structure})
    return record.model_copy(update={"history": (*record.history[:-1], row), **changes})


def any_table(**changes: Any) -> LatencyTable:
    """A latency table without a layer."""
    fields: dict[str, Any] = {
        "hardware": "a processor", "device": "cpu", "threads": 1, "torch": "2", "batch": 16,
        "precision": "fp32", "channels_last": False, "clock": "wall", "repeats": 3, "layers": {}, "grids": {},
    }  # fmt: skip
    return LatencyTable(**(fields | changes))


def ticking() -> Callable[[], float]:
    """A clock that is a second later every time it is read."""
    count = itertools.count()
    return lambda: float(next(count))


# Networks of a structure


@pytest.mark.parametrize("architecture", ["resnet8-basic", "resnet8-bottleneck", "mobilenetv1-tiny"])
@pytest.mark.parametrize("count", ["filter", "unit"])
def test_a_network_has_the_structure_that_it_is_built_to(architecture: str, count: Any) -> None:
    spec = dense(architecture=architecture, neurons=Neurons(count=count))
    whole = network(spec)
    example_input = torch.zeros(2, 1, 8, 8)
    groups = trace(whole, example_input)
    generator = torch.Generator().manual_seed(0)
    kept = {
        name: torch.randperm(g.size, generator=generator) < max(1, g.size // 3)
        for name, g in groups.neurons().items()
    }
    structure = channel_counts(kept, groups.neurons() if count == "filter" else None)
    expected = network(spec)
    surgery.remove(expected, kept, groups=groups)
    built = network(spec, structure)
    assert surgery.sizes(built) == surgery.sizes(expected)
    assert built.training
    built(example_input).sum().backward()


def test_a_structure_without_channels_somewhere_still_steps() -> None:
    built = network(pruned(1), {"layer1.0.conv1": 0})
    stepper = Stepper(pruned(1), built, ticking())
    assert stepper.step() == (1, 1, 1)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"conv9": 3}, "'conv9' of the structure is no layer with channels"),
        ({"layer1.0.conv1": 9}, r"'layer1\.0\.conv1' cannot have 9 channels"),
        ({"layer1.0.conv1": -1}, r"'layer1\.0\.conv1' cannot have -1 channels"),
        ({"layer2.0.conv2": 9, "layer2.0.downsample.0": 8}, r"'layer2\.0\.downsample\.0' cannot have 8"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(structure: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(pruned(1), structure)


def test_channels_last_networks_are_timed_in_that_layout() -> None:
    spec = pruned(1, recipe=recipe(channels_last=True))
    weight = network(spec, SMALL).get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


# Steps in turn


@dataclass
class Played:
    """A stepper whose times are given."""

    times: list[float]
    log: list[str]
    name: str = ""

    def step(self) -> tuple[float, float, float]:
        self.log.append(self.name)
        total = self.times.pop(0)
        return total / 2, total / 4, total / 4


def test_a_machine_that_is_busy_in_some_rounds_does_not_change_the_share() -> None:
    warm = [9.0] * 5
    busy = [1.0, 1.0, 7.0, 7.0, 2.0, 2.0]  # by which both are slower, round by round
    log: list[str] = []
    one = Played(warm + [4 * b for b in busy], log, "dense")
    other = Played(warm + [1 * b for b in busy], log, "pruned")
    whole, cut, shares = compare(one, other, rounds=3, steps=2)  # type: ignore[arg-type]
    assert shares == [0.25, 0.25, 0.25]
    assert whole == Seconds(forward=4, backward=2, update=2)  # medians of 4, 28 and 8 a step
    assert cut == Seconds(forward=1, backward=0.5, update=0.5)
    assert whole.step == 8
    assert log[10:] == ["dense"] * 2 + ["pruned"] * 4 + ["dense"] * 4 + ["pruned"] * 2


def test_a_step_trains() -> None:
    spec = dense()
    model = network(spec)
    before = {name: value.clone() for name, value in model.named_parameters()}
    stepper = Stepper(spec, model, ticking())
    assert stepper.step() == (1, 1, 1)
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_real_measurement_gives_positive_times(precision: Any) -> None:
    spec = pruned(1, recipe=recipe(precision=precision, batch_size=8))
    now = timing.clock("cpu")[1]
    steppers = Stepper(spec, network(spec), now), Stepper(spec, network(spec, SMALL), now)
    whole, cut, shares = compare(*steppers, rounds=2, steps=1)
    assert len(shares) == 2
    assert all(0 < value < 10 for value in (*shares, whole.step, cut.step))


# What is measured, and kept


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_every_network_is_measured_once(store: Store) -> None:
    same = left(SMALL, pruned(2))
    collapsed = left(SMALL, pruned(3), status="collapsed", cost=None)
    records = [
        left(SMALL),
        same,
        collapsed,
        example(dense(), history=()),
        left({"layer1.0.conv1": 4}, pruned(2)),
    ]
    told: list[tuple[int, int]] = []
    found = measure_speeds(
        records, store, rounds=3, steps=1, now=ticking(), on_network=lambda *n: told.append(n)
    )
    assert found is not None
    assert told == [(1, 2), (2, 2)]
    assert set(found.times) == {network_key(pruned(1), SMALL), network_key(pruned(1), {"layer1.0.conv1": 4})}
    time = step_time(same, found)
    assert time is not None
    assert time.structure == SMALL
    assert time.shares == (1, 1, 1)  # by a clock that knows nothing of the network
    assert time.dense == Seconds(forward=1, backward=1, update=1)
    assert step_time(collapsed, found) is None
    assert read_speeds(store.root, "tiny") == [found]


def test_only_what_is_missing_is_measured(store: Store) -> None:
    measure_speeds([left(SMALL)], store, rounds=1, steps=1, now=ticking())
    again = measure_speeds([left(SMALL)], store, rounds=1, steps=1, now=lambda: pytest.fail("measured again"))
    assert again is not None
    assert len(again.sessions) == 1
    more = measure_speeds([left(SMALL)], store, rounds=1, steps=1, now=ticking(), again=True)
    assert more is not None
    assert len(more.sessions) == 2
    assert len(more.times) == 1


def test_nothing_to_measure_leaves_no_file(store: Store) -> None:
    assert measure_speeds([example(dense(), history=())], store) is None
    assert not store.root.exists()


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"steps": 0}])
def test_bad_settings_are_refused(settings: dict[str, int], store: Store) -> None:
    with pytest.raises(ValueError, match="rounds and steps must be at least 1"):
        measure_speeds([left(SMALL)], store, **settings)


def test_measuring_leaves_threads_and_random_state_alone(store: Store) -> None:
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    try:
        measure_speeds([left(SMALL)], store, rounds=1, steps=1, now=ticking())
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_num_threads(1)


def test_the_last_removal_counts() -> None:
    rows = example().history
    more = rows[1].model_copy(update={"epoch": 2, "structure": {"conv": 2}})
    after = rows[0].model_copy(update={"epoch": 3, "phase": "sparse"})
    assert final_structure(example(history=(*rows, more, after))) == {"conv": 2}
    assert final_structure(example(dense(), history=rows[:1])) is None


# Files


def speeds(hardware: str = "a processor", date: str = "2026-01-01", **times: tuple[float, ...]) -> Speeds:
    """Made-up step times by name of the structure's one layer."""
    unit = Seconds(forward=0.5, backward=0.25, update=0.25)
    sessions = [
        Session(
            provenance=ORIGIN.model_copy(update={"date": date}),
            steps=1,
            times={
                network_key(pruned(1), {name: 1}): StepTime(
                    architecture="resnet8-basic", structure={name: 1}, dense=unit, pruned=unit, shares=shares
                )
                for name, shares in times.items()
            },
        )
    ]
    return Speeds(
        profile="tiny", hardware=hardware, device="cpu", threads=1, batch=149, precision="fp32",
        channels_last=False, clock="processor", sessions=tuple(sessions),
    )  # fmt: skip


def test_step_times_come_back_as_they_were(tmp_path: Path) -> None:
    file = write_speeds(tmp_path, speeds(a=(0.5, 0.6)))
    assert file == tmp_path / "measured" / "speed" / "tiny" / "a-processor.json"
    assert read_speeds(tmp_path, "tiny") == [speeds(a=(0.5, 0.6))]
    assert read_speeds(tmp_path, "other") == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = write_speeds(tmp_path, speeds(a=(0.5,)))
    content = unseal(file)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a-processor\.json are damaged: its checksum does not fit"):
        read_speeds(tmp_path, "tiny")
    del content["batch"]
    file.write_text(json.dumps(seal(content)))
    with pytest.raises(ValueError, match=r"a-processor\.json are damaged: batch"):
        read_speeds(tmp_path, "tiny")


def test_the_later_measurement_counts() -> None:
    first, second = speeds(date="2026-01-01", a=(0.5,), b=(0.7,)), speeds(date="2026-01-02", a=(0.6,))
    for merged in (first.merged(second), second.merged(first), first.merged(second).merged(second)):
        assert [session.provenance.date for session in merged.sessions] == ["2026-01-01", "2026-01-02"]
        assert sorted(time.shares for time in merged.times.values()) == [(0.6,), (0.7,)]


def test_the_machine_of_the_records_is_read(tmp_path: Path) -> None:
    write_speeds(tmp_path, speeds("an accelerator", a=(0.1,)))
    write_speeds(tmp_path, speeds("a processor", a=(0.5,)))
    found = speeds_of(tmp_path, "tiny", [example(), example()])
    assert found is not None
    assert found.hardware == "a processor"
    elsewhere = ORIGIN.model_copy(update={"hardware": "another"})
    other = speeds_of(tmp_path, "tiny", [example(provenance=elsewhere)])
    assert other is not None
    assert other.hardware == "a processor"  # the first by name
    assert speeds_of(tmp_path / "nowhere", "tiny", [example()]) is None


def test_a_table_with_step_times_worked_by_hand() -> None:
    one, other = left({"a": 1}), left({"b": 1}, pruned(2))
    table = pd.DataFrame({"id": [one.id, other.id, "unknown"]})
    found = with_step_times(table, [one, other], speeds(a=(0.25, 0.75, 0.5, 0.0 + 1.0, 0.5)))
    row = found.iloc[0]
    assert (row["step_share"], row["step_low"], row["step_high"], row["speedup"]) == (0.5, 0.5, 0.75, 2)
    assert (row["step_seconds"], row["dense_step_seconds"]) == (1, 1)
    assert found.iloc[1:]["step_share"].isna().all()
    assert with_step_times(table, [one, other], None)["speedup"].isna().all()


def test_keys_tell_networks_apart_and_no_more() -> None:
    key = network_key(pruned(1), {"a": 1, "b": 2})
    assert key == network_key(pruned(2, seed=3), {"b": 2, "a": 1})
    assert key != network_key(pruned(1), {"a": 1, "b": 3})
    assert key != network_key(pruned(1, architecture="resnet8-bottleneck"), {"a": 1, "b": 2})
    assert key != network_key(pruned(1, neurons=Neurons(count="unit")), {"a": 1, "b": 2})


# Publishing


def test_measurements_are_published_beside_the_records(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    record = left(SMALL)
    store.write(record)
    publish([record], target)
    write_speeds(store.root, speeds(a=(0.5,)))
    table = measured.latency_folder(store.root, "tiny") / "a.json"
    table.parent.mkdir(parents=True)
    table.write_text(any_table().to_json())
    assert publish_measurements(store.root, target) == 2
    assert publish_measurements(store.root, target) == 0
    published = open_store(target)
    assert isinstance(published, Published)
    assert published.records() == [record]  # what lies beside them is no record
    assert store.records() == [record]
    assert read_speeds(target, "tiny") == [speeds(a=(0.5,))]
    write_speeds(store.root, speeds(date="2026-02-02", b=(0.5,)))
    assert publish_measurements(store.root, target) == 1
    assert len(read_speeds(target, "tiny")[0].times) == 2


def test_published_measurements_are_not_replaced_by_others(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "results"
    mine, other = any_table().to_json(), any_table(repeats=9).to_json()
    for root, text in ((store.root, mine), (target, other)):
        file = measured.latency_folder(root, "tiny") / "a.json"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    write_speeds(store.root, speeds(a=(0.5,)))
    with pytest.raises(PublishConflict, match=r"a\.json is published with other times"):
        publish_measurements(store.root, target)
    assert read_speeds(target, "tiny") == []
    (measured.latency_folder(target, "tiny") / "a.json").write_text(mine)
    write_speeds(target, speeds(a=(0.5,)).model_copy(update={"batch": 8}))
    with pytest.raises(PublishConflict, match="with batch 8, these are with 149"):
        publish_measurements(store.root, target)


# Latency tables of a profile


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Measuring without a clock; the models that were measured."""
    seen: list[nn.Module] = []
    real = timing.measure

    def fake(model: nn.Module, example_input: torch.Tensor, **settings: Any) -> LatencyTable:
        seen.append(model)
        settings |= {"repeats": 1, "points": 2, "time_layer": lambda *cell: 1e-3}
        return real(model, example_input, **settings)

    monkeypatch.setattr(timing, "measure", fake)
    return seen


def test_a_table_is_measured_once_and_found_by_its_checksum(store: Store, visits: list[nn.Module]) -> None:
    profile = load_profile("smoke")
    with pytest.raises(MissingTable, match="has no latency table of resnet8-bottleneck at 16 pixels"):
        table_of(profile, store, measure=False)
    assert not store.root.exists()
    table = table_of(profile, store)
    assert table_of(profile, store) == table
    assert table_of(profile, store, measure=False) == table
    assert len(visits) == 1
    assert (table.batch, table.channels_last, table.threads) == (500, True, 1)
    (file,) = measured.files(measured.latency_folder(store.root, "smoke"))
    assert file.name.endswith("-resnet8-bottleneck-16.json")
    assert find_table(store.root, "smoke", table.checksum) == table
    other = table_of(profile, store, "resnet8-basic")
    assert find_table(store.root, "smoke", other.checksum) == other
    with pytest.raises(MissingTable, match="no latency table with checksum 000000000000"):
        find_table(store.root, "smoke", "0" * 64)


def test_a_published_store_is_read_only(store: Store, tmp_path: Path, visits: list[nn.Module]) -> None:
    profile = load_profile("smoke")
    published = Published(tmp_path / "results")
    with pytest.raises(MissingTable, match="has no latency table"):
        table_of(profile, published)
    table = table_of(profile, store)
    publish_measurements(store.root, published.root)
    assert table_of(profile, published) == table
    assert len(visits) == 1


def test_a_table_of_other_conditions_is_refused(store: Store, visits: list[nn.Module]) -> None:
    profile = load_profile("smoke")
    table_of(profile, store)
    other = profile.model_copy(update={"recipe": profile.recipe.model_copy(update={"batch_size": 100})})
    with pytest.raises(ValueError, match="measured with batch 500, profile 'smoke' has 100: move it away"):
        table_of(other, store)


def test_a_damaged_table_is_named(store: Store, visits: list[nn.Module]) -> None:
    table_of(load_profile("smoke"), store)
    (file,) = measured.files(measured.latency_folder(store.root, "smoke"))
    file.write_text(file.read_text().replace('"batch": 500', '"batch": 501'))
    with pytest.raises(
        ValueError, match=r"16\.json: not a latency table, or changed: its checksum does not fit"
    ):
        read_table(file)


def test_hardware_names_become_files() -> None:
    assert measured.slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert measured.slug("AMD EPYC") == "amd-epyc"
    assert measured.slug("®") == "unknown"


def test_an_epoch_of_a_record_may_have_no_structure() -> None:
    row = Epoch(epoch=0, phase="sparse", loss=1, accuracy=1, validation_loss=1, validation_accuracy=1,
                learning_rate=0.1, seconds=1)  # fmt: skip
    assert final_structure(example(history=(row,))) is None
