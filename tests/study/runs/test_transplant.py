"""Runs that start from another run's weights: tickets, rewinding, other masks, pretrained networks."""

from pathlib import Path

import pytest
import tiny
import torch

from pat import channels
from pat.pruner import EpochReport
from pat.stability import similarity
from pat.study.plan.spec import AtEpoch, Pruning, Spec, Variation
from pat.study.runs.run import Watcher, run
from pat.study.runs.sweep import sweep
from pat.study.store import Store
from pat.study.store.record import Record
from pat.training import models
from pat.training.epoch import Epoch
from pat.training.variation import other_structure, same_structure


def ticket(epoch: int, rewind: int, **changes: object) -> Spec:
    pruning = Pruning(criterion="gradient", ratio=0.5, policy=AtEpoch(epoch=epoch), rewind=rewind, **changes)  # type: ignore[arg-type]
    return tiny.dense(pruning=pruning)


def structure(record: Record) -> dict[str, int]:
    found = [epoch.structure for epoch in record.history if epoch.structure]
    assert len(found) == 1
    assert found[0] is not None
    return found[0]


class Killed(Exception):
    pass


def kill_after(epoch: int) -> Watcher:
    def on_epoch(spec: Spec, log: Epoch) -> None:
        if log.epoch == epoch:
            raise Killed

    return Watcher(on_epoch=on_epoch)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def records(store: Store) -> dict[str, Record]:
    """One sweep with every kind of start, two trunk checkpoints, no order."""
    specs = {
        "donor": tiny.pruned(2),
        "ticket": ticket(2, 0),
        "rewound": ticket(2, 1),
        "same checkpoint": ticket(2, 2),
        "same": ticket(2, 2, variation=Variation(kind="same", draw=0)),
        "same again": ticket(2, 2, variation=Variation(kind="same", draw=1)),
        "other": ticket(2, 2, variation=Variation(kind="other", draw=0)),
        "finetuned": tiny.pruned(0, pretrained=True),
    }
    return dict(zip(specs, sweep(list(specs.values()), store), strict=True))


def test_all_are_done_and_name_the_dense_run(records: dict[str, Record]) -> None:
    assert {record.status for record in records.values()} == {"done"}
    assert {record.trunk for record in records.values()} == {tiny.dense().id}


@pytest.mark.parametrize(
    ("name", "epochs"), [("ticket", 4), ("rewound", 3), ("same checkpoint", 2), ("finetuned", 4)]
)
def test_how_long_each_trains(records: dict[str, Record], name: str, epochs: int) -> None:
    history = records[name].history
    assert [epoch.epoch for epoch in history] == list(range(4 - epochs, 4))


