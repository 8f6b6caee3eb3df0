"""Where runs are trained: in this process, or in workers that do not outlive it."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

from pat import registry

PRELOADED = ("pat.study.runs.run", "safetensors.torch", "scipy.stats")
"""What a run imports in the end."""


def begin(plugins: Sequence[str], environment: Mapping[str, str]) -> None:
    """Let a worker know the plugins and the environment of the process that started it, and end with it."""
    os.environ.clear()  # the server has that of its own start
    os.environ.update(environment)
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
            if was_interrupted(error):
                raise
            future.set_exception(error)
        return future


def was_interrupted(error: BaseException) -> bool:
    """Whether an error is a user's interrupt in disguise: pydantic makes a ``ValueError`` of whatever a
    serializer raises, an interrupt that arrives meanwhile included, and keeps only its name if that happens
    in one serializer within another."""
    disguised = isinstance(error, ValueError) and KeyboardInterrupt.__name__ in str(error)
    return disguised or isinstance(error, KeyboardInterrupt)


def executor(jobs: int) -> Executor:
    """For so many runs at a time."""
    if jobs == 1:
        return _Here()
    initial = (registry.plugins(), dict(os.environ))
    return ProcessPoolExecutor(jobs, mp_context=context(), initializer=begin, initargs=initial)


def context(*preloaded: str) -> BaseContext:
    """How workers are started.

    They are forks of a server that has imported what a run needs, and what else is to be ``preloaded`` if the
    server is started now, and has done nothing else: importing takes longer than a small run, and is done
    once for all sweeps of this process. A fork of this process itself would inherit its threads, and may
    hang. Elsewhere than on Linux, or where the server's socket cannot be made (a folder for temporary files
    with a long name), workers are fresh interpreters.
    """
    if sys.platform == "linux":
        from multiprocessing import forkserver

        started = multiprocessing.get_context("forkserver")
        started.set_forkserver_preload([*PRELOADED, *preloaded])
        before = dict(os.environ)
        # What the server imports is what this process would.
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        os.environ.update(PYTHONPATH=path, PYTHONSAFEPATH="1")
        try:
            forkserver.ensure_running()
            return started
        except OSError:
            pass
        finally:
            os.environ.clear()
            os.environ.update(before)
    return multiprocessing.get_context("spawn")
