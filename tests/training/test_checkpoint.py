"""Checkpoints: exact, whole or not there, and without code."""

import hashlib
import math
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as serialise
from tiny import flip
from torch import nn

from pat.training import checkpoint
from pat.training.checkpoint import DamagedCheckpoint

Plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(first: Any, second: Any) -> bool:
    """Equal in value and type, through dicts and lists; tensors bit for bit."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, dict):
        keys = zip(first, second, strict=len(first) == len(second))
        return all(same(a, b) and same(first[a], second[b]) for a, b in keys)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float):
        return first.hex() == second.hex()
    return bool(first == second)


def round_trip(state: Any, file: Path) -> Any:
    checkpoint.save(file, state)
    return checkpoint.load(file)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=Plain)
def test_plain_values_come_back_as_they_were(state: Any, tmp_path: Path) -> None:
    assert same(round_trip(state, tmp_path / "a.ckpt"), state)


def test_tensors_of_every_kind_come_back_bit_for_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 2, 2, generator=generator)
    state = {
        "scalar": torch.tensor(0.1),
        "mask": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 3),
        "channels last": weight.to(memory_format=torch.channels_last),
        "view": weight[1:, ::2],
        "half": weight.to(torch.bfloat16),
        "double": weight.double() / 3,
        "count": torch.tensor(2**53 + 1),
        "rare": torch.tensor([math.inf, -math.inf, -0.0, 5e-324]),
        7: [weight, {"tensor": weight, "dict": weight, "tree": [weight]}],
    }
    assert same(round_trip(state, tmp_path / "a.ckpt"), state)


def test_special_floats_come_back(tmp_path: Path) -> None:
    back = round_trip([math.inf, -math.inf, math.nan, -0.0, 5e-324], tmp_path / "a.ckpt")
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])
    assert math.copysign(1, back[3]) == -1
    assert back[4] == 5e-324


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_goes_on_from_its_state(kind: Any, tmp_path: Path) -> None:
    def trained(steps: int, saved_after: int | None) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        optimizer = kind(model.parameters(), lr=0.1, **options)
        for step in range(steps):
            if step == saved_after:
                state = round_trip(optimizer.state_dict(), tmp_path / "o.ckpt")
                optimizer = kind(model.parameters(), lr=0.5)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            model(torch.full((1, 3), float(step))).square().sum().backward()
            optimizer.step()
        return list(model.parameters())

    for whole, resumed in zip(trained(6, None), trained(6, 3), strict=True):
        assert torch.equal(whole, resumed)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.ckpt"
    checkpoint.save(file, {"epoch": 3, "weights": torch.arange(4.0)})
    return file


def test_a_flipped_bit_is_found_anywhere(small: Path) -> None:
    content = small.read_bytes()
    for position in range(len(content)):
        flip(small, position, bit=position % 8)
        with pytest.raises(DamagedCheckpoint, match=r"small\.ckpt"):
            checkpoint.load(small)
        small.write_bytes(content)
    checkpoint.load(small)


def test_a_cut_file_is_found_anywhere(small: Path) -> None:
    content = small.read_bytes()
    for length in range(len(content)):
        small.write_bytes(content[:length])
        with pytest.raises(DamagedCheckpoint, match=r"small\.ckpt"):
            checkpoint.load(small)
    small.write_bytes(content + b"\0")
    with pytest.raises(DamagedCheckpoint):
        checkpoint.load(small)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("with_checksum", [False, True])
def test_code_is_never_run(with_checksum: bool, tmp_path: Path) -> None:
    target = tmp_path / "was run"
    payload = pickle.dumps(Trap(target))
    if with_checksum:
        payload = hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload
    (tmp_path / "a.ckpt").write_bytes(payload)
    with pytest.raises(DamagedCheckpoint, match=r"a\.ckpt"):
        checkpoint.load(tmp_path / "a.ckpt")
    torch.save({"a": Trap(target)}, tmp_path / "b.ckpt")
    with pytest.raises(DamagedCheckpoint, match=r"b\.ckpt"):
        checkpoint.load(tmp_path / "b.ckpt")
    assert not target.exists()


def test_other_safetensors_with_a_fitting_checksum_are_no_checkpoint(tmp_path: Path) -> None:
    payload = serialise({"weight": torch.zeros(2)})
    (tmp_path / "a.ckpt").write_bytes(hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    with pytest.raises(DamagedCheckpoint, match=r"a\.ckpt"):
        checkpoint.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", 1j, {(1, 2): 3}, {None: 1, (): 2}])
def test_other_values_are_refused_when_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="plain values"):
        checkpoint.save(tmp_path / "a.ckpt", {"a": [value]})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.ckpt")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(
    failing: str, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = small.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match=r"cannot write .*small\.ckpt: No space left on device"):
        checkpoint.save(small, {"epoch": 4})
    assert small.read_bytes() == content
    assert list(small.parent.iterdir()) == [small]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/epochs/a\.ckpt"):
        checkpoint.save(tmp_path / "file" / "epochs" / "a.ckpt", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot write .*a\.ckpt"):
        checkpoint.save(tmp_path / "a.ckpt", {})


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    checkpoint.save(file, {"n": torch.full((1000,), 0)})
    stop = threading.Event()

    def write() -> None:
        for n in range(60):
            checkpoint.save(file, {"n": torch.full((1000,), n)})
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        values = checkpoint.load(file)["n"]
        assert bool((values == values[0]).all())
    writer.join()
