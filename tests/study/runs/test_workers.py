"""Workers of a sweep: forks of a server that imports what their parent would, or else fresh interpreters."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import BaseModel, PlainSerializer, SerializerFunctionWrapHandler, model_serializer

from pat.cli.options import INTERRUPTED, clear_errors
from pat.study.runs import workers

WHERE = """
import os, sys
from pat.study.runs import workers

workers.PRELOADED = ("colorsys", "chosen")

def seen():
    import chosen, colorsys
    return chosen.__file__, colorsys.__file__, os.environ.get("LATE"), len(os.environ)

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    for late in ("first", "second"):
        os.environ["LATE"] = late
        with workers.executor(2) as pool:
            assert pool.submit(seen).result() == seen(), (pool.submit(seen).result(), seen())
    print(*seen()[:2], sys.modules["multiprocessing.forkserver"]._forkserver._forkserver_pid is not None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are fresh interpreters elsewhere")
@pytest.mark.parametrize("server", [True, False], ids=["a server", "no socket for a server"])
def test_workers_import_what_their_parent_does(server: bool, tmp_path: Path) -> None:
    """Not what lies in the working folder, nor another installed copy; in the environment as it is now."""
    for folder, name in (("here", "colorsys"), ("mine", "chosen"), ("script", "unused")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").touch()
    (tmp_path / "script" / "where.py").write_text(WHERE)
    scratch = tmp_path / ("t" if server else "t" * 100)
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, tmp_path / "script" / "where.py", tmp_path / "mine"],
        cwd=tmp_path / "here",
        env={**os.environ, "TMPDIR": str(scratch)} if not server else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    chosen, colours, running = done.stdout.split()
    assert chosen == str(tmp_path / "mine" / "chosen.py")
    assert Path(colours).parent != tmp_path / "here"
    assert running == str(server)


@pytest.mark.parametrize("name", workers.PRELOADED)
def test_what_is_preloaded_is_there(name: str) -> None:
    import_module(name)


class Interrupted(BaseModel):
    """What is interrupted while it is written, which pydantic reports as a ``ValueError``."""

    value: Annotated[int, PlainSerializer(lambda _: signal.raise_signal(signal.SIGINT))] = 0


class Around(BaseModel):
    """The same within another serializer, which loses the cause."""

    inner: Interrupted = Interrupted()

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> object:
        return write(self)


MODELS = pytest.mark.parametrize("model", [Interrupted(), Around()], ids=["alone", "within another"])


@MODELS
@pytest.mark.usefixtures("listening")
def test_an_interrupt_that_a_library_takes_for_bad_input_is_an_interrupt(
    model: BaseModel, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end, clear_errors():
        model.model_dump()
    assert end.value.exit_code == INTERRUPTED
    assert capsys.readouterr().err.startswith("pat: stopped; the same command goes on")


@MODELS
@pytest.mark.usefixtures("listening")
def test_an_interrupt_is_not_a_run_that_failed(model: BaseModel) -> None:
    with pytest.raises(ValueError, match="KeyboardInterrupt"), workers.executor(1) as here:
        here.submit(model.model_dump)
