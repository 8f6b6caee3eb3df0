"""Where runs are trained: in this process, or in workers that do not outlive it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from pat import registry


def begin(plugins: Sequence[str]) -> None:
    """Let a worker know the plugins of the process that started it, and end with it."""
    registry.load(plugins)
    follow_parent()


def follow_parent() -> None:
    """End a worker when the process that started it is gone, so that none is left behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Here(Executor):
    """One job at a time needs no process beside this one, whose start costs seconds."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def executor(jobs: int) -> Executor:
    """For so many runs at a time. Fresh interpreters: a forked torch may hang, and would inherit the parent's
    threads."""
    if jobs == 1:
        return _Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=begin, initargs=(registry.plugins(),))
