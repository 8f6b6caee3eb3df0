"""Ranks: processes that train one model together, each on its share of every batch."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pat.training.data.dataset import Share

_TIMEOUT = timedelta(minutes=10)
"""After which a rank that waits for one that is gone gives up; gloo notices a closed connection at once."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model.

    Gradients are a mean over the ranks, so that a step is that of the whole batch; sums of losses and hits
    are added up, so that every rank decides alike. BatchNorm's statistics are those of a rank's own share, as
    usual on several GPUs; the running ones are rank 0's.

    Attributes:
        rank: its number; 0 keeps the records.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def share(self) -> Share:
        """Which part of every batch this rank trains on."""
        return self.rank, self.world

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as a loop calls it: its backward pass averages the gradients."""
        return model if self.world == 1 else DistributedDataParallel(model)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over the ranks, in a tensor of its own."""
        tensor = tensor.clone()
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree_on_buffers(self, model: nn.Module) -> None:
        """Give every rank the buffers of rank 0, before the model is evaluated."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def told(self, value: Any = None) -> Any:
        """What rank 0 says, on every rank; all have to ask at the same time."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]


ALONE = Ranks()
"""One process."""


def started() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process among those that ``torchrun`` started, connected while the block runs.

    Args:
        device: ``cuda``: each rank of a machine has a GPU of its own; ``cpu``.

    Raises:
        ValueError: if a machine has fewer GPUs than ranks.
    """
    if not started():
        yield ALONE
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"rank {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}; "
                "start as many with --nproc-per-node"
            )
        torch.cuda.set_device(local)
    # A kernel of one pixel lies the same in both memory formats, but its strides tell them apart.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
