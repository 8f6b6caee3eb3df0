"""Notebooks: from their one source to executed copies for the book.

`notebooks/NAME.py` (jupytext, py:percent) is the only source. It becomes an ipynb, papermill puts
`notebooks/params/<profile>/NAME.yaml` into it and runs it in this interpreter's own environment,
and the result lies, whole or not at all, at `book/executed/<profile>/NAME.ipynb`. Notebooks are
analysis of stored runs and quick, so they are always executed; what is expensive is in the store.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError

from pat.files.atomic import staging
from pat.files.paths import BOOK, NOTEBOOKS, argument
from pat.files.plain import shown
from pat.files.plain_yaml import load_yaml
from pat.study.report import kernels
from pat.study.report.finished import NotebookError, first_line, plain, problems, tidy, write_notebook
from pat.study.report.parameters import (
    check_parameters,
    check_preset,
    convert,
    notebooks_of,
    read_parameters,
)

_LONG = ("speed_and_cost", "policies")
"""Notebooks that are begun first, so that nobody waits for one of them at the end."""


def execute(
    names: Iterable[str],
    profile: str,
    *,
    out_dir: Path,
    preset: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    jobs: int = 2,
    notebooks_dir: Path | None = None,
    report: Callable[[str], None] = print,
) -> list[Path]:
    """Executes notebooks with their parameters for `profile`, up to `jobs` at a time.

    A `preset` is the value of the parameter of that name, for the notebooks that have it; `parameters` go
    over it, and both over those of the file. Everything is checked before anything runs. Each notebook runs
    in a kernel of its own, from the folder above `notebooks_dir`. One that fails leaves no `NAME.ipynb` in
    `out_dir` but a `NAME.failed.ipynb`; the others are finished.

    Returns the paths of the executed notebooks, in the order of `names`.
    Raises ValueError for bad input, NotebookError naming notebook and cell if any failed.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    folder = notebooks_dir or NOTEBOOKS
    if preset is not None:
        check_preset(preset, profile)
    tasks = []
    for name in names:
        source, values = folder / f"{name}.py", {"profile": profile, **read_parameters(name, profile, folder)}
        if preset is not None and "preset" in check_parameters(source, values):
            values["preset"] = preset
        values |= parameters or {}
        check_parameters(source, values)
        tasks.append(_Task(name, source.resolve(), values, (out_dir / f"{name}.ipynb").resolve()))
    out_dir.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    kernels.server()
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[tuple[float, list[str]]], _Task] = {}
        try:
            for task in sorted(tasks, key=lambda task: task.name not in _LONG):
                running[pool.submit(_run, task)] = task
            for done in as_completed(running):
                task = running[done]
                try:
                    seconds, said = done.result()
                except NotebookError as error:
                    failures.append(str(error))
                    report(f"{task.name}: failed")
                    continue
                report(f"{task.name}: executed in {seconds:.0f} s")
                for text in said:
                    report(f"{task.name}: standard error of {text}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while begun := [future for future in running if not future.done()]:
                kernels.kill()
                wait(begun, timeout=0.2)  # one may be starting just now
            raise
    if failures:
        raise NotebookError("\n\n".join(failures))
    return [task.target for task in tasks]


@dataclass(frozen=True)
class _Task:
    """One notebook to execute."""

    name: str
    source: Path
    parameters: dict[str, Any]
    target: Path


def _run(task: _Task) -> tuple[float, list[str]]:
    """Executes one notebook; seconds, and what it wrote to standard error."""
    start = perf_counter()
    failed = task.target.with_name(f"{task.name}.failed.ipynb")
    task.target.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    # Beside the target: a finished file is moved there, and a move is whole on one file system.
    with staging(task.target.parent, task.name) as folder:
        source, output = folder / "source.ipynb", folder / f"{task.name}.ipynb"
        content = convert(task.source)
        _name_figures(content, str(task.parameters.get("profile", "")))
        write_notebook(content, source)
        try:
            notebook = papermill.execute_notebook(
                source,
                output,
                task.parameters,
                # Papermill's own ``cwd`` would be that of this process too, which executes others meanwhile.
                resources={"metadata": {"path": str(task.source.parents[1])}},
                progress_bar=False,
                kernel_manager_class=kernels.ForkedKernelManager,
                coalesce_streams=True,
            )
        except Exception as error:
            if output.is_file():
                os.replace(output, failed)
            raise NotebookError(_describe(task.name, error, failed)) from None
        said = tidy(notebook)
        write_notebook(notebook, output)
        found = problems(notebook)
        os.replace(output, failed if found else task.target)
    if found:
        raise NotebookError(f"notebook {task.name!r}: {'; '.join(found)} (see {failed})")
    return perf_counter() - start, said


def _describe(name: str, error: Exception, failed: Path) -> str:
    """One message for whatever stopped a notebook: cell error, dead kernel, unreadable source."""
    if not isinstance(error, PapermillExecutionError):
        return f"notebook {name!r} stopped: {type(error).__name__}: {plain(str(error))}"
    trace = plain("\n".join(error.traceback))
    return (
        f"notebook {name!r} failed in cell In [{error.exec_count}] ({first_line(error.source)}) "
        f"with {error.ename}: {plain(error.evalue)}\n{trace}\nThe notebook up to there: {failed}"
    )


def _name_figures(notebook: Any, profile: str) -> None:
    """A chapter may stand in the book once a profile, and a figure's name only once."""
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "name" in figure and profile:
            figure["name"] = f"{figure['name']}-{profile}"


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters on the command line; only named notebooks can take some of their own."""
    if options.parameter and not options.names:
        raise ValueError("-p needs the names of the notebooks that it is for")
    given = {} if options.store is None else {"store": str(options.store)}
    for name, value in options.parameter:
        try:
            given[name] = load_yaml(value)
        except ValueError as error:
            raise ValueError(f"-p {name}: {shown(value)} is not valid YAML: {error}") from error
    return given


def main(argv: list[str] | None = None) -> int:
    """Command line: 0 if all notebooks ran, 1 if one failed, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="pat notebooks",
        description="Execute the notebooks of a profile for the book.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks; default: all of them")
    parser.add_argument("--profile", required=True, help="profile, e.g. digits")
    parser.add_argument("--preset", help="which runs of the profile, such as quick (minutes) or full")
    parser.add_argument("--store", type=argument, help="run store, relative to the project's root")
    parser.add_argument(
        *("-p", "--parameter"), nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of the notebooks named, its value as in YAML; an unknown name is refused",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default 2)")
    parser.add_argument(
        "--out", type=argument, help="default: book/executed/<profile>, or <profile>-<preset>"
    )
    options = parser.parse_args(argv)
    out_dir = options.out or BOOK / "executed" / "-".join(filter(None, (options.profile, options.preset)))
    try:
        names = options.names or notebooks_of(options.profile)
        if options.store and not (NOTEBOOKS.parent / options.store).exists():
            print(
                f"store {options.store} is not there yet: every run that is needed will be trained",
                flush=True,
            )
        execute(
            names,
            options.profile,
            out_dir=out_dir,
            preset=options.preset,
            parameters=_given(options),
            jobs=options.jobs,
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NotebookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
