"""Whoever only reads records never waits for torch; a package's front loads what it is asked for."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pat
import pat.training.data
from pat.files import paths

SOURCE = Path(pat.__file__).parent
HEAVY = ("torch", "torchvision", "timm", "sklearn", "safetensors")
TIMING = ("forecast", "measuring", "throughput", "trials")
COMPUTING = ("building", "run", "transplant", *(f"timing.{name}" for name in TIMING))
TRAINING = {f"pat.study.runs.{name}" for name in COMPUTING}
"""The modules of the study that compute with networks."""
FRONTS = ["pat", "pat.training.data"]


def loaded(code: str, *arguments: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after some code."""
    program = f"import sys\n{code}\nprint('loaded:', *{set(HEAVY)!r}.intersection(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def readers() -> list[str]:
    """Every module of the study and the command line that trains nothing."""
    files = [file.relative_to(SOURCE.parent) for part in ("study", "cli") for file in
             (SOURCE / part).rglob("*.py") if file.stem != "__main__"]  # fmt: skip
    names = {".".join(f.parent.parts if f.stem == "__init__" else f.with_suffix("").parts) for f in files}
    assert names > TRAINING
    return sorted(names - TRAINING)


def test_what_is_loaded_is_seen() -> None:
    assert loaded("import safetensors") == {"safetensors"}


IMPORT_ALL = f"""
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
    found = sorted(set({HEAVY!r}).intersection(sys.modules))
    assert not found, f"{{name}} loads {{found}}"
"""


def test_no_module_that_reads_loads_torch() -> None:
    assert loaded(IMPORT_ALL, "pat", "pat.training.data", *readers()) == set()


BOOK = """
import jupytext
from pat.files import paths
from pat.study import analysis, experiments, figures
from pat.study.claims.claims import load_claims
from pat.study.plan.profile import load_profile
from pat.study.report.facts import facts, gather
from pat.study.store import Published, open_store
from pat.study.runs.sweep import MissingRuns, sweep

profile, store = load_profile("digits-24"), open_store(sys.argv[1])
runs = analysis.runs_table(sweep(profile.sweep("study"), store))
assert len(runs) > 50
analysis.early_and_late(runs, profile.contrast), analysis.by_epoch(runs, "test_accuracy", digits=1)
figures.accuracy_by_epoch(runs, profile.architectures[0])
figures.hover_accuracy(runs, profile.architectures[0])

scope = {}
for cell in jupytext.read(paths.NOTEBOOKS / "structure_stability.py").cells:
    if cell.cell_type == "code":
        exec(cell.source, scope)
        if "parameters" in cell.metadata.get("tags", ()):
            scope |= {"profile": "digits-24", "preset": "study", "store": sys.argv[1]}
assert len(scope["stability"]) > 50

claims = load_claims(name=profile.claims)
assert facts([gather(profile, store, claims, "study")], claims)["verdicts"]

for name in experiments.names(profile, "quick"):
    try:
        experiments.run(name, profile, "quick", Published(paths.RESULTS / "none"))
    except MissingRuns:
        continue
    raise AssertionError(f"{name} has runs where there are none")
"""


def test_chapters_and_verdicts_from_published_records_load_no_torch() -> None:
    assert loaded(BOOK, str(SOURCE.parents[1] / "results")) == set()


COMMANDS = """
from typer.testing import CliRunner
from pat.cli import app
all_runs, few = (["--store", folder] for folder in sys.argv[1:])
for arguments in (
    ["--help"],
    ["profiles"],
    ["data", "list"],
    ["status", *few],
    ["results", "table", *few],
    ["sweep", "--profile", "digits-24", "--preset", "study", *all_runs],
):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (arguments, done.output)
"""


def test_commands_that_read_load_no_torch(tmp_path: Path) -> None:
    results = SOURCE.parents[1] / "results"
    (tmp_path / "digits").mkdir()
    with (results / "runs.csv").open() as table:
        (tmp_path / "runs.csv").write_text(next(table))
    for file in sorted((results / "digits").glob("*.json"))[:20]:
        shutil.copy(file, tmp_path / "digits")
    assert loaded(COMMANDS, str(results), str(tmp_path)) == set()


def declared(package: str) -> dict[str, str]:
    """What type checkers are told that a package offers: name to module."""
    tree = ast.parse(Path(str(importlib.import_module(package).__file__)).read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    lines = [line for line in block.body if isinstance(line, ast.ImportFrom)]
    return {alias.name: str(line.module) for line in lines for alias in line.names}


@pytest.mark.parametrize("package", FRONTS)
def test_a_front_gives_what_type_checkers_are_told(package: str) -> None:
    front, names = importlib.import_module(package), declared(package)
    assert set(names) == set(front.__all__) <= set(dir(front))
    for name, module in names.items():
        if module == package:  # a module of its own
            assert getattr(front, name) is importlib.import_module(f"{package}.{name}")
        else:
            assert getattr(front, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("package", FRONTS)
def test_no_name_of_a_front_is_that_of_another_module(package: str) -> None:
    """Importing such a module would put it in the name's place."""
    names = [name for name, module in declared(package).items() if module != package]
    assert [n for n in names if importlib.util.find_spec(f"{package}.{n}")] == []


@pytest.mark.parametrize("package", FRONTS)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    front = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'chanels'") as caught:
        front.chanels  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("chanels", front)


def test_modules_that_the_front_does_not_name_are_still_imported_from_it() -> None:
    assert loaded("from pat import files, training\nassert files and training") == set()
    assert Path("data") == paths.DATA
