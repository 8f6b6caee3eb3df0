"""What the commands share: options, and how errors end."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pat.files import paths

if TYPE_CHECKING:
    from pat.study.plan.profile import Profile as Scale

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


class Device(StrEnum):
    cpu = "cpu"
    cuda = "cuda"


class Decode(StrEnum):
    workers = "workers"
    device = "device"


Profile = Annotated[str, typer.Option(help="Scale of the study: a data set, architectures, a recipe.")]


def _path(text: str) -> Path:
    try:
        return paths.usable(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


AS_PATH: dict[str, Any] = {"parser": _path}
"""Of arguments: paths are refused before anything is done with them."""
FOLDER = AS_PATH | {"metavar": "PATH"}
"""The same of options."""
StoreFolder = Annotated[Path, typer.Option("--store", help="Folder that keeps runs.", **FOLDER)]
DataFolder = Annotated[Path, typer.Option("--data", help="Folder that holds the data sets.", **FOLDER)]
Jobs = Annotated[int, typer.Option(help="Processes that train at the same time.")]
Workers = Annotated[
    int, typer.Option(help="Processes a run that decode images of data sets too large for memory.", min=0)
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Time after which to stop, such as 9m: what is unfinished is kept, and the same command goes on."
    ),
]
OnDevice = Annotated[Device | None, typer.Option(help="Kind of device; the profile's by default.")]
Decoding = Annotated[
    Decode | None,
    typer.Option(
        help="Who decodes JPEGs of data sets too large for memory: the workers, or the device (a GPU with "
        "nvJPEG); the recipe's by default. Pixels differ a little, so it is part of a run."
    ),
]
Graphs = Annotated[
    bool, typer.Option("--graphs/--plain", help="Let an accelerator capture the passes of a network.")
]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Bad input ends with one line and exit code 2, a storage that is full or may not be written to with code
    1; a traceback is left to our own mistakes."""
    from pat.files.atomic import storage_problem
    from pat.study.runs.workers import was_interrupted

    try:
        yield
    except (ValueError, OSError, KeyboardInterrupt) as error:
        if was_interrupted(error):
            typer.echo("pat: stopped; the same command goes on from the last checkpoint", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(f"pat: {_one_line(error)}", err=True)
        raise typer.Exit(BAD_INPUT if storage_problem(error) is None else FAILED) from None


def deadline_of(budget: str | None) -> float | None:
    """A command's budget counts from its start."""
    from pat.study.runs.budget import deadline_in, process_age, seconds

    return None if budget is None else deadline_in(seconds(budget) - process_age())


def profile_of(name: str, device: str | None, decoding: str | None = None) -> "Scale":
    """The profile of that name, on a kind of device and with a kind of decoding if they are given."""
    from pat.study.plan.profile import load_profile

    chosen, update = load_profile(name), dict[str, Any]()
    if device is not None:
        update["device"] = str(device)
    if decoding is not None:
        update["recipe"] = chosen.recipe.model_copy(update={"decoding": str(decoding)})
    return chosen.model_copy(update=update)


def _one_line(error: BaseException) -> str:
    from pydantic import ValidationError

    from pat.files.atomic import storage_problem
    from pat.files.errors import explain
    from pat.files.plain import printable

    message = storage_problem(error) or str(error)
    if isinstance(error, ValidationError):
        message = explain(error)
    return printable(" ".join(message.split()))
