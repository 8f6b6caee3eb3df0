"""Records: what a run gave, as one JSON file with its own checksum."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pat import __version__
from pat.files import paths
from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.plain import read_regular
from pat.files.plain_yaml import load_yaml
from pat.files.sealed import checksum, seal, tree_checksum, unsealed
from pat.registry import UnknownName
from pat.study.plan.spec import Frozen, Spec
from pat.training.epoch import Epoch

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy")


class DamagedRecord(ValueError):
    """A record's content is not what was written; the message names the file."""


class ForeignRecord(ValueError):
    """A record is of a criterion, policy or method that is not known here; the message names both."""


class MissingRun(ValueError):
    """A run whose result decides what further runs are is not there, or gave no such result."""


class Result(Frozen):
    """The last epoch's model. Accuracies in percent."""

    test_accuracy: float
    test_loss: float | None
    validation_accuracy: float
    prune_epoch: int | None
    """When Algorithm 1 ran; None: the run stayed dense."""


class CostRecord(Frozen):
    """What the model and its training cost."""

    dense_macs: int = Field(ge=1)
    """Multiply-accumulates of one image, before pruning."""
    macs: int = Field(ge=0)
    """The same at the end."""
    dense_parameters: int = Field(ge=1)
    parameters: int = Field(ge=0)
    training_share: float
    """Training multiply-accumulates as a share of the dense run's."""


class Provenance(Frozen):
    """Where a record comes from."""

    commit: str | None
    """Commit of the source tree, with ``+`` if it had changes; None for an installed package."""
    command: str
    """How the run was started."""
    date: str
    """When it ended, UTC."""
    seconds: float
    """Wall-clock time that this record's epochs took, over all starts."""
    python: str
    packages: dict[str, str]
    """Versions."""
    hardware: str
    """Processor or accelerator."""
    os: str
    claims: str | None = None
    """Checksum of the claims file at the time, so that a reader can see which came first."""
    varying: tuple[str, ...] = ()
    """Operations of the run for which the device has no deterministic algorithm: another run of the same spec
    may differ from this one by their rounding."""
    protocol: str | None = None
    """Checksum of all that decides claims at the time: see :func:`protocol_checksum`."""


class Record(Frozen):
    """One run."""

    format: Literal[1] = 1
    id: str
    spec: Spec
    status: Literal["done", "collapsed", "failed"]
    reason: str | None = None
    """Why it failed or collapsed."""
    trunk: str | None = None
    """Id of the dense run whose epochs before the pruning epoch are not repeated here."""
    layers: tuple[str, ...] = ()
    """The layers (or groups) that the counts in ``tracked`` follow."""
    history: tuple[Epoch, ...]
    result: Result | None
    cost: CostRecord | None
    provenance: Provenance = Field(repr=False)

    def same_result(self, other: "Record") -> bool:
        """Whether two runs of one spec came to the same end, in one piece or as a branch."""
        return (self.status, self.result, self.cost) == (other.status, other.result, other.cost)

    def same_outcome(self, other: "Record") -> bool:
        """Whether two records agree in everything but times, dates and provenance."""
        return self._outcome() == other._outcome()

    def _outcome(self) -> dict[str, Any]:
        content = self.model_dump(mode="json", exclude={"provenance"})
        for epoch in content["history"]:
            del epoch["seconds"]
        return content


def write_record(path: Path, record: Record) -> None:
    """Write a record whole, with a checksum of its content in it."""
    write_whole(path, record_text(record))


def record_text(record: Record) -> bytes:
    """A record as one line of JSON, with a checksum of its content in it."""
    content = record.model_dump(mode="json", exclude_defaults=True)
    content["spec"] = record.spec.model_dump(mode="json")
    content = {"format": record.format, **content}
    return (json.dumps(seal(content), separators=(",", ":"), allow_nan=False) + "\n").encode()


