"""What ATen operations do to channels: one small table, and rules for sums, pools and what is not known."""

from dataclasses import replace
from typing import Any

import torch

from pat.channels.coupling import Facet
from pat.channels.operations.arithmetic import copied, elementwise, filled, random, same
from pat.channels.operations.layers import LAYERS
from pat.channels.operations.moving import concatenated, moved, padded
from pat.channels.operations.op import Op, Rule


def reduced(op: Op) -> list[Facet] | list[list[Facet]]:
    """A mean, sum or maximum: over other dimensions channels stay; over channels only a sum forgets zeros."""
    source = op.tensors[0]
    rank = source.dim()
    given = op.args[1] if len(op.args) > 1 else op.kwargs.get("dim")
    if "norm" in op.name:
        given = op.args[2] if len(op.args) > 2 else op.kwargs.get("dim")
    listed: Any = given if isinstance(given, tuple | list) and given else [given]
    over = {d % rank for d in listed} if isinstance(listed[0], int) else set(range(rank))
    outs = op.out if isinstance(op.out, tuple | list) else [op.out]
    keepdim = outs[0].dim() == rank
    results = []
    for facet in op.facets(source):
        if over & set(facet.dims):
            sums = op.name == "sum" or (op.name == "linalg_vector_norm" and op.args[1] > 0)
            if not (sums and facet.zero and set(facet.dims) <= over):
                op.across(facet, "mixes channels")
            continue
        ids = facet.ids if keepdim else facet.ids.squeeze(sorted(over))
        home = facet.home
        if home is not None and not keepdim:
            home -= sum(d < home for d in over)
        zero = facet.zero and "logsumexp" not in op.name
        results.append(replace(facet, ids=ids, zero=zero, home=home))
    return [results for _ in outs] if isinstance(op.out, tuple | list) else results


def along(op: Op) -> list[Facet]:
    """Softmax, cumulative sums, sorting: along channels they mix."""
    source = op.tensors[0]
    dim = (op.args[1] if len(op.args) > 1 and isinstance(op.args[1], int) else -1) % max(source.dim(), 1)
    results = []
    for facet in op.facets(source):
        if dim in facet.dims:
            op.across(facet, "mixes channels")
        else:
            results.append(replace(facet, zero=facet.zero and op.name == "cumsum"))
    return results


def pooled(op: Op) -> list[Facet] | list[list[Facet]]:
    """Pooling and resizing of what comes behind the channels."""
    source = op.tensors[0]
    spatial = next((int(c) for c, d in zip(op.name, op.name[1:], strict=False) if d == "d" and c in "123"), 2)
    results = []
    for facet in op.facets(source):
        if any(d >= source.dim() - spatial for d in facet.dims):
            op.across(facet, "mixes channels")
            continue
        results.append(facet)
        if not op.name.startswith(("adaptive_avg", "_adaptive_avg", "reflection", "replication")):
            op.walk.coupling.pools[op.where] = facet.ids.flatten()
    return [results, results] if isinstance(op.out, tuple | list) else results


def whole(op: Op) -> list[Facet]:
    """Channels that go in stay."""
    for tensor in op.tensors:
        for facet in op.facets(tensor):
            op.keep(facet, "mixes channels")
    return []


def forgotten(op: Op) -> list[Facet]:
    """The result has nothing of the argument but its size or kind."""
    return []


def unknown(op: Op) -> list[Facet]:
    """No rule: a layer of its own is run on the channels kept alone, otherwise they have to be whole."""
    for tensor in op.tensors:
        for facet in op.facets(tensor):
            if op.walk.can_be_alone(op.walk.frames[-1]):
                op.across(facet, "has no rule")
            else:
                op.walk.coupling.refused.append((facet.ids.flatten(), op.where))
    return []


_TABLE: dict[str, Rule] = dict(LAYERS)
for _rule, _names in (
    (
        elementwise,
        "prelu _prelu_kernel rsub where masked_fill addcmul addcdiv lerp clamp maximum minimum hardswish "
        "native_dropout dropout bitwise_not",
    ),
    (same, "_to_copy clone detach alias contiguous lift_fresh positive to reflection_pad replication_pad"),
    (random, "bernoulli empty_like rand_like randn_like normal uniform"),
    (filled, "zeros_like ones_like full_like fill zero"),
    (forgotten, "new_zeros new_empty new_ones new_full new_empty_strided sym_size argmax argmin"),
    (copied, "copy"),
    (
        moved,
        "view _unsafe_view reshape permute transpose t unsqueeze squeeze expand slice select split unbind "
        "split_with_sizes repeat flip roll index index_select gather unfold im2col col2im diagonal "
        "pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle _reshape_alias "
        "_reshape_copy view_as split_copy",
    ),
    (concatenated, "cat stack"),
    (padded, "constant_pad_nd"),
    (
        reduced,
        "mean sum amax amin max min var std var_mean std_mean prod median logsumexp linalg_vector_norm "
        "norm any all",
    ),
    (along, "_softmax _log_softmax softmax _safe_softmax cumsum sort topk"),
    (
        whole,
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable",
    ),
):
    for _name in _names.split():
        _TABLE[_name] = _rule
_POOLS = ("pool", "upsample", "grid_sampler", "reflection_pad", "replication_pad")


def find_rule(op: Op) -> Rule:
    """The rule of an operation, by its name or by its kind."""
    rule = _TABLE.get(op.name)
    if rule is None and any(part in op.name for part in _POOLS):
        rule = pooled
    if rule is None:
        packet = getattr(torch.ops.aten, op.name, None)
        plain = (
            [getattr(packet, overload).tags for overload in packet.overloads()] if packet else [op.func.tags]
        )
        rule = elementwise if any(torch.Tag.pointwise in tags for tags in plain) else unknown
    return rule
