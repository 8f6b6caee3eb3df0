"""What pat depends on: few, each for a reason, under known licences, in pinned versions."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pat.study.report import supply

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "pycocotools": "torchmetrics",  # which measures with it
    "pyyaml": "yaml",
    "jupyter-client": "jupyter_client",
    "tensorboard": "torch",  # which imports it for its writer
}
# Programs and files of the book: no module of pat imports them.
NOT_IMPORTED = {"ipykernel", "jupyter-book", "sphinx-mathjax-offline"}


def declared() -> set[str]:
    lines = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    return {canonicalize_name(Requirement(line).name) for line in lines} - {supply.DISTRIBUTION}


class TestFew:
    def test_every_dependency_has_a_purpose(self) -> None:
        assert set(supply.PURPOSES) == declared()

    def test_every_dependency_of_method_study_and_book_is_imported(self) -> None:
        source = "\n".join(path.read_text() for path in (ROOT / "src" / "pat").rglob("*.py"))
        imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, re.MULTILINE))
        wanted = {d.name for d in supply.dependencies() if d.part != "dev"} - NOT_IMPORTED
        assert {name for name in wanted if IMPORTED_AS.get(name, name) not in imported} == set()

    def test_dependencies_are_those_of_the_project(self) -> None:
        found = supply.dependencies()
        assert [d.name for d in found if d.part == "method"] == ["numpy", "safetensors", "torch"]
        assert len(found) == len(declared())
        assert {d.name for d in found} == declared()
        extras = PROJECT["optional-dependencies"]
        for part in ("study", "book", "dev"):
            own = {canonicalize_name(Requirement(line).name) for line in extras[part]}
            assert {d.name for d in found if d.part == part} == own - {supply.DISTRIBUTION}

    def test_the_method_needs_less_than_the_study_and_that_less_than_the_checks(self) -> None:
        method, study, dev = supply.needed(), supply.needed("study"), supply.needed("dev")
        assert {"torch", "safetensors", "numpy", "sympy"} <= method < study < dev
        assert "pandas" not in method
        assert "pytest" not in study


class TestLicences:
    def test_no_copyleft_under_the_method(self) -> None:
        found = {name: set(supply.kinds(supply.licence(name))) for name in supply.needed()}
        assert {name for name, kinds in found.items() if kinds & supply.COPYLEFT} == set()

    def test_every_direct_dependency_states_a_known_licence(self) -> None:
        found = {d.name: supply.kinds(supply.licence(d.name)) for d in supply.dependencies()}
        assert {name for name, kinds in found.items() if {"other", supply.NOT_STATED} & set(kinds)} == set()

    def test_rows(self) -> None:
        rows = supply.licences()
        assert {row["Dependency"] for row in rows} == declared()
        assert len({tuple(row) for row in rows}) == 1  # equal keys, as the book's tables need
        (torch,) = (row for row in rows if row["Dependency"] == "torch")
        assert torch["Needed by"] == "method"
        assert Version(torch["Oldest tested"]) < Version(torch["Newest tested"])
        assert torch["Range"].startswith(">=")
        assert {"–", "", "not installed"} & {cell for row in rows for cell in row.values()} == set()
        assert [cell for row in rows for cell in row.values() if "|" in cell or "\n" in cell] == []

    def test_indirect_ones_are_counted_once_each(self) -> None:
        rows = supply.indirect()
        names = [name for row in rows for name in row["Distributions"].split(", ")]
        assert sum(int(row["Number"]) for row in rows) == len(names) == len(set(names))
        assert not set(names) & declared()
        assert "sympy" in names

    @pytest.mark.parametrize(
        ("text", "kinds"),
        [
            ("MIT", ("MIT",)),
            ("MIT-CMU", ("MIT",)),
            ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", ("BSD", "CC0", "MIT", "zlib")),
            ("Apache-2.0 WITH LLVM-exception AND BSL-1.0", ("Apache", "Boost")),
            ("Apache-2.0 OR BSD-2-Clause", ("Apache", "BSD")),
            ("MPL-2.0 AND MIT", ("MIT", "MPL")),
            ("Other/Proprietary License", ("proprietary",)),
            ("GPL-3.0-or-later", ("GPL",)),
            ("GPLv2", ("GPL",)),
            ("GNU General Public License v3 (GPLv3)", ("GPL",)),
            ("GNU Affero General Public License v3 or later (AGPLv3+)", ("AGPL",)),
            ("GNU Lesser General Public License v2 (LGPLv2)", ("LGPL",)),
            ("(MIT OR LGPL-2.1-only) AND AGPL-3.0-only", ("AGPL", "LGPL", "MIT")),
            ("Business Source License", ("other",)),
            ("not stated", ("not stated",)),
        ],
    )
    def test_kinds(self, text: str, kinds: tuple[str, ...]) -> None:
        assert supply.kinds(text) == kinds

    @pytest.mark.parametrize(
        ("fields", "licence"),
        [
            ("License-Expression: MIT", "MIT"),
            ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: MIT License", "BSD-3-Clause"),
            ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
            (
                "License: Some Licence\n        Copyright (c) somebody\n"
                "Classifier: License :: OSI Approved :: BSD License\nClassifier: License :: Public Domain",
                "BSD License, Public Domain",
            ),
            ("License: Some Licence\n        Copyright (c) somebody", "Some Licence"),
            ("Classifier: Typing :: Typed", "not stated"),
        ],
    )
    def test_where_a_licence_is_read(
        self, fields: str, licence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "made_up-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: made-up\nVersion: 1\n{fields}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert supply.licence("made-up") == licence

    def test_what_is_not_installed_is_refused(self) -> None:
        with pytest.raises(PackageNotFoundError, match="not-there"):
            supply.licence("not-there")

    def test_command_prints_both_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert supply.main([]) == 0
        direct, indirect = capsys.readouterr().out.split("\n\n")
        assert len(direct.splitlines()) == 2 + len(declared())
        assert indirect.startswith("| Licence | Number | Distributions |")


class TestPins:
    def installed(self) -> dict[str, str]:
        found = {canonicalize_name(d.name): d.version for d in distributions()}
        return {name: version for name, version in found.items() if name not in {"pip", supply.DISTRIBUTION}}

    def check(self, folder: Path, pins: dict[str, str]) -> int:
        file = folder / "pins.txt"
        file.write_text("# exact\n" + "".join(f"{name}=={version}\n" for name, version in pins.items()))
        return supply.main(["--pins", str(file)])

    def test_all_that_is_installed_is_pinned(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.check(tmp_path, self.installed()) == 0
        assert "is pinned exactly" in capsys.readouterr().out

    def test_what_is_not_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pins = self.installed()
        version = pins.pop("numpy")
        assert self.check(tmp_path, pins | {"torch": "1.0"}) == 1
        said = capsys.readouterr().err
        assert f"numpy {version} is installed, pins.txt does not name it" in said
        assert f"torch {self.installed()['torch']} is installed, pins.txt has 1.0" in said

    @pytest.mark.parametrize(
        ("line", "message"), [("torch>=2", "'torch>=2' is no exact version"), (None, "there is no file")]
    )
    def test_what_is_no_file_of_pins_is_refused(
        self, line: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "pins.txt"
        if line:
            file.write_text(line)
        assert supply.main(["--pins", str(file)]) == 2
        assert message in capsys.readouterr().err
