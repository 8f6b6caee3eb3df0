"""Which networks can be pruned exactly: pat and Torch-Pruning on the same ones, by the same measure.

About half of the channels of every group go, drawn at random. A network is pruned exactly if what is left
gives the outputs of the network in which those channels were masked, to 1e-9 of the largest output in double
precision. pat masks as it does in training; Torch-Pruning has no mask, so the weights and biases whose rows
it removes are zeroed. Writes a sealed record, network by network: `python tools/networks.py --out FILE`.
"""

import argparse
import copy
import json
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
import torch_pruning
import torchvision
import yaml
from torch import Tensor, nn

from pat import surgery
from pat.channels import UnsupportedOperation, trace
from pat.channels.operations.op import flat_tensors
from pat.files.atomic import write_whole
from pat.files.sealed import seal
from pat.study.store.record import command, provenance

LIST = Path(__file__).with_suffix(".yaml")
EXACT = 1e-9
SECONDS = 180
CLASSES = 10

Finding = dict[str, Any]
"""``outcome`` (exact, refused, differs, fails, nothing); and if known ``why``, ``difference``, ``left``."""


class OutOfTime(Exception):
    """A network took longer than it may."""


def networks(only: list[str]) -> Iterator[tuple[str, str, int]]:
    """Library, name and image size of each network whose name has one of these parts, or of all."""
    for library, entries in yaml.safe_load(LIST.read_text(encoding="utf-8")).items():
        for entry in entries:
            name, size = next(iter(entry.items())) if isinstance(entry, dict) else (entry, 64)
            if not only or any(part in f"{library}/{name}" for part in only):
                yield library, name, size


def build(library: str, name: str) -> nn.Module:
    """A network without pre-trained weights."""
    if library == "timm":
        return timm.create_model(name, pretrained=False, num_classes=CLASSES)
    if library == "segmentation_models_pytorch":
        import segmentation_models_pytorch

        return getattr(segmentation_models_pytorch, name)("resnet18", encoder_weights=None, classes=CLASSES)
    kind, _, own = name.rpartition(".")
    module = getattr(torchvision.models, kind) if kind else torchvision.models
    settings: dict[str, Any] = {"weights": None, "num_classes": CLASSES}
    if kind == "segmentation":
        settings["weights_backbone"] = None
    if own in ("googlenet", "inception_v3"):
        settings |= {"aux_logits": False, "init_weights": False}
    return getattr(module, own)(**settings)


def images(name: str, size: int) -> Tensor:
    """One image, or a clip of a video."""
    return torch.randn(1, 3, 4, size, size) if name.startswith("video.") else torch.randn(1, 3, size, size)


def unsettle(model: nn.Module) -> None:
    """Scales, shifts and statistics as training leaves them: nothing is zero or one by chance."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, nn.modules.batchnorm._NormBase):
                continue
            for tensor in (module.weight, module.bias, module.running_mean):
                if tensor is not None:
                    tensor.add_(0.3 * torch.randn(tensor.shape, generator=draw))
            if module.running_var is not None:
                module.running_var.mul_(0.5 + torch.rand(module.running_var.shape, generator=draw))


def compared(masked: nn.Module, removed: nn.Module, x: Tensor, before: int) -> Finding:
    """Whether the two give the same, and how many of the parameters are left."""
    with torch.no_grad():
        pairs = list(zip(flat_tensors(masked(x)), flat_tensors(removed(x)), strict=True))
    difference = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs)
    left = sum(parameter.numel() for parameter in removed.parameters()) / before
    outcome = "nothing" if left == 1 else "exact" if difference < EXACT else "differs"
    return {"outcome": outcome, "difference": difference, "left": round(left, 4)}


def by_pat(model: nn.Module, x: Tensor) -> Finding:
    """Half of every group's channels, at least one stays."""
    groups = trace(model, x)
    draw, kept = torch.Generator().manual_seed(1), {}
    for name, group in groups.items():
        kept[name] = torch.rand(group.size, generator=draw) > 0.5
        kept[name][0] = True
    before = sum(parameter.numel() for parameter in model.parameters())
    masked, removed = copy.deepcopy(model), copy.deepcopy(model)
    surgery.mask(masked, kept, groups=groups)
    surgery.remove(removed, kept, groups=groups)
    return compared(masked, removed, x, before) | {"groups": len(groups)}


