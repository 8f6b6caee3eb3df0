"""After the removal: what people do with a model works on every pruned one, with emptied layers too."""

import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pat import surgery
from pat.channels import trace

pytestmark = pytest.mark.filterwarnings("ignore")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.first, self.second = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x + self.bn2(self.conv2(self.first(self.bn1(self.conv1(x))))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.relu = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.a, self.b = Block(), Block()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(self.relu(self.bn(self.stem(x)))))
        return self.head(torch.flatten(self.pool(x), 1))


def pruned(emptied: bool) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(2, 3, 10, 10)
    with torch.no_grad():
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            norm.bias.normal_()
            assert norm.running_mean is not None
            norm.running_mean.normal_()
    groups = trace(model, x)
    kept = {name: torch.arange(group.size) % 2 == 0 for name, group in groups.items()}
    if emptied:
        kept["a.conv1"] = torch.zeros(8, dtype=torch.bool)
    surgery.remove(model, kept, groups=groups)
    return model.eval(), x


def onnx(model: nn.Module, x: Tensor, new: bool) -> Tensor:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if new:
            program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
            assert program is not None
            file.write(program.model_proto.SerializeToString())
        else:
            torch.onnx.export(model, (x,), file, dynamo=False)
    session = runtime.InferenceSession(file.getvalue())
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def fused(model: nn.Module) -> nn.Module:
    for block in (model.a, model.b):
        for i in "12":
            conv, norm = block.get_submodule(f"conv{i}"), block.get_submodule(f"bn{i}")
            setattr(block, f"conv{i}", fuse_conv_bn_eval(conv, norm))
            setattr(block, f"bn{i}", nn.Identity())
    return model


def by_graph(model: nn.Module, x: Tensor) -> nn.Module:
    from torch.ao.quantization import quantize_fx

    mapping = quantization.get_default_qconfig_mapping("x86")
    prepared = quantize_fx.prepare_fx(model, mapping, (x,))
    prepared(x)
    return quantize_fx.convert_fx(prepared)


EXACT = 0.0
ROUNDED = 1e-5
EIGHT_BITS = 0.05
WAYS: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], float]] = {
    "script": (lambda m, x: torch.jit.script(m)(x), EXACT),
    "jit trace": (lambda m, x: torch.jit.trace(m, x)(x), EXACT),
    "torch.export": (lambda m, x: torch.export.export(m, (x,)).module()(x), EXACT),
    "compile": (lambda m, x: torch.compile(m, backend="aot_eager")(x), ROUNDED),
    "fx": (lambda m, x: torch.fx.symbolic_trace(m)(x), EXACT),
    "ONNX": (lambda m, x: onnx(m, x, new=True), ROUNDED),
    "ONNX, older exporter": (lambda m, x: onnx(m, x, new=False), ROUNDED),
    "fusion": (lambda m, x: fused(m)(x), ROUNDED),
    "dynamic quantisation": (
        lambda m, x: quantization.quantize_dynamic(m, {nn.Linear}, dtype=torch.qint8)(x),
        EIGHT_BITS,
    ),
    "static quantisation": (lambda m, x: by_graph(m, x)(x), EIGHT_BITS),
}


@pytest.mark.parametrize("emptied", [False, True], ids=["pruned", "with an emptied layer"])
@pytest.mark.parametrize("way", WAYS)
def test_a_pruned_model_is_a_model(way: str, emptied: bool) -> None:
    model, x = pruned(emptied)
    with torch.no_grad():
        wanted = model(x)
        run, within = WAYS[way]
        found = run(copy.deepcopy(model), x)
    assert float((found - wanted).abs().max()) <= within


def test_fusion_by_exact_types_leaves_emptied_layers_out() -> None:
    model, x = pruned(emptied=True)
    pairs = [["stem", "bn", "relu"], ["b.conv1", "b.bn1", "b.first"], ["b.conv2", "b.bn2"]]
    found = quantization.fuse_modules(copy.deepcopy(model), pairs)(x)
    assert float((found - model(x)).abs().max()) < ROUNDED


def test_an_exported_model_takes_other_batches(tmp_path: Path) -> None:
    model, x = pruned(emptied=True)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: batch}})
    torch.export.save(program, tmp_path / "model.pt2")
    more = torch.randn(5, 3, 10, 10)
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    assert float((loaded(more) - model(more)).detach().abs().max()) < ROUNDED
