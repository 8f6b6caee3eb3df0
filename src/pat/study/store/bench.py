"""The record of the fault bench (``tests/faults``): what was done to the study, and how often it survived."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pat.files import paths
from pat.files.atomic import write_whole
from pat.files.errors import naming
from pat.files.sealed import seal, tree_checksum, unseal
from pat.study.plan.spec import Frozen
from pat.study.store import measured
from pat.study.store.record import Provenance

Group = Literal["crashes", "storage", "concurrency", "numbers", "hostile", "fuzzing", "reproducibility"]
"""The bench's parts, each a file of tests or two."""


class Row(Frozen):
    """One kind of fault."""

    group: Group
    """The part it belongs to."""
    fault: str = Field(min_length=1)
    """What was done, for people."""
    tried: int = Field(ge=1)
    """How often."""
    survived: int = Field(ge=0)
    """How often the study did what it promises."""

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.survived > self.tried:
            raise ValueError(f"survived: {self.survived} of {self.tried} tried")
        return self


class Bench(Frozen):
    """One run of the bench."""

    format: Literal[1] = 1
    mode: Literal["short", "long"]
    """``short`` is the selection that runs with all tests."""
    rows: tuple[Row, ...]
    """By part, then by name."""
    skipped: tuple[str, ...] = ()
    """Tests that this machine could not run, with the reason."""
    source: dict[str, str] = {}
    """What was tried: :func:`source` of then; empty in older records."""
    provenance: Provenance
    """Environment, commit, date and seconds."""

    def total(self, *groups: Group) -> tuple[int, int]:
        """Tried and survived, of some parts or of all."""
        rows = [row for row in self.rows if not groups or row.group in groups]
        return sum(row.tried for row in rows), sum(row.survived for row in rows)


def source(package: Path = paths.PACKAGE) -> dict[str, str]:
    """Each folder of the package with a checksum of the code and profiles directly in it."""
    files = sorted(file for pattern in ("*.py", "*.yaml") for file in package.rglob(pattern))
    folders = groupby(sorted(files, key=lambda file: file.parent), lambda file: file.parent)
    return {
        folder.relative_to(package.parent).as_posix(): tree_checksum(inside, package)[:16]
        for folder, inside in folders
    }


def bench_file(root: Path) -> Path:
    """Where the bench's record lies in a store of published results."""
    return root / measured.FOLDER / "faults" / "bench.json"


def write_bench(file: Path, bench: Bench) -> None:
    """Write the record whole, with a checksum in it."""
    content = seal(bench.model_dump(mode="json"))
    write_whole(file, (json.dumps(content, indent=1) + "\n").encode())


def read_bench(file: Path) -> Bench:
    """Read the record and check it.

    Raises:
        ValueError: naming the file, if it was changed or is no such record.
        FileNotFoundError: if there is none.
    """
    with naming(f"bench record {file} is damaged"):
        return Bench.model_validate(unseal(file))


PARTS: dict[Group, str] = {
    "crashes": "Crashes",
    "storage": "Storage",
    "concurrency": "Concurrency",
    "numbers": "Numbers",
    "hostile": "Hostile input",
    "fuzzing": "Fuzzed input",
    "reproducibility": "Reproducibility",
}
"""Names for people."""


def facts(bench: Bench | None) -> dict[str, Any]:
    """What the book quotes: ``summary`` and ``origin`` are texts, ``rows`` and ``faults`` tables."""
    if bench is None:
        text = "The bench has not been run for these records: `make test-faults` does it."
        return {"summary": text, "origin": "", "rows": "", "faults": text}
    fuzzed, right = bench.total("fuzzing")
    tried, survived = (a - b for a, b in zip(bench.total(), (fuzzed, right), strict=True))
    made = bench.provenance
    minutes = f"{made.seconds / 60:.0f} minutes"
    skipped = "".join(f" Not run on this machine: {text}." for text in bench.skipped)
    return {
        "summary": (
            f"In its last {bench.mode} run the bench tried **{tried:,} faults**, of which the study survived "
            f"**{survived:,}**, and gave its readers **{fuzzed:,} malformed or altered inputs**, to which "
            f"**{right:,}** times a clear error or a right answer was the reply."
        ),
        "origin": (
            f"`{made.command}`, {minutes} on {made.hardware}, {made.date[:10]}, commit "
            f"{(made.commit or 'unknown')[:12]}, torch {made.packages.get('torch', 'unknown')}.{skipped}"
            f"\n\n{_changes(bench)}"
        ),
        "rows": [
            {"Part": name, "Tried": f"{n:,}", "Survived": f"{good:,}"}
            for group, name in PARTS.items()
            for n, good in [bench.total(group)]
            if n
        ],
        "faults": [
            {
                "Part": PARTS[row.group],
                "What was done": row.fault,
                "Tried": f"{row.tried:,}",
                "Survived": f"{row.survived:,}",
            }
            for row in bench.rows
        ],
    }


def _changes(bench: Bench) -> str:
    """Whether what was tried is what is here, in one sentence."""
    if not bench.source:
        return "The record does not say which source was tried; what changed since its commit is untried."
    then, now = bench.source, source()
    changed = [folder for folder in sorted({*then, *now}) if then.get(folder) != now.get(folder)]
    if not changed:
        return "The source is the one that was tried."
    return f"Since then the source has changed in {', '.join(f'`{folder}`' for folder in changed)}."
