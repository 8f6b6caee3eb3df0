"""Checkpoints: nested tensors and plain values in one file with a checksum, holding data and never code."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.plain import read_json, read_regular
from pat.files.sealed import digest

_HEAD = 65  # the SHA-256 in hex digits and a newline, before the content
_TREE = "tree"


class DamagedCheckpoint(ValueError):
    """A checkpoint's content is not what was written; the message names the file."""


def save(path: Path, state: Any) -> None:
    """Write a state of dicts, lists, tensors and plain values; it replaces the file once it is whole.

    Tensors are stored as safetensors, the rest as JSON (tuples come back as lists).

    Raises:
        TypeError: for a value of another kind.
    """
    from safetensors.torch import save as serialise

    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(state, tensors)).encode()
    tensors[_TREE] = torch.frombuffer(bytearray(tree), dtype=torch.uint8)
    payload = serialise(tensors)
    write_whole(path, _head(payload) + payload)


def load(path: Path) -> Any:
    """Read what :func:`save` wrote; tensors are on the CPU.

    Raises:
        DamagedCheckpoint: if the checksum does not fit, the file is cut short, no regular one or of another
            format.
        FileNotFoundError: if there is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    with naming(f"checkpoint {path} is damaged", DamagedCheckpoint):
        content = read_regular(path)
    payload = content[_HEAD:]
    if content[:_HEAD] != _head(payload):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: its checksum does not fit its content")
    try:
        tensors = deserialise(payload)
        tree = read_json(tensors.pop(_TREE).numpy().tobytes(), strict=False)
        return _decode(tree, tensors)
    # What the checksum says is whole may still be another's: any tensors, in any tree.
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} was not written by pat: {error}") from None


def _head(payload: bytes) -> bytes:
    return digest(payload).encode() + b"\n"


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):  # as pairs: an optimizer's keys are ints
        return {"dict": [[_plain(key), _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_encode(item, tensors) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(value).__name__}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in value["dict"]):
            raise ValueError("a dict is no list of pairs")
        return {_plain(key): _decode(item, tensors) for key, item in value["dict"]}
    return value
