"""Names that notebooks give: fronts find them, and modules under their old names are the same modules."""

import importlib
import re
from types import ModuleType

import pytest

from pat.files.paths import NOTEBOOKS
from pat.study import analysis, figures
from pat.study.moved import MOVED

USED = sorted(
    {
        found
        for file in NOTEBOOKS.glob("*.py")
        for found in re.findall(r"\b(analysis|figures)\.([a-z_]+)\b", file.read_text(encoding="utf-8"))
    }
)


def test_there_are_such_names() -> None:
    assert len(USED) > 50


@pytest.mark.parametrize(("front", "name"), USED)
def test_a_front_gives_what_notebooks_ask_for_and_no_module(front: str, name: str) -> None:
    found = getattr({"analysis": analysis, "figures": figures}[front], name)
    assert callable(found)
    assert not isinstance(found, ModuleType)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_same_module(old: str, new: str) -> None:
    assert importlib.import_module(old) is importlib.import_module(new)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'pat\.study\.analysis' has no attribute 'regretted'"):
        analysis.regretted  # noqa: B018
