"""Supply: what pat depends on, in which versions, under which licences, and what for.

Ranges and licences are read from the metadata of the installed distributions, tested versions from the
checkout's requirement files; only the purpose is written here. A licence is what a distribution says of
itself: libraries that a wheel bundles, such as the Fortran runtime in numpy's and scipy's, have licence
files of their own, which are not read.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distributions, metadata, requires
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pat.files import paths

DISTRIBUTION = "pruning-aware-training"

PARTS = ("method", "study", "book", "detection", "lightning", "log", "sweep", "dev")
"""Who needs a dependency. The method is for everybody, the others are extras."""

PURPOSES = {
    "accelerate": "an example in its loop, which a test runs",
    "filelock": "one writer at a time in a store of runs",
    "hatchling": "builds the wheel that a test installs alone",
    "hypothesis": "properties tested on generated examples",
    "ipykernel": "the kernel that executes the notebooks",
    "jupyter-book": "the book, from Markdown and executed notebooks",
    "jupyter-client": "starts that kernel with this environment's interpreter",
    "jupytext": "notebooks are kept as scripts",
    "lightning": "the callback for its trainer",
    "matplotlib": "figures",
    "mypy": "types, strict",
    "nbformat": "executed notebooks are read and checked",
    "numpy": "safetensors needs it for tensors; arrays of data and analysis",
    "onnx": "pruned models are exported to its format in tests",
    "onnxruntime": "runs what was exported",
    "onnxscript": "torch's exporter to ONNX needs it",
    "packaging": "requirements and versions, for this table and its tests",
    "pandas": "tables of runs",
    "pandas-stubs": "types of pandas",
    "papermill": "executes notebooks with parameters",
    "pillow": "reads images",
    "playwright": "looks at the built book in a browser",
    "plotly": "figures that answer to the pointer",
    "pycocotools": "torchmetrics measures precision with it",
    "pydantic": "specifications, profiles and records are checked when read",
    "pytest": "runs the tests",
    "pytest-xdist": "runs them on several cores",
    "pyyaml": "profiles, manifests and claims",
    "ray": "runs on the nodes of a cluster",
    "rich": "tables and progress on the command line",
    "ruff": "lint and format",
    "safetensors": "the file format of pruned models and checkpoints",
    "scikit-learn": "the embedded digits",
    "scipy": "tests and intervals; rank correlations",
    "seaborn": "statistical figures: bands over seeds, heat maps",
    "sphinx-mathjax-offline": "formulas in the book without a network",
    "segmentation-models-pytorch": "networks that the tracing is tested on",
    "tensorboard": "curves of a run, if asked for",
    "timm": "MobileNetV1, and networks that the tracing is tested on",
    "torch": "tensors, gradients and the trace of a network",
    "torch-pruning": "an independent grouping of channels that a test compares with",
    "torchmetrics": "mean average precision of detectors",
    "tqdm": "progress in a running notebook",
    "transformers": "an example in its trainer, which a test runs",
    "torchvision": "ResNets, and the data sets' transformations",
    "typer": "the command line",
    "types-pyyaml": "types of PyYAML",
}
"""What each direct dependency is used for; a test holds the names together with pyproject.toml."""

# The first that fits a part of a licence names its kind: Affero and Lesser before plain GPL.
_KINDS = {
    "AGPL": r"\bAGPL|Affero",
    "LGPL": r"\bLGPL|Lesser General|Library General",
    "GPL": r"\bGPL|GNU General Public",
    "MPL": r"\bMPL|Mozilla",
    "Apache": r"Apache",
    "BSD": r"BSD",
    "MIT": r"\bMIT\b",
    "ISC": r"\bISC",
    "PSF": r"\bPSF|Python Software Foundation",
    "Boost": r"\bBSL|Boost",
    "HPND": r"\bHPND|Historical Permission",
    "zlib": r"(?i:\bzlib)",
    "CC0": r"\bCC0",
    "Unlicense": r"Unlicense",
    "public domain": r"(?i:public domain)",
    "proprietary": r"(?i:proprietary)",
}

COPYLEFT = frozenset({"AGPL", "LGPL", "GPL"})
"""Kinds of licence that would bind whoever passes pat on together with a dependency."""

NOT_STATED = "not stated"


class Dependency(NamedTuple):
    """A direct dependency, as the installed pat declares it."""

    name: str
    """In lower case, with hyphens."""
    part: str
    """One of ``PARTS``."""
    range: str
    """Versions that pat accepts."""


def dependencies() -> list[Dependency]:
    """All direct dependencies, by part, then by name.

    Raises:
        PackageNotFoundError: if pat itself is not installed.
    """
    found: dict[str, Dependency] = {}
    lines = [Requirement(line) for line in requires(DISTRIBUTION) or ()]
    # An extra that contains another one repeats its lines: the first part that needs a dependency counts.
    for part in PARTS:
        for requirement in lines:
            name = canonicalize_name(requirement.name)
            if name != DISTRIBUTION and _applies(requirement, [part]):
                found.setdefault(name, Dependency(name, part, str(requirement.specifier)))
    return sorted(found.values(), key=lambda dependency: (PARTS.index(dependency.part), dependency.name))


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def needed(*extras: str) -> set[str]:
    """What is installed because pat needs it, directly or not, on this platform.

    Args:
        extras: of pat; without any, what the method alone needs.

    Raises:
        PackageNotFoundError: if pat itself is not installed.
    """
    requires(DISTRIBUTION)
    waiting: list[tuple[str, frozenset[str]]] = [(DISTRIBUTION, frozenset(extras))]
    seen, found = set(waiting), set()
    while waiting:
        name, wanted = waiting.pop()
        try:
            lines = requires(name) or ()
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        found.add(name)
        for requirement in map(Requirement, lines):
            if _applies(requirement, ["", *wanted]):
                step = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if step not in seen:
                    seen.add(step)
                    waiting.append(step)
    return found - {DISTRIBUTION}


def licence(name: str) -> str:
    """The licence that an installed distribution states: as an expression, else a name, else classifiers.

    Raises:
        PackageNotFoundError: if it is not installed.
    """
    fields = metadata(name)
    for field in ("License-Expression", "License"):
        text = "".join(fields.get_all(field) or ()).strip()
        if text and text != "UNKNOWN" and "\n" not in text:
            return text
    classifiers = [c.split(" :: ") for c in fields.get_all("Classifier") or () if c.startswith("License :: ")]
    # Without classifiers, a whole text in the place of a name still begins with it, as a rule.
    return ", ".join(words[-1] for words in classifiers) or text.split("\n")[0] or NOT_STATED


def kinds(text: str) -> tuple[str, ...]:
    """Which kinds of licence a statement names, sorted; ``other`` where it names none that is known."""
    if text == NOT_STATED:
        return (NOT_STATED,)
    found = set()
    for term in re.split(r" AND | OR | and | or |[,;/()]", text):
        kind = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, term)), None)
        found |= {kind} if kind else set()
    return tuple(sorted(found)) or ("other",)


def pins(file: Path) -> dict[str, str]:
    """Exact versions in a requirements file, by canonical name; nothing without the file.

    Raises:
        ValueError: if a line is no exact version, naming it.
    """
    found: dict[str, str] = {}
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in lines:
        if line and not line.startswith("#"):
            name, exact, version = line.partition("==")
            if not exact:
                raise ValueError(f"{file}: {line!r} is no exact version (name==version)")
            found[canonicalize_name(name)] = version
    return found


def licences() -> list[dict[str, str]]:
    """The direct dependencies as rows of a table."""
    root = paths.repo_root()
    oldest = pins(root / "requirements-oldest.txt") if root else {}
    newest = pins(root / "requirements-tested.txt") if root else {}
    return [
        {
            "Needed by": part,
            "Dependency": name,
            "Range": span,
            "Oldest tested": oldest.get(name, "–"),
            "Newest tested": newest.get(name, "–"),
            "Licence": _licence(name),
            "Used for": PURPOSES.get(name, "–"),
        }
        for name, part, span in dependencies()
    ]


def _licence(name: str) -> str:
    try:
        return licence(name)
    except PackageNotFoundError:
        return "not installed"


def indirect() -> list[dict[str, str]]:
    """What the direct dependencies bring along, counted by kind of licence, as rows of a table."""
    direct = {dependency.name for dependency in dependencies()}
    found: dict[str, list[str]] = {}
    for name in sorted(needed(*PARTS[1:]) - direct):
        found.setdefault(", ".join(kinds(licence(name))), []).append(name)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"Licence": kind, "Number": str(len(names)), "Distributions": ", ".join(names)}
        for kind, names in ordered
    ]


def unpinned(file: Path) -> list[str]:
    """What is installed but not in the version that a file pins, one sentence each; pip and pat aside.

    Raises:
        ValueError: if a line of the file is no exact version.
    """
    wanted, found = pins(file), set()
    for distribution in distributions():
        name = canonicalize_name(distribution.name)
        if name not in {"pip", DISTRIBUTION} and wanted.get(name) != distribution.version:
            known = f"has {wanted[name]}" if name in wanted else "does not name it"
            found.add(f"{name} {distribution.version} is installed, {file.name} {known}")
    return sorted(found)


def _table(rows: Sequence[dict[str, str]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the dependencies and their licences: ``python -m pat.study.report.supply``."""
    parser = argparse.ArgumentParser(prog="python -m pat.study.report.supply", description=main.__doc__)
    parser.add_argument(
        "--pins",
        type=paths.argument,
        metavar="FILE",
        help="check instead that FILE pins all that is installed, exactly",
    )
    options = parser.parse_args(arguments)
    if options.pins is None:
        print(_table(licences()), _table(indirect()), sep="\n\n")
        return 0
    if not options.pins.is_file():
        print(f"supply: there is no file {options.pins}", file=sys.stderr)
        return 2
    try:
        problems = unpinned(options.pins)
    except ValueError as error:
        print(f"supply: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"supply: {problem}", file=sys.stderr)
    if not problems:
        print(f"supply: all that is installed is pinned exactly in {options.pins}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
