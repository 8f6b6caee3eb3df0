"""Checkpoints: nested tensors and plain values in one file with a checksum, holding data and never code."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DIGEST = 64  # hex digits of the SHA-256 that starts the file, followed by a newline
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
    write_whole(path, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def load(path: Path) -> Any:
    """Read what :func:`save` wrote; tensors are on the CPU.

    Raises:
        DamagedCheckpoint: if the checksum does not fit or the file is cut short.
        FileNotFoundError: if there is no such file.
    """
    from safetensors.torch import load as deserialise

    content = path.read_bytes()
    digest, payload = content[:_DIGEST], content[_DIGEST + 1 :]
    if hashlib.sha256(payload).hexdigest().encode() != digest:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: its checksum does not fit its content")
    tensors = deserialise(payload)
    tree = json.loads(bytes(tensors.pop(_TREE).tolist()).decode())
    return _decode(tree, tensors)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):  # as pairs: an optimizer's keys are ints
        return {"dict": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_encode(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(value).__name__}")


def _decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _decode(item, tensors) for key, item in value["dict"]}
    return value
