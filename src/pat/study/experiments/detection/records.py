"""Records of trained detectors: one sealed JSON a run, in a store's ``measured/detection``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.sealed import seal, unseal
from pat.study.experiments.detection.planned import Run, Scale
from pat.study.plan.options import Frozen
from pat.study.store import measured
from pat.study.store.record import Provenance
from pat.training.detection.outcome import Outcome, Precision


class DetectionRecord(Frozen):
    """One run."""

    format: Literal[1] = 1
    id: str
    """The run's."""
    run: Run
    outcome: Outcome
    test: Precision
    """On the test scenes, at the end; decides nothing."""
    libraries: dict[str, str]
    """Versions of what measures the precision."""
    provenance: Provenance

    @property
    def triggered(self) -> bool:
        """Whether EPI pruned by itself, before its fall-back epoch."""
        return self.run.kind == "epi" and self.outcome.prune_epoch != self.run.epoch


def folder(root: Path) -> Path:
    """Where the records of a store lie."""
    return root / measured.FOLDER / "detection"


def write(record: DetectionRecord, place: Path) -> Path:
    """Write a record whole, with a checksum of its content; the file."""
    file = place / record.run.file
    content = seal(record.model_dump(mode="json"))
    write_whole(file, (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode())
    return file


def read(file: Path) -> DetectionRecord:
    """A record from its file.

    Raises:
        ValueError: if it was changed, is no such record, or its id is not its run's; the message names it.
        FileNotFoundError: if there is no such file.
    """
    with naming(f"record {file} is damaged"):
        record = DetectionRecord.model_validate(unseal(file))
        if record.id != record.run.id:
            raise ValueError(f"its id is not its run's, {record.run.id}")
    return record


def read_all(root: Path, scale: Scale) -> list[DetectionRecord]:
    """The records of a store that are of a scale, by seed.

    Raises:
        ValueError: as :func:`read`.
    """
    found = (read(file) for file in measured.files(folder(root)))
    return sorted((r for r in found if r.run.scale == scale), key=lambda r: (r.run.seed, r.run.title))


def missing(runs: Iterable[Run], place: Path) -> list[Run]:
    """Those runs that a folder has no record of.

    Raises:
        ValueError: for a damaged record, as :func:`read`.
    """
    return [run for run in runs if not (place / run.file).exists() or read(place / run.file).run != run]
