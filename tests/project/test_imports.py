"""Imports run one way: method, then data and training, then the study, then the command line."""

import ast
import graphlib
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pat"

# Everything under src/pat but these is the method, new files too.
AROUND = {"training", "study", "cli", "__main__"}
# From the ground up: a folder imports from its own level and those below it.
STUDY = ("plan", "store", "runs", "paper", "analysis", "style", "audit", "experiments", "claims", "report")
# The method computes with torch; these two serve one function each and are imported there.
LAZY = {"safetensors", "scipy"}
# Callbacks for other people's trainers, each a module of its own name that nothing of pat imports.
GUESTS = "integrations"
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


class Import(NamedTuple):
    target: str  # dotted, "pat.x" for pat's own modules
    lazy: bool  # inside a function, or for the type checker alone


def imports(source: str, module: str) -> Iterator[Import]:
    """Every import of a module; ``from pat import x`` is ``pat.x``, relative ones are resolved."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, lazy)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            start = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                yield Import(f"{start}.{alias.name}" if start.startswith("pat") else start, lazy)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, lazy or function or typing)

    yield from walk(ast.parse(source), False)


def within(target: str, package: str) -> bool:
    return target == package or target.startswith(f"{package}.")


def offences(module: str, source: str) -> list[str]:
    """What a module (``pat.x``) imports against the rules, in words."""
    found = []
    area = module.split(".")[1] if "." in module else ""
    for target, lazy in imports(source, module):
        top = target.split(".")[0]
        own = target.split(".")[1] if target.count(".") else ""
        if within(target, "pat.cli") and area not in {"cli", "__main__"}:
            found.append(f"{module} imports the command line ({target})")
        if within(target, "pat.study") and area not in {"study", "cli"}:
            found.append(f"{module} imports the study ({target})")
        if area and area not in AROUND:
            allowed = top in sys.stdlib_module_names or top == "torch" or (lazy and top in LAZY)
            allowed |= area == GUESTS and top == module.rpartition(".")[2]
            allowed |= area == "files" and top in {"pydantic", "yaml"}  # reading for training and study
            if not allowed and not (top == "pat" and own and own not in AROUND):
                found.append(f"{module} is part of the method and imports {target}")
        if area == "study" and within(target, "pat.study"):
            here, there = (*module.split("."), "")[2], (*target.split("."), "")[2]
            if here in STUDY and there in STUDY and STUDY.index(there) > STUDY.index(here):
                found.append(f"{module} imports upwards ({target})")
        if within(target, f"pat.{GUESTS}") and area != GUESTS:
            found.append(f"{module} imports a callback for another trainer ({target})")
        if module == "pat" and own in AROUND and top == "pat":
            found.append(f"pat's front imports {target}, which is no part of the method")
    return found


def modules() -> dict[str, str]:
    """Dotted name to source of everything under src/pat."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    assert "pat" in found
    return found


def test_no_module_imports_against_the_way() -> None:
    assert [line for name, source in modules().items() for line in offences(name, source)] == []


def test_no_import_cycle() -> None:
    sources = modules()
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        # Inside a package relative imports start one level lower.
        inside = f"{name}.__init__" if name == "pat" or name.split(".")[-1] in packages else name
        graph[name] = set()
        for target, _ in imports(source, inside):
            known = target if target in sources else target.rpartition(".")[0]
            if known in sources and known != name:
                graph[name].add(known)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_every_third_party_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    undeclared = {
        (name, top)
        for name, source in modules().items()
        for target, _ in imports(source, name)
        if (top := target.split(".")[0]) not in sys.stdlib_module_names
        and top != "pat"
        and canonicalize_name(DISTRIBUTIONS.get(top, top)) not in declared
    }
    assert undeclared == set()


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pat.importance", "import numpy"),
        ("pat.importance", "import scipy.stats"),
        ("pat.structure", "import torchvision"),
        ("pat.cost", "from pat import training"),
        ("pat.cost", "from .study import record"),
        ("pat.cost", "def f():\n    import pandas"),
        ("pat.pruner", "from pat.study.plan.spec import Spec"),
        ("pat.training.trainer", "from pat import study"),
        ("pat.study.plan.profile", "from pat.study.experiments import names"),
        ("pat.training.data.manifest", "def f():\n    import pat.study.store"),
        ("pat.study.runs.run", "from pat.cli import main"),
        ("pat", "from pat.training.trainer import train"),
    ],
)
def test_the_rules_refuse(module: str, source: str) -> None:
    assert offences(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pat.importance", "import torch\nfrom torch import nn\nfrom pat.channels import trace"),
        ("pat.stability", "def f():\n    from scipy.stats import kendalltau"),
        ("pat.saved", "def f():\n    from safetensors.torch import load_file"),
        (
            "pat.study.runs.run",
            "from pat.study.plan import spec\nfrom pat.training.trainer import train\nimport pandas",
        ),
        ("pat.cli", "import typer\nfrom pat.study.runs import sweep"),
        ("pat.__main__", "from pat.cli import main"),
        ("pat", "from pat.pruner import PruningAwareTraining"),
    ],
)
def test_the_rules_allow(module: str, source: str) -> None:
    assert offences(module, source) == []
