"""Work in processes of its own: what they use and take is not this one's."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

# Started from a process that has loaded these and done nothing: no seconds of imports, and no threads.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["torch", "torchvision", "pat.study.runs.sweep", "benchmarks.networks"])


def in_processes(work: Callable[..., Any], each: list[tuple[Any, ...]]) -> list[Any]:
    """Results of the work with each of these arguments, all at the same time, one process each."""
    with ProcessPoolExecutor(len(each), mp_context=_CONTEXT, initializer=_one_thread) as pool:
        return [done.result() for done in [pool.submit(work, *arguments) for arguments in each]]


def _one_thread() -> None:
    torch.set_num_threads(1)


def peak() -> float:
    """The most memory that this process has had at a time, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