def read_record(path: Path) -> Record:
    """Read a record and check it.

    Raises:
        DamagedRecord: if it is no regular file or not valid JSON, its checksum does not fit, a field is
            wrong, or its id is not its spec's.
        ForeignRecord: if it is whole, but of a criterion, policy or method that no loaded file registers.
        FileNotFoundError: if there is no such file.
    """
    with naming(f"record {path} is damaged", DamagedRecord):
        text = read_regular(path)
    return parse_record(text, f"record {path}")


def parse_record(text: bytes, name: str) -> Record:
    """A record from its JSON.

    Args:
        text: of :func:`record_text`.
        name: of the record and its place, for messages.

    Raises:
        DamagedRecord, ForeignRecord: as :func:`read_record`.
    """
    with naming(f"{name} is damaged", DamagedRecord):
        content = unsealed(text)
        try:
            record = Record.model_validate(content)
        except ValidationError as error:
            if (unknown := _unknown_name(error)) is None:
                raise
        else:
            if record.id != record.spec.id:
                raise ValueError(f"its id is not its spec's, {record.spec.id}")
            return record
    raise ForeignRecord(f"{name} needs a plugin that is not loaded: {unknown}")


def _unknown_name(error: ValidationError) -> UnknownName | None:
    causes = (problem.get("ctx", {}).get("error") for problem in error.errors(include_url=False))
    return next((cause for cause in causes if isinstance(cause, UnknownName)), None)


def provenance(
    *, seconds: float, device: str, command: str, varying: Iterable[str] = (), ranks: int = 1
) -> Provenance:
    """The present environment; of a run that several ranks trained, with their number."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return Provenance(
        commit=_commit(),
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        python=platform.python_version(),
        packages={"pat": __version__, **versions},
        hardware=hardware(device) + (f", {ranks} ranks" if ranks > 1 else ""),
        os=f"{platform.system()} {platform.machine()}",
        claims=claims_checksum(),
        varying=tuple(sorted(varying)),
        protocol=protocol_checksum(),
    )


def command() -> str:
    """How this process was started, without folders of this machine."""
    program, *arguments = sys.argv or ["python"]
    return " ".join([Path(program).name, *(Path(a).name if a.startswith("/") else a for a in arguments)])


def hardware(device: str) -> str:
    """Name of this machine's accelerator (``"cuda"``) or processor."""
    if device != "cuda":
        return _processor()
    import torch

    return torch.cuda.get_device_name()


@cache
def claims_checksum(book: Path = paths.BOOK, name: str = "claims") -> str | None:
    """SHA-256 of what the claims file says (comments and layout do not count), or None without one.

    A file that says nothing, because it cannot be read, must not cost a finished run its record.
    """
    file = book / f"{name}.yaml"
    if not file.is_file():
        return None
    try:
        return checksum(load_yaml(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # TypeError: a date or the like, which no claims file has
        return None


PROTOCOL = (
    "book/claims.yaml",
    "book/paper_values.yaml",
    "data_manifests/*.yaml",
    "src/pat/stability.py",
    "src/pat/cost.py",
    "src/pat/study/plan/*.py",
    "src/pat/study/plan/profiles/*.yaml",
    "src/pat/study/analysis/*.py",
    "src/pat/study/claims/*.py",
    "src/pat/study/experiments/**/statistics.py",
    "src/pat/study/experiments/**/runs.py",
    "src/pat/study/experiments/**/tables.py",
    "src/pat/study/experiments/*.py",
)
"""What is fixed before a run that decides: claims, profiles, data, and the code from records to verdicts.

The figures of a chapter decide nothing and may still change.
"""


@cache
def protocol_checksum() -> str | None:
    """SHA-256 over names and content of the files of :data:`PROTOCOL`; None for an installed package."""
    root = paths.repo_root()
    if root is None:
        return None
    return tree_checksum((file for pattern in PROTOCOL for file in root.glob(pattern)), root)


@cache
def _commit() -> str | None:
    root = paths.repo_root()
    if root is None:
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--", "src", "pyproject.toml") else "")
    except (OSError, subprocess.CalledProcessError):  # a copy of the tree may name it in a file
        note = root / "COMMIT"
        return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
