"""Several ranks over gloo: all decide alike, as one process with all of the data would."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from processes import forked
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import pat

STEPS, EPOCHS, IMAGES = 3, 3, 16


class Chain(nn.Module):
    """Without BatchNorm, whose statistics are each rank's own: ranks together are one process."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.second(F.silu(self.first(x))))
        return self.head(F.silu(self.third(x)).mean((2, 3)))


def batch(epoch: int, step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 * epoch + step)
    return (
        torch.randn(IMAGES, 3, 8, 8, generator=generator),
        torch.randint(0, 4, (IMAGES,), generator=generator),
    )


def settings(criterion: str) -> dict[str, Any]:
    return {
        "ratio": 0.5,
        "policy": pat.policy.AtEpoch(1),
        "steps_per_epoch": STEPS,
        "criterion": criterion,
        "prune_steps": 2,
    }


def loop(model: nn.Module, optimizer: torch.optim.Optimizer, part: slice, criterion: str) -> Any:
    pruner = pat.attach(model, optimizer, torch.zeros(2, 3, 8, 8), **settings(criterion))
    for epoch in range(EPOCHS):
        for step in range(STEPS):
            images, labels = (each[part] for each in batch(epoch, step))
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return pruner


def alone(criterion: str) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Chain()
    pruner = loop(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), slice(None), criterion)
    return {"kept": pruner.kept, "weights": model.state_dict()}


Job = tuple[Callable[..., Any], tuple[Any, ...]]


def ranks(count: int, jobs: dict[str, Job], folder: Path) -> list[dict[str, Any]]:
    """What each rank of a group of processes returned from one job after the other, by name."""
    started = [forked(_rank, rank, count, jobs, folder) for rank in range(count)]
    for process in started:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in started] == [0] * count
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _rank(rank: int, count: int, jobs: dict[str, Job], folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=timedelta(seconds=60))
    try:
        done = {name: job(rank, count, *arguments) for name, (job, arguments) in jobs.items()}
        torch.save(done, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def share(rank: int, count: int, criterion: str, zero: bool) -> dict[str, Any]:
    """Each rank trains on its part of every batch, from weights that differ until the first is wrapped."""
    torch.manual_seed(rank)
    model = DistributedDataParallel(Chain())
    made: Any = ZeroRedundancyOptimizer if zero else torch.optim.SGD
    extra: dict[str, Any] = {"optimizer_class": torch.optim.SGD} if zero else {}
    optimizer = made(model.parameters(), lr=0.1, momentum=0.9, **extra)
    each = IMAGES // count
    pruner = loop(model, optimizer, slice(rank * each, (rank + 1) * each), criterion)
    images, labels = batch(9, 0)  # the gradients of the smaller model are still averaged over the ranks
    optimizer.zero_grad()
    F.cross_entropy(model(images[rank : rank + 1]), labels[rank : rank + 1]).backward()
    gradient = model.module.head.weight.grad
    return {"kept": pruner.kept, "weights": model.module.state_dict(), "gradient": gradient}


def unequal(rank: int, count: int, moment: str) -> str:
    """One rank announces an epoch of fewer steps than the other, or ends one early."""
    torch.manual_seed(0)
    model = DistributedDataParallel(Chain())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    own = settings("gradient") | {"steps_per_epoch": STEPS - rank * (moment == "announced")}
    try:
        pruner = pat.PruningAwareTraining(model, optimizer, torch.zeros(2, 3, 8, 8), **own)
        for step in range(STEPS):
            images, labels = batch(0, step)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            if rank == 0 or step:
                pruner.step()
            optimizer.step()
            pruner.after_step()
        pruner.end_epoch()
    except RuntimeError as error:
        return str(error)
    return "nothing was said"


def skewed(rank: int, count: int) -> dict[str, Any]:
    """BatchNorm, and images of other classes and sizes on each rank: only the gradients are shared."""
    torch.manual_seed(0)
    bare = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    model = DistributedDataParallel(bare, broadcast_buffers=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    pruner = pat.attach(model, optimizer, torch.zeros(2, 3, 8, 8), **settings("gradient"))
    generator = torch.Generator().manual_seed(rank)
    for _ in range(EPOCHS * STEPS):
        images = torch.randn(4 + 2 * rank, 3, 8, 8, generator=generator) * (1 + rank)
        labels = torch.full((len(images),), rank)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return {"kept": pruner.kept, "weights": dict(bare.named_parameters()), "means": bare[1].running_mean}


TWO: dict[str, Job] = {
    "gradient": (share, ("gradient", False)),
    "magnitude": (share, ("magnitude", False)),
    "ZeroRedundancyOptimizer": (share, ("gradient", True)),
    "announced": (unequal, ("announced",)),
    "counted": (unequal, ("counted",)),
    "skewed": (skewed, ()),
}
FOUR: dict[str, Job] = {"gradient": (share, ("gradient", False))}


def test_ranks_decide_alike(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One test, since starting processes is what takes the time."""
    two = ranks(2, TWO, tmp_path_factory.mktemp("two"))
    four = ranks(4, FOUR, tmp_path_factory.mktemp("four"))
    for job, criterion, group in (
        ("gradient", "gradient", two),
        ("magnitude", "magnitude", two),
        ("ZeroRedundancyOptimizer", "gradient", two),
        ("gradient", "gradient", four),
    ):
        as_one_process_with_their_data(alone(criterion), [rank[job] for rank in group])
    for rank in two:  # one announced other epochs, and one counted other steps
        assert "the ranks do not agree on (steps_per_epoch" in rank["announced"]
        assert "the ranks do not agree on (epoch, step" in rank["counted"]
    same_channels_and_weights_from_unequal_data(*(rank["skewed"] for rank in two))


def as_one_process_with_their_data(one: dict[str, Any], several: list[dict[str, Any]]) -> None:
    for found in several:
        assert all(torch.equal(found["kept"][name], mask) for name, mask in one["kept"].items())
        assert not all(bool(mask.all()) for mask in found["kept"].values())
        for name, weight in one["weights"].items():
            torch.testing.assert_close(found["weights"][name], weight, rtol=1e-4, atol=1e-5)
            assert torch.equal(found["weights"][name], several[0]["weights"][name])
        assert torch.equal(found["gradient"], several[0]["gradient"])


def same_channels_and_weights_from_unequal_data(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert all(torch.equal(second["kept"][name], mask) for name, mask in first["kept"].items())
    assert all(torch.equal(second["weights"][name], weight) for name, weight in first["weights"].items())
    assert first["means"].shape == second["means"].shape
    assert not torch.equal(first["means"], second["means"])  # each rank's own
