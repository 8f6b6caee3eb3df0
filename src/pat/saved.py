"""Saved pruned models: weights and structure in one safetensors file, which holds no code to run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from pat.files.atomic import write_whole
from pat.files.plain import read_json
from pat.files.sealed import digest
from pat.loops.wrapping import bare
from pat.surgery import resize, tensors

_FORMAT = "pat-pruned-model-1"


def save_pruned(
    model: nn.Module, path: str | os.PathLike[str], notes: Mapping[str, str] | None = None
) -> None:
    """Write a (pruned) model's parameters and buffers; their shapes are its structure.

    Args:
        model: any module; of one in ``DistributedDataParallel``, ``DataParallel`` or compiled the bare model
            is saved.
        path: file to write; replaced only once the new one is whole.
        notes: texts to keep with it (architecture, dataset, ...), readable with :func:`read_notes`.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    from safetensors.torch import save

    model = bare(model)
    content = {name: tensor.detach().contiguous().clone() for name, tensor in tensors(model).items()}
    unlisted = sorted(content.keys() - model.state_dict(keep_vars=True).keys())
    texts = json.dumps(dict(notes or {}))
    metadata = {
        "format": _FORMAT,
        "unlisted": json.dumps(unlisted),
        "notes": texts,
        "notes_sha256": digest(texts.encode()),
        "sha256": _digest(content),
    }
    write_whole(Path(path), save(content, metadata=metadata))


def load_pruned(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Shrink a freshly built dense model to a saved structure and load its weights.

    Takes what the model's own ``load_state_dict`` would take: names have to agree, but for buffers that are
    no part of a ``state_dict`` (``persistent=False``), which may be missing on either side; values are cast
    to the model's type and device.

    Args:
        model: the dense model, as before pruning, or one of the saved structure; changed in place. In
            ``DistributedDataParallel``, ``DataParallel`` or compiled, the bare model is loaded.
        path: file of :func:`save_pruned`.

    Returns:
        The same model.

    Raises:
        ValueError: if the file is not a saved model, is damaged or does not fit ``model``. The model is
            unchanged then.
        FileNotFoundError: if there is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    metadata = _read_metadata(path)
    try:
        content = load(Path(path).read_bytes())
    except (SafetensorError, KeyError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}") from error
    if _digest(content) != metadata.get("sha256"):
        raise ValueError(f"{os.fspath(path)} is damaged: its weights do not have the checksum in it")
    plain = bare(model)
    held, listed = tensors(plain), plain.state_dict(keep_vars=True).keys()
    for name in _unlisted(metadata, path) - held.keys():
        content.pop(name, None)
    content = {**{name: tensor for name, tensor in held.items() if name not in listed}, **content}
    try:
        resize(plain, {name: tensor.shape for name, tensor in content.items()})
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} does not fit the model: {error}") from error
    with torch.no_grad():
        for name, tensor in tensors(plain).items():
            tensor.copy_(content[name])
    return model


def _unlisted(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> set[str]:
    """The buffers of the saved model that its ``state_dict`` did not have; older files do not say."""
    try:
        return {str(name) for name in read_json(metadata.get("unlisted", "[]"))}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}") from None


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """The notes that were saved with a model.

    Raises:
        ValueError: if the file is not a saved pruned model.
        FileNotFoundError: if there is no such file.
    """
    try:
        notes = read_json(_read_metadata(path).get("notes", ""))
        if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
            raise ValueError("expected texts by name")
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: its notes are damaged: {error}") from None
    return notes


def _read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no saved model at {os.fspath(path)}")
    try:
        with safe_open(os.fspath(path), "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{os.fspath(path)} is not a safetensors file, or damaged: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)} was not written by save_pruned")
    notes = metadata.get("notes", "")
    known = digest(notes.encode())
    if metadata.get("notes_sha256", known) != known:  # older files have none
        raise ValueError(f"{os.fspath(path)} is damaged: its notes do not have the checksum in it")
    return metadata


def _digest(content: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and values: the format itself has no checksum."""
    from safetensors.torch import save

    return digest(save(dict(content)))
