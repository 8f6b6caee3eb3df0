"""The optimizers of a loop: one, several, wrapped ones, and those that it makes anew on the way."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

Optimizers = Optimizer | Iterable[Optimizer]
State = Mapping[Tensor, dict[str, Any]]


class Watched:
    """All optimizers that train a model's parameters.

    Wrapped ones (Lookahead, ZeroRedundancyOptimizer, accelerate's) are looked into. One that the loop makes
    later, or did not name, is noticed when it first steps, and joins.

    Args:
        model: whose parameters they have.
        given: one or several.

    Attributes:
        all: those given, those within them, and those that joined.

    Raises:
        ValueError: for anything else than optimizers, or if none of them has a parameter of the model.
    """

    def __init__(self, model: nn.Module, given: Optimizers) -> None:
        self.all: list[Optimizer] = []
        self._welcome: Callable[[Optimizer], None] = lambda optimizer: None
        self._parameters = {id(parameter) for parameter in model.parameters()}
        optimizers = everyone(given)
        if not any(self._trains(optimizer) for optimizer in optimizers):
            raise ValueError(
                "the optimizer has no parameter of the model: was it made for another one, or for a copy?"
            )
        for optimizer in optimizers:
            if why := hidden_memory(optimizer):
                raise ValueError(why)
            self._add(optimizer)
        handle = register_optimizer_step_pre_hook(_noticing(weakref.ref(self)))
        weakref.finalize(self, handle.remove)

    @property
    def stepping(self) -> list[Optimizer]:
        """Those that change parameters themselves, as one that wraps another does not."""
        return [optimizer for optimizer in self.all if not _wrapped(optimizer)]

    def greet(self, welcome: Callable[[Optimizer], None]) -> None:
        """Call ``welcome`` with each of :attr:`stepping`, now, and with each that joins, before it steps."""
        self._welcome = welcome
        for optimizer in self.stepping:
            welcome(optimizer)

    def notice(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step: it joins if it trains the model."""
        if not any(optimizer is known for known in self.all) and self._trains(optimizer):
            self._add(optimizer)

    def _add(self, optimizer: Optimizer) -> None:
        self.all.append(optimizer)
        if not _wrapped(optimizer):
            self._welcome(optimizer)

    def _trains(self, optimizer: Optimizer) -> bool:
        return any(id(p) in self._parameters for group in optimizer.param_groups for p in group["params"])


def everyone(given: Optimizers) -> list[Optimizer]:
    """One or several optimizers and those that they wrap, inner ones first, each once.

    Raises:
        ValueError: for anything else.
    """
    several = [given] if isinstance(given, Optimizer) or not isinstance(given, Iterable) else list(given)
    if odd := [each for each in several if not isinstance(each, Optimizer)]:
        raise ValueError(f"expected torch.optim optimizers, got {type(odd[0]).__name__}: give those it wraps")
    found: dict[int, Optimizer] = {}
    for optimizer in several:
        found |= {id(each): each for each in (*everyone(_wrapped(optimizer)), optimizer)}
    return list(found.values())


def states(optimizers: Iterable[Optimizer]) -> list[tuple[str, State]]:
    """What optimizers remember of parameters, each memory once, with the kind of its optimizer."""
    held = {id(optimizer.state): (type(optimizer).__name__, optimizer.state) for optimizer in optimizers}
    return list(held.values())


def hidden_memory(optimizer: Optimizer) -> str:
    """Why an optimizer's memory cannot be cut: it keeps tensors elsewhere than in ``state``; empty if not."""
    parameters = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, value in vars(optimizer).items():
        if name in {"state", "param_groups"}:
            continue
        for tensor in _tensors(value):
            if tensor.numel() > 1 and id(tensor) not in parameters:
                return (
                    f"{type(optimizer).__name__} keeps a tensor {tuple(tensor.shape)} in {name!r} and not in "
                    "its state: it cannot be cut with the channels"
                )
    return ""


def _wrapped(optimizer: Optimizer) -> list[Optimizer]:
    held = (each for value in vars(optimizer).values() for each in _flat(value))
    return [each for each in held if isinstance(each, Optimizer) and each is not optimizer]


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    yield from value if isinstance(value, list | tuple) else (value,)


def _tensors(value: Any) -> Iterator[Tensor]:
    for outer in _flat(value):
        yield from (each for each in _flat(outer) if isinstance(each, Tensor))


def _noticing(watched: "weakref.ref[Watched]") -> Callable[[Optimizer, Any, Any], None]:
    def notice(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if (alive := watched()) is not None:
            alive.notice(optimizer)

    return notice
