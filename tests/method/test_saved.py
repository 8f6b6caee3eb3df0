"""Saved pruned models: what is loaded is what was saved, and anything else is refused by name."""

import pickle
from pathlib import Path

import pytest
import torch
from networks import Plain, assert_unchanged, build, random_masks, roughen, snapshot
from safetensors.torch import save_file
from torch import nn

import pat
from pat import load_pruned, read_notes, save_pruned, surgery
from pat.channels import trace

torch.set_num_threads(1)


def pruned(name: str, empty: str | None = None) -> tuple[nn.Module, torch.Tensor]:
    model, x = build(name)
    roughen(model)
    groups = trace(model, x)
    kept = random_masks(groups, 0.6)
    if empty is not None:
        kept[empty] = torch.zeros(groups[empty].size, dtype=torch.bool)
    surgery.remove(model, kept, groups=groups)
    return model.eval(), x


@pytest.mark.parametrize("empty", [None, "layer2.0.conv1"])
def test_round_trip(tmp_path: Path, empty: str | None) -> None:
    model, x = pruned("resnet18", empty)
    path = tmp_path / "model.safetensors"
    save_pruned(model, path, {"architecture": "resnet18", "note": "Ψ = 0.9\nsecond line"})
    torch.manual_seed(5)
    fresh = build("resnet18")[0]
    assert load_pruned(fresh, path) is fresh
    fresh.eval()
    assert surgery.sizes(fresh) == surgery.sizes(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
    with torch.no_grad():
        assert torch.equal(fresh(x), model(x))
    assert sum(p.numel() for p in fresh.parameters()) < 0.5 * 11_689_512
    assert read_notes(path) == {"architecture": "resnet18", "note": "Ψ = 0.9\nsecond line"}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    # It trains, and is traced and pruned again.
    fresh.train()
    fresh(x).square().mean().backward()
    assert all(p.grad is not None for n, p in fresh.named_parameters() if p.numel() and empty is None)
    again = trace(fresh, x)
    surgery.remove(fresh, random_masks(again, 0.5), groups=again)
    assert fresh(x).shape == (2, 1000)


def test_the_front_door(tmp_path: Path) -> None:
    model = Plain()
    pat.save_pruned(model, str(tmp_path / "a"))
    assert pat.read_notes(tmp_path / "a") == {}
    pat.load_pruned(Plain(), str(tmp_path / "a"))


def test_types_and_buffers(tmp_path: Path) -> None:
    model = Plain().to(torch.bfloat16).to(memory_format=torch.channels_last)
    model.bn1.num_batches_tracked += 7
    save_pruned(model, tmp_path / "m")
    fresh = load_pruned(Plain().to(torch.bfloat16), tmp_path / "m")
    assert fresh.bn1.num_batches_tracked == 7
    assert torch.equal(fresh.conv2.weight, model.conv2.weight)


def test_an_existing_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_pruned(Plain(), path, {"first": "yes"})
    with pytest.raises((TypeError, ValueError)):
        save_pruned(Plain(), path, {"bad": object()})  # type: ignore[dict-item]
    assert read_notes(path) == {"first": "yes"}
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def damaged_files(folder: Path) -> dict[str, Path]:
    good = folder / "good"
    save_pruned(Plain(), good)
    whole = good.read_bytes()
    middle = bytearray(whole)
    middle[-100] ^= 1  # one bit of one weight
    header = bytearray(whole)
    header[3] = 0x7F
    contents = {
        "truncated": whole[:-10],
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not a model",
        "pickle": pickle.dumps({"conv1.weight": [1.0]}),
        "one bit": bytes(middle),
        "header": bytes(header),
        "longer": whole + b"0123456789",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save(Plain().state_dict(), folder / "torch")
    save_file(Plain().state_dict(), folder / "safetensors of others")
    return {name: folder / name for name in (*contents, "torch", "safetensors of others")}


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    model = Plain()
    before = snapshot(model)
    for name, path in damaged_files(tmp_path).items():
        with pytest.raises(ValueError, match=str(path)):
            load_pruned(model, path)
        assert_unchanged(model, before)
        if name != "one bit":
            with pytest.raises(ValueError, match=str(path)):
                read_notes(path)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a file ran code",))


def test_loading_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="bomb"):
        load_pruned(Plain(), path)


def test_another_model_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    save_pruned(Plain(), path)
    for model in (build("resnet18")[0], Plain(width=4), Plain(classes=3), nn.Sequential()):
        before = snapshot(model)
        with pytest.raises(ValueError, match=f"{path} does not fit the model"):
            load_pruned(model, path)
        assert_unchanged(model, before)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no saved model at {path}"):
            load_pruned(Plain(), path)


class Remembering(nn.Module):
    """With a buffer that is no part of a state_dict, made when it is first needed."""

    def __init__(self, early: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 2, 1)
        if early:
            self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)))


@pytest.mark.parametrize(("saved", "fresh"), [(True, False), (False, True), (True, True), (False, False)])
def test_buffers_that_no_state_dict_has_may_be_missing(saved: bool, fresh: bool, tmp_path: Path) -> None:
    model, x = Remembering(saved), torch.randn(2, 3, 8, 8)
    groups = trace(model, x)
    surgery.remove(model, random_masks(groups, 0.5), groups=groups)
    save_pruned(model, tmp_path / "a")
    loaded = load_pruned(Remembering(fresh), tmp_path / "a")
    assert torch.equal(loaded.eval()(x), model.eval()(x))
    if fresh:
        assert torch.equal(loaded.get_buffer("scale"), torch.tensor([2.0]))


def test_what_a_state_dict_has_may_not_be_missing(tmp_path: Path) -> None:
    save_pruned(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False)), tmp_path / "a")
    with pytest.raises(ValueError, match="does not fit the model"):
        load_pruned(nn.Sequential(nn.Conv2d(3, 8, 3)), tmp_path / "a")


def test_wrapped_models_are_saved_and_loaded_as_bare_ones(tmp_path: Path) -> None:
    model, x = pruned("resnet18")
    save_pruned(nn.DataParallel(model), tmp_path / "a")
    outer = nn.DataParallel(build("resnet18")[0])
    assert load_pruned(outer, tmp_path / "a") is outer
    assert torch.equal(outer.module.eval()(x), model(x))


def test_values_are_cast_to_the_models_type(tmp_path: Path) -> None:
    save_pruned(nn.Linear(2, 2), tmp_path / "a")
    loaded = load_pruned(nn.Linear(2, 2).double(), tmp_path / "a")
    assert {p.dtype for p in loaded.parameters()} == {torch.float64}
