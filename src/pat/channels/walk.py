"""A forward pass that is watched: every ATen operation that runs moves the labels of its arguments on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from pat.channels.coupling import Coupling, Facet
from pat.channels.operations.calls import Calls
from pat.channels.operations.layers import convolution_layer
from pat.channels.operations.op import INPUT, OUTPUT, Alone, Count, Frame, Op, Rule, Share, Step, flat_tensors


class Walk(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs a model and moves labels along, operation by operation.

    Args:
        coupling: filled by the pass.
        model: a copy; its buffers may change.
        find_rule: the rule of an operation's name.
        own_rule: the rule that a user registered for a module, function or operation, or None.
    """

    def __init__(
        self,
        coupling: Coupling,
        model: nn.Module,
        find_rule: Callable[[Op], Rule],
        own_rule: Callable[[Any], Any],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.coupling, self.model = coupling, model
        self.find_rule, self.own_rule = find_rule, own_rule
        self.frames = [Frame("", model, [])]
        self.alone: dict[str, Alone] = {}
        self.spare: dict[str, Alone] = {}
        self.steps: list[Step] = []
        self.literals: set[int] = set()
        self.sizes: list[Any] = []
        self.counts: list[Count | Share] = []
        self.used: set[int] = set()
        self.reached: set[str] = set()
        self.inputs = (0, 0)
        self.values: dict[int, tuple[Tensor, list[Facet]]] = {}
        self.producer: dict[int, int] = {}
        self.names: dict[int, str] = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.names.setdefault(id(tensor), name)
        self._storages: dict[int, list[int]] = {}

    # --- values -------------------------------------------------------------------------------------------

    def facets(self, tensor: Any) -> list[Facet]:
        """What is known about a tensor's channels; a parameter's are labelled when it is first used."""
        if not isinstance(tensor, Tensor):
            return []
        if id(tensor) in self.values:
            return self.values[id(tensor)][1]
        name = self.names.get(id(tensor))
        if name is None:
            return []
        found = []
        matrix = name.endswith("weight") and tensor.dim() > 1
        for dim in reversed(range(tensor.dim())):
            size = tensor.shape[dim]
            if size > 1 or (size <= 1 and ((matrix and dim < 2) or tensor.dim() == 1)):
                ids = self.coupling.of_tensor(name, dim, size)
                shape = [1] * tensor.dim()
                shape[dim] = size
                found.append(Facet(ids.reshape(shape), True, dim if size <= 1 else None, held=True))
        self.set(tensor, found)
        return found

    def set(self, tensor: Tensor, facets: list[Facet]) -> None:
        """Note what is known about a tensor's channels."""
        self.values[id(tensor)] = (tensor, facets)
        self._storages.setdefault(tensor.untyped_storage()._cdata, []).append(id(tensor))

    def written(self, tensor: Tensor, facets: list[Facet]) -> None:
        """An operation in place: other views of the memory see the result too."""
        before = self.facets(tensor)
        self.values[id(tensor)] = (tensor, facets)
        kept = {id(f.ids) for f in facets if f.zero}
        spoiled = [f for f in before if f.zero and id(f.ids) not in kept]
        foreign = [f for f in facets if not before]
        for other in self._storages.get(tensor.untyped_storage()._cdata, []):
            alias, known = self.values[other]
            if alias is tensor:
                continue
            if spoiled:
                self.values[other] = (alias, [replace(f, zero=False) for f in known])
            for facet in foreign:
                self.coupling.keep(facet.ids, "they are written into a part of another value")

    # --- the pass -----------------------------------------------------------------------------------------

    def run(self, arguments: tuple[Any, ...], first: Tensor | None) -> Tensor:
        """One forward pass; returns the labels of the inputs' channels (``first``: those of an earlier)."""
        inputs = [t for t in flat_tensors(arguments) if t.dim() >= 2]
        ids = first if first is not None else self.coupling.new(sum(t.shape[1] for t in inputs))
        self.coupling.keep(ids, INPUT)
        self.inputs = (int(ids[0]), int(ids[-1]) + 1) if ids.numel() else (0, 0)
        at = 0
        self.steps.append(Step(()))
        for tensor in flat_tensors(arguments):
            self.producer[id(tensor)] = 0
            if tensor.dim() >= 2:
                part = ids[at : at + tensor.shape[1]].reshape([1, -1] + [1] * (tensor.dim() - 2))
                self.set(tensor, [Facet(part, home=1 if part.numel() == 1 else None)])
                at += tensor.shape[1]
        handles = []
        for name, module in self.model.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            with torch.no_grad(), self, Calls(self):
                out = self.model(*arguments)
        finally:
            for handle in handles:
                handle.remove()
        for tensor in flat_tensors(out):
            for facet in self.facets(tensor):
                self.coupling.keep(facet.ids, OUTPUT)
        reached = [self.producer[id(t)] for t in flat_tensors(out) if id(t) in self.producer]
        self.steps.append(Step(tuple(dict.fromkeys(reached)), output=True))
        return ids

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]
        tensors = list(flat_tensors((args, kwargs)))
        op = Op(self, func, name.rstrip("_") or name, args, kwargs, tensors=tensors)
        suspended = self.suspended
        known = not suspended and any(self.facets(t) for t in tensors)
        if op.name == "native_batch_norm" and args[0].is_meta:  # torch takes milliseconds to say as much
            op.out = (torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0))
        else:
            op.out = func(*args, **kwargs)
        if known:
            rule = self.own_rule(func) or self.own_rule(op.name) or self.find_rule(op)
            facets: Any = rule(op)
            mutable = func._schema.is_mutable
            outputs = op.out if isinstance(op.out, tuple | list) else (op.out,)
            for i, out in enumerate(outputs):
                if isinstance(out, Tensor):
                    several = bool(facets) and isinstance(facets[0], list)
                    now = (facets[i] if i < len(facets) else []) if several else facets
                    now = now if out.dim() else []
                    now = [f for f in now if f.ids.dim() == out.dim()]
                    (self.written if mutable and any(out is t for t in tensors) else self.set)(out, now)
        self._trace_path(op)
        return op.out

    def _trace_path(self, op: Op) -> None:
        before = tuple(dict.fromkeys(self.producer[id(t)] for t in op.tensors if id(t) in self.producer))
        if not before:
            return
        layer = self._layer
        self._layer = None
        index = before[0]
        if layer is not None or len(before) > 1:
            index = len(self.steps)
            self.steps.append(Step(before, layer))
        for out in flat_tensors(op.out):
            self.producer[id(out)] = index
            self.values.setdefault(id(out), (out, []))  # holds it, so that no other takes its id

    _layer: str | None = None

    def produces(self, ids: Tensor, convolution: bool) -> str | None:
        """A convolution or matrix product produces the channels of its weight."""
        owner = self.coupling.owner(ids)
        if owner is None:
            return None
        layer, _, kind = owner[0].partition(".parametrizations.")[0].rpartition(".")
        if ".parametrizations." in owner[0]:
            layer = owner[0].partition(".parametrizations.")[0]
        elif kind != "weight":
            return None
        self._layer = layer
        self.coupling.layers.setdefault(layer, ids.flatten())
        if convolution:
            self.coupling.convolutions.add(layer)
        return layer

    def reads(self, ids: Tensor) -> None:
        """A parameter's dimension reads channels: masking leaves it as it is."""
        owner = self.coupling.owner(ids)
        if owner is not None:
            self.coupling.tensors[owner].own = False

    # --- modules ------------------------------------------------------------------------------------------

    @property
    def suspended(self) -> bool:
        return any(frame.across or frame.rule is not None for frame in self.frames)

    def can_be_alone(self, frame: Frame) -> bool:
        """Whether a module is a layer of one input with channels along one dimension, and no layers in it."""
        children = any(True for child in frame.module.children() for _ in child.parameters())
        facets = frame.before
        return not children and frame.name != "" and len(facets) == 1 and len(facets[0].dims) == 1

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            self.reached.add(name)
            inputs = list(flat_tensors((args, kwargs)))
            known = [self.values.get(id(tensor)) for tensor in inputs]
            if None not in known:
                before = [facet for entry in known if entry is not None for facet in entry[1]]
            else:
                with _disable_current_modes(), torch._C.DisableTorchFunction():
                    before = [facet for tensor in inputs for facet in self.facets(tensor)]
            self.frames.append(Frame(name, module, inputs, before, rule=self.own_rule(module)))

        return enter

    def _leave(self, module: nn.Module, args: Any, out: Any) -> None:
        frame = self.frames.pop()
        if self.suspended or not isinstance(out, Tensor):
            return
        with torch._C.DisableTorchFunction():
            if frame.rule is not None or frame.across or self._may_restore(frame, out):
                with _disable_current_modes():  # it takes longer than most layers
                    self._left(frame, module, args, out)

    def _may_restore(self, frame: Frame, out: Tensor) -> bool:
        """Whether zeros went into a layer and did not come out: it could run on the channels kept alone."""
        (_, facets) = self.values.get(id(out), (out, []))
        return (
            len(facets) == len(frame.before) == 1
            and frame.before[0].zero
            and not facets[0].zero
            and self.can_be_alone(frame)
        )

    def _left(self, frame: Frame, module: nn.Module, args: Any, out: Tensor) -> None:
        if frame.rule is not None:
            op = Op(self, module, type(module).__name__, tuple(args), {}, out, frame.inputs)
            self.frames.append(frame)
            self.set(out, list(frame.rule(op)))
            self.frames.pop()
            self._trace_path(op)
        elif frame.across:
            self._leave_alone(frame, out)
        elif self.can_be_alone(frame):
            before, *more = frame.before
            facets = self.facets(out)
            same = len(facets) == 1 and not more and facets[0].dims == before.dims
            if same and before.zero and not facets[0].zero and facets[0].ids.shape == before.ids.shape:
                needs = before.if_alone | {frame.name}
                own = [(name, f) for name, t in frame.module.named_parameters() for f in self.facets(t)]
                cuts = [
                    (f"{frame.name}.{name}", f.dims[0])
                    for name, f in own
                    if f.ids.numel() == before.ids.numel()
                ]
                self.spare[frame.name] = Alone(frame.name, before.ids.flatten(), before.dims[0], tuple(cuts))
                self.values[id(out)] = (out, [replace(facets[0], zero=True, if_alone=needs)])

    def needs_zero(self, facet: Facet) -> bool:
        """Whether masked channels are zero here; layers that have to run on the kept alone for it, will."""
        if facet.zero:
            for layer in facet.if_alone:
                self.alone[layer] = self.spare[layer]
        return facet.zero

    def _leave_alone(self, frame: Frame, out: Tensor) -> None:
        (facet,) = frame.before
        (dim,) = facet.dims
        ids = facet.ids.flatten()
        tensor = next(t for t in frame.inputs if self.facets(t))
        module = frame.module
        own = {name: self.facets(held) for name, held in module.named_parameters(recurse=False)}
        if isinstance(module, nn.modules.conv._ConvNd) and dim == 1:  # its weight is normalised
            op = Op(self, module, "convolution", (tensor,), {}, out, [tensor])
            made = convolution_layer(op)
            if module.weight[0, 0].numel() == 1:
                self.coupling.keep(
                    ids, f"layer {frame.name!r} cannot normalise the one weight of a single input"
                )
            for known in (f for name, facets in own.items() if name != "weight" for f in facets):
                if known.ids.numel() == module.out_channels:
                    self.coupling.join(known.ids.flatten(), made[0].ids.flatten())
            self.alone[frame.name] = Alone(
                frame.name, ids, dim, ((f"{frame.name}.weight", 1),), scatter=False
            )
            self.set(out, made)
            self._trace_path(op)
        elif out.shape != tensor.shape:
            self.coupling.keep(ids, frame.across)
        else:
            cuts = []
            for name, facets in own.items():
                for known in facets:
                    aligned = known.ids.dim() == 1 or known.dims[0] + tensor.dim() - known.ids.dim() == dim
                    if known.ids.numel() == ids.numel() and aligned:
                        self.coupling.join(known.ids.flatten(), ids)
                        cuts.append((f"{frame.name}.{name}", known.dims[0]))
            self.alone[frame.name] = Alone(frame.name, ids, dim, tuple(cuts))
            self.coupling.grouped[frame.name] = ids
            self.set(out, [replace(facet, zero=True, if_alone=frozenset())])
