"""Rules of one's own, for operations that the table does not know or knows too carefully.

A rule says what an operation or a layer does to channels. The ATen operations that most networks consist of
have theirs in :mod:`pat.channels.operations.table`; :func:`register` adds or replaces one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from pat.channels.coupling import Facet
from pat.channels.operations.op import Op, Rule

Target = type[nn.Module] | Callable[..., Any] | str

_RULES: dict[Any, Rule] = {}


def register(target: Target, rule: Rule) -> None:
    """Teach the trace an operation.

    Args:
        target: a module class (what runs inside is then not looked at; subclasses that run its forward
            follow it), a function such as ``torch.cosh``, an operation such as
            ``torch.ops.aten.cosh.default``, or the name of an operation or tensor method.
        rule: :func:`keeps_zero` (one input, same channels, f(0) = 0), :func:`elementwise` (the same but
            f(0) != 0), or a function from an :class:`~pat.channels.walk.Op` to the result's
            :class:`~pat.channels.coupling.Facet` s.
    """
    _RULES[target] = rule


def keeps_zero(op: Op) -> list[Facet]:
    """One value in, the same channels out, f(0) = 0."""
    known = [facets for tensor in op.tensors if (facets := op.facets(tensor))]
    if len(known) == 1:
        return known[0]
    for facet in (facet for facets in known for facet in facets):
        op.walk.coupling.refused.append((facet.ids.flatten(), f"{op.where} (of several values)"))
    return []


def elementwise(op: Op) -> list[Facet]:
    """One value in, the same channels out, f(0) != 0 (a sigmoid): usable only as a factor of a product."""
    return [replace(facet, zero=False) for facet in keeps_zero(op)]


def own_rule(target: Any) -> Rule | None:
    """The registered rule of a module (by its class, or a base whose forward it runs) or an operation."""
    if not isinstance(target, nn.Module):
        try:
            return _RULES.get(target)
        except TypeError:  # not hashable
            return None
    own = type(target)
    for kind in own.__mro__:
        if kind in _RULES and issubclass(kind, nn.Module) and own.forward is kind.forward:
            return _RULES[kind]
    return None
