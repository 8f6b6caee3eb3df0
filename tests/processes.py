"""Processes of a test: forks in place of fresh interpreters, who of a group lives, waiting for something."""

import os
import runpy
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pat.study.runs.workers import context


def forked(what: Callable[..., None], *args: Any, **options: Any) -> BaseProcess:
    """A process that does something, started: a fork of the server from which a sweep's workers come."""
    process = context().Process(target=what, args=args, kwargs=options)  # type: ignore[attr-defined]
    process.start()
    return process  # type: ignore[no-any-return]


def run_file(file: Path, folder: Path, **environment: str) -> str:
    """What a Python file prints, run in a folder, in a process of its own.

    It may not fail; a warning of the kind that is for users is a failure.
    """
    said = folder.with_name(f"{folder.name}.said")
    process = forked(_run_file, file, folder, said, environment)
    process.join(240)
    process.kill()
    process.join()
    assert process.exitcode == 0, said.read_text()
    return said.read_text()


def _run_file(file: Path, folder: Path, said: Path, environment: Mapping[str, str]) -> None:
    with said.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.chdir(folder)
    os.environ |= environment
    sys.argv = [str(file)]
    warnings.simplefilter("error", UserWarning)
    runpy.run_path(str(file), run_name="__main__")


def members(group: int) -> list[int]:
    """Living processes of a group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(folder.name))
    return found


def servers_forks(group: int) -> list[int]:
    """The processes of a group that train: forks of the server, whose command line is the server's."""
    alike = {pid for pid in members(group) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()}
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in alike}
    return sorted(pid for pid, parent in parents.items() if parent in alike)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.005)