def by_torch_pruning(model: nn.Module, x: Tensor) -> Finding:
    """Half of every group's channels; layers that give the classes stay, as its guide says."""
    masked, before = copy.deepcopy(model), sum(parameter.numel() for parameter in model.parameters())
    outputs = [
        module
        for module in model.modules()
        if CLASSES in (getattr(module, "out_features", None), getattr(module, "out_channels", None))
    ]
    pruner = torch_pruning.pruner.BasePruner(
        model,
        x,
        importance=torch_pruning.importance.RandomImportance(),
        pruning_ratio=0.5,
        ignored_layers=outputs,
    )
    names, groups = {module: name for name, module in model.named_modules()}, 0
    rows: dict[str, list[int]] = {}  # of each layer those that are left: indices are of the network so far
    for group in pruner.step(interactive=True):
        groups += 1
        gone: dict[str, set[int]] = {}
        for dependency, indices in group:
            layer = dependency.target.module
            if layer in names and pruner.DG.is_out_channel_pruning_fn(dependency.handler):
                name = names[layer]
                left = rows.setdefault(name, list(range(_rows(layer))))
                gone.setdefault(name, set()).update(left[index] for index in indices)
        for name, own in gone.items():
            _zero(masked.get_submodule(name), sorted(own))
            rows[name] = [row for row in rows[name] if row not in own]
        group.prune()
    return compared(masked, model, x, before) | {"groups": groups}


def _along(layer: nn.Module, name: str) -> int:
    """The dimension of a layer's parameter that its output channels lie along."""
    return 1 if name == "weight" and isinstance(layer, nn.ConvTranspose2d) and layer.groups == 1 else 0


def _rows(layer: nn.Module) -> int:
    """Output channels of a layer, 0 of one without parameters."""
    parameters = {name: getattr(layer, name, None) for name in ("weight", "bias")}
    sizes = [p.shape[_along(layer, name)] for name, p in parameters.items() if isinstance(p, Tensor)]
    return int(sizes[0]) if sizes else 0


@torch.no_grad()
def _zero(layer: nn.Module, rows: list[int]) -> None:
    for name in ("weight", "bias"):
        parameter = getattr(layer, name, None)
        if isinstance(parameter, Tensor):
            parameter.index_fill_(_along(layer, name), torch.tensor(rows), 0)


@contextmanager
def ends_in(seconds: int) -> Iterator[None]:
    """Raise :class:`OutOfTime` after so long."""

    def late(*_: object) -> None:
        raise OutOfTime(f"no end in {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def tried(prune: Callable[[nn.Module, Tensor], Finding], library: str, name: str, size: int) -> Finding:
    """What came of pruning a network that is made anew."""
    torch.manual_seed(0)
    try:
        with ends_in(SECONDS):
            model = build(library, name).double().eval()
            unsettle(model)
            return prune(model, images(name, size).double())
    except UnsupportedOperation as refusal:
        return {"outcome": "refused", "why": str(refusal)}
    except Exception as error:  # whatever it is, it is the finding
        return {"outcome": "fails", "why": f"{type(error).__name__}: {error}".splitlines()[0][:300]}


def main() -> None:
    """Try all and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="parts of names")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    start, found = time.perf_counter(), []
    for library, name, size in networks(options.only):
        row = {"library": library, "name": name, "pixels": size}
        row |= {"pat": tried(by_pat, library, name, size)}
        row |= {"Torch-Pruning": tried(by_torch_pruning, library, name, size)}
        found.append(row)
        outcomes = [f"{row[side]['outcome']:8}" for side in ("pat", "Torch-Pruning")]
        print(f"{library}/{name:44}", *outcomes, flush=True)
    if options.out:
        where = provenance(seconds=time.perf_counter() - start, device="cpu", command=command())
        versions = {"timm": timm.__version__, "torch-pruning": torch_pruning.__version__}
        content = {"networks": found, "libraries": versions, "provenance": where.model_dump(mode="json")}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.out, (json.dumps(seal(content), indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
