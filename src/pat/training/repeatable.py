"""The same numbers again: deterministic algorithms on an accelerator, and which operations have none."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_NAMES = re.compile(r"^(\S+) does not have a deterministic implementation")


@contextmanager
def repeatable(device: str) -> Iterator[set[str]]:
    """Let a device compute the same numbers each time, as far as it can.

    On a CPU it does so anyway (with the same number of threads), and nothing is changed. On an accelerator
    torch's and cuDNN's deterministic algorithms are taken, convolutions are not tried out against each other,
    and fp32 is fp32, not TF32. An operation without a deterministic algorithm runs as it is.

    Args:
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        The operations met so far that have none, by torch's name; it grows inside the context.
    """
    if device == "cpu":
        yield set()
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    fills: Any = torch.utils.deterministic
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = fills.fill_uninitialized_memory
    found: set[str] = set()
    show = warnings.showwarning

    def note(message: Warning | str, *where: object, **more: object) -> None:
        if named := _NAMES.match(str(message)):
            found.add(named[1])
        else:
            show(message, *where, **more)  # type: ignore[arg-type]

    with warnings.catch_warnings():
        warnings.filterwarnings("default", message=_NAMES.pattern)
        warnings.showwarning = note
        try:
            cudnn.deterministic, cudnn.benchmark = True, False
            cudnn.allow_tf32 = matmul.allow_tf32 = False
            torch.use_deterministic_algorithms(True, warn_only=True)
            fills.fill_uninitialized_memory = False  # every element is written
            yield found
        finally:
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
            fills.fill_uninitialized_memory = filled