@pytest.mark.parametrize("name", ["ticket", "rewound", "same checkpoint", "same", "same again"])
def test_a_transplanted_mask_has_the_donors_structure(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert structure(record) == structure(records["donor"])
    assert {epoch.phase for epoch in record.history} == {"sparse"}
    assert record.result is not None
    assert record.result.prune_epoch == 2


def test_other_channels_give_other_runs(records: dict[str, Record]) -> None:
    losses = {records[n].history[0].loss for n in ("same checkpoint", "same", "same again")}
    assert len(losses) == 3


def test_another_structure_is_as_similar_as_asked(records: dict[str, Record]) -> None:
    psi = similarity(structure(records["donor"]), structure(records["other"]))
    assert 0.6 < psi <= 0.8


def test_the_ticket_starts_from_the_original_initialisation(records: dict[str, Record], store: Store) -> None:
    """Its first loss is that of the masked initial network, not of the trained one."""
    first = records["ticket"].history[0]
    assert first.loss is not None
    assert first.loss > records["same checkpoint"].history[0].loss  # type: ignore[operator]


def test_costs_count_the_dense_epochs_there_were(records: dict[str, Record]) -> None:
    def share(name: str) -> float:
        cost = records[name].cost
        assert cost is not None
        return cost.training_share

    cost = records["ticket"].cost
    assert cost is not None
    ratio = cost.macs / cost.dense_macs
    assert share("ticket") == pytest.approx(ratio)
    assert share("rewound") == pytest.approx((1 + 3 * ratio) / 4)
    finetuned = records["finetuned"].cost
    assert finetuned is not None
    assert share("finetuned") == pytest.approx(1 + (1 + 3 * finetuned.macs / finetuned.dense_macs) / 4)


@pytest.mark.parametrize("name", ["rewound", "other", "finetuned"])
def test_alone_in_an_empty_store_killed_and_continued_it_is_the_same_run(
    records: dict[str, Record], name: str, tmp_path: Path
) -> None:
    wanted = records[name]
    store = Store(tmp_path)
    with pytest.raises(Killed):
        run(wanted.spec, store, watcher=kill_after(wanted.history[-2].epoch + 0))
    if store.record(wanted.spec.trunk) is not None:
        assert store.checkpoints(wanted.spec) or store.checkpoints(wanted.spec.trunk)
    record = run(wanted.spec, store)
    assert record.same_outcome(wanted)


def test_a_finetuned_network_starts_where_the_dense_one_ended(
    records: dict[str, Record], store: Store
) -> None:
    dense = run(tiny.dense(), store)
    assert records["finetuned"].history[0].accuracy > dense.history[0].accuracy + 20


def test_a_donor_that_collapses_leaves_a_failed_run(tmp_path: Path) -> None:
    pruning = Pruning(criterion="magnitude", ratio=0.97, policy=AtEpoch(epoch=1), rewind=0)
    record = run(tiny.dense(pruning=pruning), Store(tmp_path))
    assert record.status == "failed"
    assert "no mask to put on" in (record.reason or "")


def test_specs_refuse_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="needs a policy with a fixed epoch"):
        Pruning(criterion="gradient", ratio=0.5, policy={"kind": "epi", "threshold": 0.9}, rewind=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs rewind"):
        Pruning(
            criterion="gradient",
            ratio=0.5,
            policy=AtEpoch(epoch=1),
            variation=Variation(kind="same", draw=0),
        )
    with pytest.raises(ValueError, match="rewind: 9 is beyond"):
        ticket(2, 9)


def mask_and_groups() -> tuple[dict[str, torch.Tensor], channels.ChannelGroups]:
    torch.manual_seed(0)
    model = models.build("resnet8-bottleneck", num_classes=10, in_channels=1, image_size=16)
    groups = channels.trace(model, torch.zeros(1, 1, 16, 16))
    neurons = groups.neurons(keep_stem=True)
    generator = torch.Generator().manual_seed(1)
    return {n: torch.rand(g.size, generator=generator) < 0.5 for n, g in neurons.items()}, groups


def test_same_structure_keeps_counts_and_draws_anew() -> None:
    kept, _ = mask_and_groups()
    one = same_structure(kept, torch.Generator().manual_seed(1))
    two = same_structure(kept, torch.Generator().manual_seed(2))
    assert {n: int(m.sum()) for n, m in one.items()} == {n: int(m.sum()) for n, m in kept.items()}
    assert any(not torch.equal(one[n], two[n]) for n in kept)
    again = same_structure(kept, torch.Generator().manual_seed(1))
    assert all(torch.equal(one[n], again[n]) for n in kept)


@pytest.mark.parametrize("target", [0.9, 0.8, 0.7])
@pytest.mark.parametrize("by_filter", [True, False])
def test_other_structure_has_the_size_and_the_similarity(target: float, by_filter: bool) -> None:
    kept, groups = mask_and_groups()
    weight = {n: groups[n].multiplicity if by_filter else 1 for n in kept}

    def size(masks: dict[str, torch.Tensor]) -> int:
        return sum(int(mask.sum()) * weight[name] for name, mask in masks.items())

    def counts(masks: dict[str, torch.Tensor]) -> dict[str, int]:
        from pat.structure import channel_counts

        return channel_counts(masks, {n: groups[n] for n in kept} if by_filter else None)

    for seed in range(5):
        other = other_structure(
            kept, groups, target, torch.Generator().manual_seed(seed), by_filter=by_filter
        )
        assert 0 <= size(kept) - size(other) < max(weight.values())
        assert target - 0.05 < similarity(counts(kept), counts(other)) <= target


def test_other_structure_says_when_there_is_none() -> None:
    kept, groups = mask_and_groups()
    whole = {name: torch.ones_like(mask) for name, mask in kept.items()}
    with pytest.raises(ValueError, match="no structure of similarity"):
        other_structure(whole, groups, 0.5, torch.Generator())
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        other_structure(kept, groups, 1.0, torch.Generator())


def test_virtual_epochs_cut_one_pass(tmp_path: Path) -> None:
    from pat.training.data import load_manifest, open_dataset
    from pat.training.data.augment import Augment

    data = open_dataset(load_manifest("digits"), root=tmp_path, device=torch.device("cpu"))
    whole = [labels for _, labels in data.train_batches(batch_size=100, seed=1, epoch=2, augment=Augment())]
    parts = [
        [
            labels
            for _, labels in data.train_batches(batch_size=100, seed=1, epoch=e, augment=Augment(), slices=3)
        ]
        for e in (6, 7, 8)
    ]
    per_slice = len(whole) // 3
    assert [len(part) for part in parts] == [per_slice] * 3
    joined = [labels for part in parts for labels in part]
    assert all(torch.equal(a, b) for a, b in zip(joined, whole, strict=False))
    with pytest.raises(ValueError, match="slices must lie between 1 and"):
        data.steps_per_epoch(100, 1000)


def test_a_run_of_virtual_epochs_sees_as_many_images(tmp_path: Path) -> None:
    recipe = tiny.recipe(epochs=8, slices=2, warmup_epochs=2)
    record = run(tiny.dense(recipe=recipe), Store(tmp_path))
    assert record.status == "done"
    assert len(record.history) == 8


def test_a_report_carries_an_adopted_structure_once(records: dict[str, Record]) -> None:
    assert [bool(epoch.structure) for epoch in records["rewound"].history] == [True, False, False]
    assert EpochReport(0, "sparse").counts is None
