"""Parameters of notebooks: which notebooks there are, what they are given, and whether they take it."""

import ast
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jupytext
import papermill

from pat.files.paths import NOTEBOOKS
from pat.files.plain import shown
from pat.files.plain_yaml import load_yaml
from pat.study.plan.profile import load_profile
from pat.study.report.finished import write_notebook

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def list_notebooks(notebooks_dir: Path | None = None) -> list[str]:
    """The names of all notebooks, sorted."""
    return sorted(path.stem for path in (notebooks_dir or NOTEBOOKS).glob("*.py"))


def list_profiles(notebooks_dir: Path | None = None) -> list[str]:
    """The profiles for which there are parameter files, sorted."""
    folder = (notebooks_dir or NOTEBOOKS) / "params"
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def notebooks_of(profile: str, notebooks_dir: Path | None = None) -> list[str]:
    """The names of the notebooks that have a parameters file for `profile`; all, if it has no such folder.

    Raises ValueError for an unknown profile, listing the known ones.
    """
    folder = notebooks_dir or NOTEBOOKS
    load_profile(profile)
    own = {path.stem for path in (folder / "params" / profile).glob("*.yaml")}
    return [name for name in list_notebooks(folder) if name in own or profile not in list_profiles(folder)]


def read_parameters(name: str, profile: str, notebooks_dir: Path | None = None) -> dict[str, Any]:
    """What `notebooks/params/<profile>/<name>.yaml` says; an empty file says nothing, nor does a profile
    without such a folder, as one of the user's own.

    Raises ValueError if the profile is unknown, has files but none for this notebook, or the file is not
    a mapping or is for another profile.
    """
    folder = notebooks_dir or NOTEBOOKS
    if name not in list_notebooks(folder):
        raise ValueError(f"unknown notebook {name!r}; known: {', '.join(list_notebooks(folder))}")
    known = notebooks_of(profile, folder)
    if name not in known:
        raise ValueError(
            f"notebook {name!r} has no parameters file for profile {profile!r}; "
            f"those that have one: {', '.join(known)}"
        )
    path = folder / "params" / profile / f"{name}.yaml"
    if not path.is_file():
        return {}
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path} must be a mapping of parameters, got {type(values).__name__}")
    if values.get("profile", profile) != profile:
        raise ValueError(f"{path} is for profile {profile!r}, but says {shown(values['profile'])}")
    return values


def check_preset(preset: str, profile: str) -> None:
    """Refuses a preset that a profile has neither as a sweep nor for its experiments.

    Raises ValueError, listing those that it has.
    """
    scale = load_profile(profile)
    known = list(dict.fromkeys([*scale.sweeps, *scale.experiments]))
    if preset not in known:
        raise ValueError(f"profile {profile!r} has no preset {preset!r}; it has {', '.join(known) or 'none'}")


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Checks `parameters` against the `parameters` cell of `notebook` (a .py source).

    Returns the cell's own literals by name.
    Raises ValueError, before anything runs, for a name that the cell does not define, a value of
    another kind than the cell's literal (a number for a text, a single value for a list), or one
    that has no literal (bytes, a date).
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{notebook.stem}.ipynb"
        write_notebook(convert(notebook), target)
        known = papermill.inspect_notebook(target)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"notebook {notebook.stem!r} has no parameter {', '.join(map(repr, unknown))}; "
            f"known: {', '.join(known) or 'none'}"
        )
    literals: dict[str, Any] = {}
    for name, entry in known.items():
        try:
            literals[name] = ast.literal_eval(entry["default"])
        except (ValueError, SyntaxError) as error:
            raise ValueError(
                f"notebook {notebook.stem!r}: parameter {name!r} must be a literal, got {entry['default']}"
            ) from error
    for name, value in parameters.items():
        _check_literal(notebook, name, value)
        expected, given = _kind(literals[name]), _kind(value)
        if None not in (literals[name], value) and expected != given:
            raise ValueError(
                f"notebook {notebook.stem!r}: parameter {name!r} is a {expected}, got {shown(value)}, "
                f"a {given}"
            )
    return literals


def _check_literal(notebook: Path, name: str, value: Any) -> None:
    """papermill writes values into the notebook's source. It knows how to write these; of everything else,
    such as YAML's bytes, it writes the text between quotation marks, and what is in it may end them."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(
                    f"notebook {notebook.stem!r}: parameter {name!r} has a key that is no text, {shown(key)}"
                )
            _check_literal(notebook, name, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_literal(notebook, name, item)
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise ValueError(
            f"notebook {notebook.stem!r}: parameter {name!r} has a value of a kind that is no literal, "
            f"{shown(value)}"
        )


def convert(source: Path) -> Any:
    """The ipynb form of a py:percent source, with the kernel that we start for it."""
    if not source.is_file():
        raise ValueError(f"notebook source {source} does not exist")
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata["kernelspec"] = dict(KERNELSPEC)
    notebook.metadata.pop("jupytext", None)
    return notebook


def _kind(value: Any) -> str:
    kinds: list[tuple[Any, str]] = [
        (bool, "true/false"),
        ((int, float), "number"),
        (str, "text"),
        ((list, tuple), "list"),
        (dict, "mapping"),
    ]
    return next((name for types, name in kinds if isinstance(value, types)), type(value).__name__)
