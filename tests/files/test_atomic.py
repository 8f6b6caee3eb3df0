"""Files appear whole or not at all, and what dead writers left is removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pat.files.atomic import staging, whole, write_whole


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_a_dead_writer_left_of_the_same_file_is_removed(tmp_path: Path, dead: int) -> None:
    mine, others = f".a.json.{dead}.part", [f".b.json.{dead}.part", f".a.json.a.json.{dead}.part"]
    for name in (mine, *others):
        (tmp_path / name).write_bytes(b"half")
    write_whole(tmp_path / "a.json", b"whole")
    assert names(tmp_path) == sorted([*others, "a.json"])
    assert (tmp_path / "a.json").read_bytes() == b"whole"


def test_what_a_living_writer_is_writing_is_left_alone(tmp_path: Path) -> None:
    parent = tmp_path / f".a.json.{os.getppid()}.part"
    parent.write_bytes(b"half")
    (tmp_path / ".a.json.part").write_bytes(b"no writer")
    write_whole(tmp_path / "a.json", b"whole")
    assert names(tmp_path) == sorted([parent.name, ".a.json.part", "a.json"])


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_a_block_that_ends_with_an_error_leaves_the_old_content(
    error: type[BaseException], tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    write_whole(file, b"old")

    def write() -> None:
        with whole(file) as new:
            new.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ["a.json"]
    assert file.read_bytes() == b"old"


def test_a_folder_to_make_something_in_goes_and_so_do_those_of_the_dead(tmp_path: Path, dead: int) -> None:
    left, others = f".set-{dead}-abc", [f".set-{os.getppid()}-abc", ".set-mine", f".other-{dead}-abc"]
    for name in (left, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with staging(tmp_path, "set") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(f".set-{os.getpid()}-")
        assert names(tmp_path) == sorted([*others, folder.name])
    assert names(tmp_path) == sorted(others)
