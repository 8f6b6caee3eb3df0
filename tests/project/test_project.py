"""The project around the code: versions that agree, a wheel that works alone, clean files."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pat.study.plan.profile import load_profile

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]

# Names that differ on conda-forge.
CONDA_NAMES = {"torch": "pytorch", "jupyter-client": "jupyter_client"}
# What importing the method may not load.
HEAVY = {
    "matplotlib",
    "pandas",
    "papermill",
    "plotly",
    "pydantic",
    "scipy",
    "seaborn",
    "sklearn",
    "timm",
    "torchvision",
    "typer",
}


def declared() -> dict[str, Requirement]:
    """Every requirement of the project and its extras, by name, its own extras left out."""
    lines = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    requirements = [Requirement(line) for line in lines]
    own = canonicalize_name(PROJECT["name"])
    found: dict[str, Requirement] = {}
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name != own:
            assert name not in found, f"{name} is declared twice"
            found[name] = requirement
    return found


def pinned(name: str = "requirements-tested.txt") -> dict[str, Version]:
    lines = (ROOT / name).read_text().splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = Version(version)
    return pins


def conda_and_pip() -> tuple[dict[str, SpecifierSet], dict[str, SpecifierSet], list[str]]:
    """environment.yml's conda requirements, its pip requirements, and its other pip lines."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {}
    for entry in entries:
        if isinstance(entry, str):
            name, _, ranges = entry.partition(" ")
            conda[name] = SpecifierSet(ranges)
    (pip_lines,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    pip = [Requirement(line) for line in pip_lines if not line.startswith("-")]
    options = [line for line in pip_lines if line.startswith("-")]
    return conda, {canonicalize_name(r.name): r.specifier for r in pip}, options


class TestVersions:
    def test_every_dependency_has_a_lower_bound(self) -> None:
        unbounded = [
            name
            for name, requirement in declared().items()
            if not any(spec.operator in {">=", "=="} for spec in requirement.specifier)
        ]
        assert unbounded == []

    def test_tested_versions_are_inside_the_ranges(self) -> None:
        pins = pinned()
        missing = sorted(set(declared()) - set(pins))
        assert missing == []
        outside = {
            name: str(pins[name])
            for name, requirement in declared().items()
            if not requirement.specifier.contains(pins[name])
        }
        assert outside == {}

    def test_oldest_versions_are_the_lower_bounds(self) -> None:
        bounds = {
            name: Version(spec.version)
            for name, requirement in declared().items()
            for spec in requirement.specifier
            if spec.operator in {">=", "=="}
        }
        assert pinned("requirements-oldest.txt") == bounds

    @pytest.mark.parametrize("file", ["requirements-tested.txt", "requirements-oldest.txt"])
    def test_versions_are_exact_and_portable(self, file: str) -> None:
        lines = (ROOT / file).read_text().splitlines()
        pins = [line for line in lines if line and not line.startswith("#")]
        odd = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line)]
        assert odd == []  # no paths, options, addresses or local versions
        assert len(pins) == len(pinned(file))

    def test_conda_environment_agrees_with_pyproject(self) -> None:
        conda, pip, options = conda_and_pip()
        assert options == ["-e ."]
        assert conda.pop("python") == SpecifierSet(PROJECT["requires-python"])
        conda.pop("pip")
        assert not set(conda) & set(pip)
        wanted = {CONDA_NAMES.get(n, n): r.specifier for n, r in declared().items()}
        assert conda | pip == wanted

    def test_conda_environment_uses_conda_forge_alone(self) -> None:
        environment = yaml.safe_load((ROOT / "environment.yml").read_text())
        assert environment["channels"] == ["conda-forge", "nodefaults"]

    def test_environment_running_the_tests_is_inside_the_ranges(self) -> None:
        from importlib.metadata import version

        outside = {
            name: version(name)
            for name, requirement in declared().items()
            if not requirement.specifier.contains(version(name), prereleases=True)
        }
        assert outside == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


