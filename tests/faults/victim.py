"""Processes that are killed: children of a fork server that has torch imported, each a group of its own.

A victim dies by SIGKILL when it comes to a chosen moment for the n-th time, or after some seconds.
"""

import json
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from processes import forked, members, wait_for

_FILES = {
    "checkpoint": r"[0-9]{4}\.ckpt",
    "scores": r"scores\.ckpt",
    "weights": r"model\.safetensors",
    "record": r"(record|[0-9a-f]{64})\.json",
    "table": r"runs\.csv",
    "measurement": r"[a-z0-9-]+\.json",
    "cache": r".+\.npz",
    "checked": r".+\.checked",
    "manifest": r".+\.yaml",
    "file list": r".+\.files\.gz",
}


class Moment(NamedTuple):
    """The ``call``-th time that a victim comes to a place."""

    place: str
    call: int


class Watch:
    """Counts how often a process comes to each place, and ends it at a chosen moment.

    Places are ``step dense``, ``step prune``, ``step sparse``, ``surgery``, ``mask``, ``decode``, ``table``
    (as it is computed); for each kind of file that is written whole ``<kind> begun`` (nothing is written),
    ``<kind> half`` (half of the bytes are), ``<kind> whole`` (not yet renamed) and ``<kind> there``; and
    ``<kind> gone`` for a file that was removed.
    """

    def __init__(self, moment: Moment | None = None) -> None:
        self.moment, self.counts, self._lock = moment, Counter[str](), Lock()

    def at(self, place: str) -> bool:
        """Whether this is the moment."""
        with self._lock:
            self.counts[place] += 1
            return self.moment == (place, self.counts[place])

    def pass_by(self, place: str) -> None:
        if self.at(place):
            die()

    def install(self) -> None:
        """Watch this process from now on."""
        self._calls()
        self._files()

    def _calls(self) -> None:
        from pat import surgery
        from pat.pruner import PruningAwareTraining
        from pat.training.data.layouts import imagefolder

        step = PruningAwareTraining.after_step

        def after_step(pruner: PruningAwareTraining) -> None:
            step(pruner)
            self.pass_by(f"step {pruner.status}")

        PruningAwareTraining.after_step = after_step  # type: ignore[method-assign]
        for owner, name, place in (
            (surgery, "_cut", "surgery"),  # tensor after tensor: some are cut, some are not
            (PruningAwareTraining, "adopt", "mask"),
            (imagefolder, "decode", "decode"),
        ):
            setattr(owner, name, self._then(getattr(owner, name), place))

    def _then(self, function: Callable[..., Any], place: str) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self.pass_by(place)
            return result

        return called

    def _files(self) -> None:
        fsync, replace, unlink = os.fsync, os.replace, os.unlink

        def watched_fsync(file: int) -> None:
            kind, size = _kind(os.readlink(f"/proc/self/fd/{file}")), os.fstat(file).st_size
            for place, left in (("begun", 0), ("half", size // 2)):
                if self.at(f"{kind} {place}"):
                    os.ftruncate(file, left)
                    die()
            fsync(file)

        def watched_replace(source: Any, target: Any) -> None:
            self.pass_by(f"{_kind(target)} whole")
            replace(source, target)
            self.pass_by(f"{_kind(target)} there")

        def watched_unlink(path: Any, **how: Any) -> None:
            unlink(path, **how)
            self.pass_by(f"{_kind(path)} gone")

        os.fsync, os.replace, os.unlink = watched_fsync, watched_replace, watched_unlink  # type: ignore[assignment]


def _kind(path: str | os.PathLike[str]) -> str:
    """What a file, or its unfinished form, is."""
    name = re.sub(r"^\.(.+)\.[0-9]+\.part$", r"\1", Path(path).name)
    return next((kind for kind, pattern in _FILES.items() if re.fullmatch(pattern, name)), "other")


def die() -> None:
    """As ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


# What victims do


def train(specs: Sequence[Any], store: Path, home: Path, keep: Sequence[int] = (), workers: int = 0) -> None:
    """A sweep, or one run with checkpoints to keep, in a working folder."""
    from pat.study.runs.run import run
    from pat.study.runs.sweep import How, sweep
    from pat.study.store import Store

    os.chdir(home)  # a data set of one's own has its manifest there
    if keep:
        run(specs[0], Store(store), data=home / "images", keep=keep)
    else:
        sweep(specs, Store(store), How(data=home / "images", workers=workers))


def publish(store: Path, target: Path) -> None:
    """All that a working store has."""
    from pat.study.store import Store
    from pat.study.store.publishing import publish as copy
    from pat.study.store.publishing import publish_measurements

    copy(Store(store).records(), target)
    publish_measurements(store, target)


def add(folder: Path, manifests: Path) -> None:
    """A manifest for a folder of images."""
    from pat.training.data import add_folder

    add_folder(folder, "pictures", manifests)


def nothing() -> None:
    """No work at all."""


# How they are started


def start(
    what: Callable[..., None],
    *args: Any,
    moment: Moment | None = None,
    after: float | None = None,
    census: Path | None = None,
    **kwargs: Any,
) -> int | None:
    """Let a process do something, killed at a moment or after some seconds; its exit status, negative for a
    signal. A census is a file for how often it came to each place."""
    process = child(what, *args, moment=moment, census=census, **kwargs)
    process.join(after)
    process.kill()
    process.join()
    group = process.pid
    assert group is not None
    wait_for(lambda: members(group) == [], 20)  # processes that decode images look for their parent at times
    return process.exitcode


def child(what: Callable[..., None], *args: Any, **options: Any) -> BaseProcess:
    """The process, started."""
    return forked(_live, what, args, **options)


def _live(
    what: Callable[..., None],
    args: tuple[Any, ...],
    moment: Moment | None = None,
    census: Path | None = None,
    **kwargs: Any,
) -> None:
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # as for whoever is not a fork server's child
    watch = Watch(moment)
    watch.install()
    what(*args, **kwargs)
    if census is not None:
        census.write_text(json.dumps(watch.counts))
