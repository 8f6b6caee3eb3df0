"""A plain training loop with a pruner that shrinks the network, and going on from what it has saved."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from networks import Plain
from torch import Tensor, nn

EXAMPLE = torch.zeros(2, 1, 8, 8)
STEPS = 3


def data(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(STEPS):
        y = torch.randint(10, (16,), generator=generator)
        yield torch.randn(16, 1, 8, 8, generator=generator) + y[:, None, None, None] / 5, y


class RivalLoop:
    """A plain training loop."""

    def __init__(
        self,
        pruner: Callable[..., Any],
        settings: Mapping[str, Any],
        seed: int = 0,
        model: nn.Module | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.model: Any = Plain() if model is None else model
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05, momentum=0.9)
        self.pat = pruner(self.model, self.optimizer, EXAMPLE, data, **settings)

    def epochs(self, count: int = 1, first_step: int = 0) -> Self:
        for _ in range(count):
            for x, y in list(data(self.pat.epoch))[first_step:]:
                self.step(x, y)
            self.pat.end_epoch()
            first_step = 0
        return self

    def step(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.pat.step()
        self.optimizer.step()
        self.pat.after_step()


def save(loop: Any) -> io.BytesIO:
    """A loop's pruner, model and optimizer, as a file."""
    file = io.BytesIO()
    states = {"pat": loop.pat, "model": loop.model, "optimizer": loop.optimizer}
    torch.save({name: each.state_dict() for name, each in states.items()}, file)
    file.seek(0)
    return file


def restore(loop: Any, file: io.BytesIO) -> None:
    """Give a fresh loop what :func:`save` saved; the pruner first, which shrinks the network."""
    state = torch.load(file, weights_only=True)  # tensors and plain values, no code
    loop.pat.load_state_dict(state["pat"])
    loop.model.load_state_dict(state["model"])
    loop.optimizer.load_state_dict(state["optimizer"])