class TestWheel:
    def test_contents(self, wheel: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        assert "pat/py.typed" in names
        sources = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src").rglob("*.py")}
        assert sources <= names
        manifests = {f"pat/data_manifests/{p.name}" for p in (ROOT / "data_manifests").glob("*")}
        assert manifests <= names
        folders = {name.split("/")[0] for name in names}
        assert {f for f in folders if not f.endswith(".dist-info")} == {"pat"}
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)

    def test_metadata(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            (path,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            metadata = archive.read(path).decode()
            (path,) = (n for n in archive.namelist() if n.endswith("/entry_points.txt"))
            assert "pat = pat.cli:main" in archive.read(path).decode()
        assert f"Version: {PROJECT['version']}\n" in metadata
        required = {
            Requirement(line.removeprefix("Requires-Dist: ")).name
            for line in metadata.splitlines()
            if line.startswith("Requires-Dist: ") and "extra ==" not in line
        }
        assert required == {"torch", "safetensors", "numpy"}

    def test_import_alone_is_light(self, wheel: Path, tmp_path: Path) -> None:
        target = tmp_path / "target"
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
        # The target comes before an editable install; -I keeps the working folder out.
        code = (
            "import json, sys; sys.path.insert(0, sys.argv[1]); import pat;"
            "print(json.dumps([pat.__file__, sorted({n.split('.')[0] for n in sys.modules})]))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-c", code, str(target)],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        file, loaded = json.loads(done.stdout)
        assert Path(file).is_relative_to(target)
        assert HEAVY & set(loaded) == set()


class TestCitationAndLicence:
    def test_licence_is_the_full_apache_text(self) -> None:
        text = (ROOT / "LICENSE").read_text()
        assert "Version 2.0, January 2004" in text
        for number in range(1, 10):
            assert re.search(rf"^   {number}\. [A-Z]", text, re.MULTILINE), f"section {number}"
        assert "END OF TERMS AND CONDITIONS" in text
        assert PROJECT["license"] == "Apache-2.0"

    def test_citation(self) -> None:
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
        assert {"cff-version", "message", "title", "authors"} <= set(citation)
        assert citation["cff-version"] == "1.2.0"
        assert citation["type"] == "software"
        assert citation["license"] == PROJECT["license"]
        assert str(citation["version"]) == PROJECT["version"]
        (paper,) = citation["references"]
        assert {"type", "title", "authors"} <= set(paper)
        assert [a["family-names"] for a in paper["authors"]] == [
            "Shen",
            "Molchanov",
            "Yin",
            "Alvarez",
        ]

    def test_citation_agrees_with_the_papers_values(self) -> None:
        values = ROOT / "book" / "paper_values.yaml"
        if not values.exists():
            pytest.skip("the book's paper_values.yaml is not there")
        facts = yaml.safe_load(values.read_text())["paper"]
        (paper,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
        assert paper["title"] == facts["title"]
        assert f"{paper['start']}-{paper['end']}" == facts["pages"]
        assert f"{paper['conference']['name']}" == facts["venue"]
        assert paper["identifiers"][0]["value"] == f"arXiv:{facts['arxiv']}"


def project_files() -> list[Path]:
    """Files that git tracks or would add; without git, all that are in no ignored folder."""
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        lines = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
        anchored = [ROOT / line.lstrip("/") for line in lines if "/" in line]
        anywhere = {line for line in lines if "/" not in line} | {".git"}
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(path.is_relative_to(folder) for folder in anchored)
            and not any(fnmatch(part, p) for part in path.relative_to(ROOT).parts for p in anywhere)
        ]
    return sorted(path for path in paths if path.is_file())


def is_third_party(path: Path) -> bool:
    """Scripts and fonts that the book ships so that it works offline."""
    return path.is_relative_to(ROOT / "book" / "assets") or path.name == "LICENSE"


MACHINE_PATH = re.compile(r"(?<![\w./}>-])/(?:work|root|home/\w+|Users/\w+|tmp)/")
REGISTRY = re.compile(
    r"(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|proxy\.golang\.org|deb\.debian\.org|crates\.io"
    r"|download\.pytorch\.org|anaconda\.(?:org|com)|--(?:extra-)?index-url)"
)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME)\b")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Text of every file of the project but this one, by name."""
    found = {}
    for path in project_files():
        if path != Path(__file__).resolve() and not is_third_party(path):
            try:
                found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # pictures and other binary files
    assert "pyproject.toml" in found
    return found


class TestFiles:
    def test_no_path_of_a_machine(self, texts: dict[str, str]) -> None:
        found = {
            name: match.group()
            for name, text in texts.items()
            if (match := MACHINE_PATH.search(text))
            and not (name.startswith("tests/") and match.group() == "/tmp/")
        }
        assert found == {}

    def test_no_registry_host(self, texts: dict[str, str]) -> None:
        found = {n: m.group() for n, t in texts.items() if (m := REGISTRY.search(t))}
        assert found == {}

    def test_nothing_unfinished(self, texts: dict[str, str]) -> None:
        found = {n: m.group() for n, t in texts.items() if (m := UNFINISHED.search(t))}
        assert found == {}

    def test_notebooks_are_kept_as_scripts_alone(self) -> None:
        assert [str(p) for p in project_files() if p.suffix == ".ipynb"] == []

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("store = '/work/runs'", True),
            ("see /root/x", True),
            ('"/tmp/a"', True),
            ("https://example.org/work/runs", False),
            ("book/tmp/a", False),
        ],
    )
    def test_machine_path_pattern(self, text: str, found: bool) -> None:
        assert bool(MACHINE_PATH.search(text)) is found


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The variables of an outer make would reach the inner one.
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "VENV", "REQUIREMENTS"}
    environment = {k: v for k, v in os.environ.items() if k not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMake:
    def test_default_target_lists_the_targets(self) -> None:
        done = make()
        assert done.returncode == 0, done.stderr
        listed = set(re.findall(r"^  ([a-z-]+) ", done.stdout, re.MULTILINE))
        wanted = {"setup", "study", "test", "lint", "types", "book", "check-book"}
        assert wanted | {"notebooks-smoke", "clean", "help", "test-oldest", "audit"} <= listed

    def test_old_python_is_refused_before_anything_is_made(self, tmp_path: Path) -> None:
        old = tmp_path / "old-python"
        old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.9.2 && exit 0\nexit 1\n')
        old.chmod(0o755)
        done = make("setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
        assert done.returncode == 2
        assert "Python 3.11 or later is needed" in done.stderr
        assert "Python 3.9.2" in done.stderr
        assert not (tmp_path / "venv").exists()

    def test_oldest_versions_are_tested_in_an_environment_of_their_own(self) -> None:
        done = make("-n", "test-oldest", "OLDEST_VENV=nowhere")
        assert done.returncode == 0, done.stderr
        assert "python3.11 -m venv --clear nowhere" in done.stdout
        assert "nowhere/bin/python -m pip install --no-compile -c requirements-oldest.txt" in done.stdout
        assert "nowhere/bin/python -m pytest" in done.stdout
        assert "requirements-tested.txt" not in done.stdout

    def test_the_runs_of_the_first_study_are_published(self) -> None:
        match = re.search(r"pat sweep --profile (\S+) --preset (\S+)", make("-n", "study").stdout)
        assert match
        wanted = {spec.id for spec in load_profile(match[1]).sweep(match[2])}
        published = {line.split(",")[0] for line in (ROOT / "results" / "runs.csv").read_text().splitlines()}
        assert wanted <= published, "`make study` compares its runs with published ones"

    def test_clean_keeps_runs_data_and_environment(self) -> None:
        removed = make("-n", "clean").stdout.split("\n")[0].split()
        assert removed[:2] == ["rm", "-rf"]
        assert {"runs", "data", "results", ".venv"} & set(removed) == set()


class TestContinuousIntegration:
    def workflow(self, name: str) -> dict[object, object]:
        content = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
        content["on"] = content.pop(True)  # YAML 1.1 reads the bare key `on` as true
        assert {"name", "on", "permissions", "jobs"} <= set(content)
        for job in content["jobs"].values():
            assert {"runs-on", "steps", "timeout-minutes"} <= set(job)
            for step in job["steps"]:
                assert ("run" in step) != ("uses" in step)
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
        return content

    def test_script_runs_every_check(self) -> None:
        script = ROOT / ".ci" / "run"
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", str(script)], check=True)
        text = script.read_text()
        body = dict(re.findall(r"^(\w+)\(\) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))
        run: list[str] = []
        for name, rest in re.findall(r'^step "[^"]+" (\w+)(.*)$', text, re.MULTILINE):
            run += re.findall(r"make ([\w-]+)", body.get(name, name + rest))
        assert run == ["setup", "audit", "lint", "test", "notebooks-smoke", "types", "book", "check-book"]

    def test_ci_workflow_checks_both_pythons_and_the_oldest_versions(self) -> None:
        content = self.workflow("ci.yml")
        assert set(content["on"]) == {"push", "pull_request"}
        assert content["permissions"] == {"contents": "read"}
        (job,) = content["jobs"].values()
        assert [s["run"] for s in job["steps"] if "run" in s] == ["${{ matrix.check }}"]
        entries = job["strategy"]["matrix"]["include"]
        pythons = [Version(entry["python"]) for entry in entries if entry["check"] == ".ci/run"]
        assert len(pythons) == 2
        assert f">={min(pythons)}" == PROJECT["requires-python"]
        (oldest,) = (entry for entry in entries if entry["check"] != ".ci/run")
        assert oldest["check"] == "make test-oldest"
        assert Version(oldest["python"]) == min(pythons)

    def test_pages_workflow_publishes_with_least_permissions(self) -> None:
        content = self.workflow("pages.yml")
        assert content["permissions"] == {"contents": "read"}
        build, deploy = content["jobs"]["build"], content["jobs"]["deploy"]
        assert "permissions" not in build
        assert deploy["permissions"] == {"pages": "write", "id-token": "write"}
        assert deploy["needs"] == "build"
        assert [s["run"] for s in build["steps"] if "run" in s] == ["make book"]
        used = [s["uses"].split("@")[0] for j in (build, deploy) for s in j["steps"] if "uses" in s]
        for action in ("configure-pages", "upload-pages-artifact", "deploy-pages"):
            assert f"actions/{action}" in used
        (upload,) = (s for s in build["steps"] if "upload-pages-artifact" in s.get("uses", ""))
        assert upload["with"]["path"] == "book/_build/html"

    @pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
    def test_actionlint(self) -> None:
        done = subprocess.run(["actionlint"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
