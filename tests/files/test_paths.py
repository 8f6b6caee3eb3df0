"""Paths that no file system takes are refused where they are given."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pat.cli import app
from pat.files.paths import MANIFESTS, usable
from pat.study.store import open_store
from pat.training.data import load_manifest

LONG = "x" * 256
ODD = [
    (LONG, "has 256 bytes, expected at most 255"),
    (f"runs/{'ä' * 128}/more", "has 256 bytes"),
    ("/".join(["x" * 200] * 21), "it has 4220 bytes, expected at most 4095"),
    ("a\0b", "NUL character"),
    ("runs/\ud800", "a character that no name of a file can have"),
]


@pytest.mark.parametrize(("text", "message"), ODD)
def test_what_no_file_can_be_called_is_refused(text: str, message: str) -> None:
    for read in (usable, open_store):
        with pytest.raises(ValueError, match=message) as refusal:
            read(text)
        assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("text", ["runs", "/tmp/x" + "y" * 240, "ä" * 127, ".", "", "a b"])
def test_what_a_file_can_be_called_is_a_path(text: str) -> None:
    assert usable(text) == Path(text)


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--store"), ("results", "table", "--store"), ("results", "publish", "--target"),
        ("gc", "--store"),
        ("results", "compare", "--published"), ("run", "--data"), ("run", "--store"), ("sweep", "--store"),
        ("merge",), ("data", "add"), ("data", "add", "folder", "--out"),
        ("data", "verify", "digits", "--data"),
        ("verify", "x", "--store"), ("verify",), ("notebooks", "--profile", "smoke", "--store"),
    ],
)  # fmt: skip
def test_every_command_refuses_a_long_name(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, LONG], env={"COLUMNS": "400"})
    assert done.exit_code == 2, done.output
    assert "a name in it has 256 bytes" in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("change", ["folder: {}", "file_list: {}.gz"])
def test_a_manifest_with_a_long_name_is_refused(change: str, tmp_path: Path) -> None:
    known = yaml.safe_load((MANIFESTS / "imagenette-128.yaml").read_text(encoding="utf-8"))
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump(known | {"name": "long"} | yaml.safe_load(change.format(LONG))))
    with pytest.raises(ValueError, match=r"long\.yaml: .*a name in it has 25\d bytes"):
        load_manifest(file)


@pytest.mark.parametrize(
    "arguments",
    [
        ("executing", "audit", "--profile", "smoke", "--store", LONG),
        ("executing", "audit", "--profile", "smoke", "--out", LONG),
        ("facts", "--profile", "smoke", "--store", LONG),
        ("facts", "--profile", "smoke", "--book", LONG),
        ("book", "--book", LONG),
    ],
)
def test_the_report_s_commands_too(arguments: tuple[str, ...]) -> None:
    name, *rest = arguments
    done = subprocess.run(
        [sys.executable, "-m", f"pat.study.report.{name}", *rest], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "256 bytes" in done.stderr
