"""What layers with parameters do to channels: they read some, produce others, and are cut with both."""

from dataclasses import replace

from torch import Tensor, nn

from pat.channels.coupling import Channels, Coupling, Value
from pat.channels.operations import Call, elementwise, keeps_zero, no_rule


def convolution(call: Call) -> Value | None:
    conv, value, coupling = call.module, call.input, call.coupling
    assert isinstance(conv, nn.modules.conv._ConvNd)
    if not _holds_weight(conv):
        return call.whole("computes its weight from other parameters")
    if call.result.dim() != conv.weight.dim():
        return call.whole("convolves a value without a batch dimension")
    out = coupling.of_layer(call.layer, conv.out_channels)
    coupling.convolutions.add(call.layer)
    weight = f"{call.layer}.weight"
    depthwise = conv.groups == conv.in_channels and conv.groups > 1
    if value is None or value.dim != 1:
        _read_whole(call, conv.weight.shape[1])
        if conv.groups > 1:  # its filters stand beside its inputs
            coupling.pin(out)
    elif depthwise:
        coupling.join(out, value.ids.repeat_interleave(conv.out_channels // conv.groups))
    else:
        _read(call, value)
        inputs = value.ids
        if conv.groups > 1:
            inputs = _same_in_every_group(coupling, inputs, conv.groups)
            _same_in_every_group(coupling, out, conv.groups)
        coupling.label(weight, 1, inputs, own=False)
    coupling.label(weight, 0, out, own=True)
    if conv.bias is not None:
        coupling.label(f"{call.layer}.bias", 0, out, own=True)
    return Channels(out, 1)


def _same_in_every_group(coupling: Coupling, ids: Tensor, groups: int) -> Tensor:
    """Couple the i-th channels of all convolution groups: each group must keep the same number."""
    table = ids.reshape(groups, -1)
    for row in table[1:]:
        coupling.join(table[0], row)
    return table[0]


def linear_layer(call: Call) -> Value | None:
    linear, value, coupling = call.module, call.input, call.coupling
    assert isinstance(linear, nn.Linear)
    if not _holds_weight(linear):
        return call.whole("computes its weight from other parameters")
    last = call.result.dim() - 1
    out = coupling.of_layer(call.layer, linear.out_features)
    if value is None or value.dim != last:
        _read_whole(call, linear.in_features)
    else:
        _read(call, value)
        coupling.label(f"{call.layer}.weight", 1, value.ids, own=False)
    coupling.label(f"{call.layer}.weight", 0, out, own=True)
    if linear.bias is not None:
        coupling.label(f"{call.layer}.bias", 0, out, own=True)
    return Channels(out, last)


def _holds_weight(module: nn.Module) -> bool:
    """False under weight or spectral norm, where the weight is no parameter that could be cut."""
    return "weight" in dict(module.named_parameters(recurse=False))


def _read_whole(call: Call, size: int) -> None:
    """A layer behind mixed or unknown channels needs them all; its own outputs are known again."""
    if call.values:
        call.whole("reads channels that are mixed or stand in another dimension")
    ids = call.coupling.new(size)
    call.coupling.pin(ids)
    call.coupling.label(f"{call.layer}.weight", 1, ids, own=False)


def _read(call: Call, value: Channels) -> None:
    if not value.zero:
        call.whole("reads channels that are not zero when masked")


def norm_layer(call: Call) -> Value | None:
    """BatchNorm and InstanceNorm: one scale and shift a channel."""
    norm, value, coupling = call.module, call.input, call.coupling
    if value is None:
        return no_rule(call)
    if value.dim != 1:
        return call.whole("normalises a value whose channels are not dimension 1")
    assert norm is not None
    affine = getattr(norm, "weight", None) is not None
    for name in ("weight", "bias", "running_mean", "running_var"):
        if getattr(norm, name, None) is not None:
            own = name in ("weight", "bias") or (name == "running_mean" and not affine)
            coupling.label(f"{call.layer}.{name}", 0, value.ids, own=own)
    coupling.norms[call.layer] = value.ids
    fused = [m for m in norm.children() if not isinstance(m, nn.Identity)]  # timm's BatchNormAct2d
    plain = all(call.rule_of(module) is keeps_zero for module in fused)
    return replace(value, zero=(affine or value.zero) and plain)


def prelu(call: Call) -> Value | None:
    assert isinstance(call.module, nn.PReLU)
    if call.input is not None and call.module.num_parameters > 1:
        call.coupling.label(f"{call.layer}.weight", 0, call.input.ids, own=False)
    return keeps_zero(call)


def hardtanh(call: Call) -> Value | None:
    assert isinstance(call.module, nn.Hardtanh)
    bounds = call.module.min_val, call.module.max_val
    return keeps_zero(call) if bounds[0] <= 0 <= bounds[1] else elementwise(call)
