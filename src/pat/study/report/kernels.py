"""Kernels of notebooks: forks of the server from which a sweep's workers come.

A notebook spends most of its time on imports otherwise. Kernels are of the running interpreter's environment;
usually they are looked up by name, and one of that name in the user's home would win.
"""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, cast
from weakref import WeakSet

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from pat.study.report.parameters import KERNELSPEC
from pat.study.runs.workers import context, follow_parent

PRELOADED = ("ipykernel.kernelapp", "pat.study.experiments", "pat.study.style")
"""What notebooks import, beside what a run does."""


@cache
def server() -> BaseContext:
    """From which kernels come: it is started once, before threads see the environment that is its."""
    return context(*PRELOADED)


def kill() -> None:
    """End every kernel at once; what executes their notebooks then fails."""
    with _Kernel.lock:
        living = tuple(_Kernel.living)
    for kernel in living:
        kernel.kill()


class ForkedKernelManager(AsyncKernelManager):
    """Starts a notebook's kernel."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.provisioner = _Forks(kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self)

    @property
    def kernel_spec(self) -> KernelSpec:
        """Its command is only the arguments: there is no interpreter to start."""
        return KernelSpec(
            argv=[
                *("-f", "{connection_file}", "--IPKernelApp.log_level=ERROR"),
                "--IPKernelApp.matplotlib=inline",
                "--InlineBackend.figure_formats=svg",  # sharp at any size, with words that can be searched
            ],
            language="python",
            display_name=KERNELSPEC["display_name"],
            # Figures as data: the script that draws them is on the book's pages once.
            env={"PLOTLY_RENDERER": "plotly_mimetype"},
        )


class _Forks(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        self.cwd = Path(options.get("cwd") or os.getcwd())
        kernel = _Kernel(cmd, self.cwd, options.get("env") or dict(os.environ))
        self.process, self.pid = cast("subprocess.Popen[bytes]", kernel), kernel.pid
        return self.connection_info


class _Kernel:
    """A kernel's process, with what :mod:`jupyter_client` asks of a ``subprocess.Popen``."""

    stdin = stdout = stderr = None
    living: ClassVar[WeakSet["_Kernel"]] = WeakSet()
    lock: ClassVar[Lock] = Lock()

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._process: BaseProcess = server().Process(  # type: ignore[attr-defined]
            target=_serve, args=(list(arguments), folder, dict(environment))
        )
        self._process.start()
        self.pid = self._process.pid
        with self.lock:
            self.living.add(self)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.pid is not None and self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()


def _serve(arguments: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Be a kernel until it is shut down, or its parent is gone."""
    if os.name == "posix":
        os.setsid()  # an interrupt at the terminal is the parent's
    # One that waits for its own workers' server is asked to end like this, and ends as all do.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    follow_parent()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.filterwarnings("ignore", "IProgress not found")  # tqdm misses widgets that nobody wants
    from ipykernel.kernelapp import IPKernelApp

    # Without a parent's number it would tell the terminal how to talk to it.
    IPKernelApp.launch_instance(argv=[*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])
