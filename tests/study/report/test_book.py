"""The book's build: what it refuses, and that its sources fit together."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from torch import nn

pytest.importorskip("papermill")

from pat.files.paths import BOOK, NOTEBOOKS
from pat.study.report import book, site
from pat.study.report.parameters import list_notebooks

HEAD = '<html><head><link rel="stylesheet" href="style.css"></head><body id="top">'


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BOOK / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def html(tmp_path: Path) -> Path:
    """A small sound site."""
    (tmp_path / "style.css").write_text("p { background: url(data:image/png;base64,AA) }", encoding="utf-8")
    (tmp_path / "a b.html").write_text(
        HEAD
        + '<a href="sub/page.html#there">x</a> <a href="https://example.org/">y</a> <a href="#top">z</a>',
        encoding="utf-8",
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text(
        '<h1 id="there">t</h1><a href="../a%20b.html">x</a><a href="mailto:a@example.org">y</a>',
        encoding="utf-8",
    )
    return tmp_path


def test_sound_site_has_no_problem(html: Path) -> None:
    assert site.problems(html) == []


@pytest.mark.parametrize(
    ("element", "fault"),
    [
        ('<a href="nowhere.html">', "links to nowhere.html, which does not exist"),
        ('<a href="#nowhere">', "links to #nowhere, a page without that anchor"),
        ('<a href="sub/page.html#top">', "links to sub/page.html#top, a page without that anchor"),
        ('<script src="https://cdn.example.org/a.js"></script>', "from outside the book"),
        ('<script src="//cdn.example.org/a.js"></script>', "from outside the book"),
        ('<img src="missing.png" alt="">', "loads missing.png, which does not exist"),
        ('<img srcset="style.css 1x, https://example.org/b.png 2x">', "from outside the book"),
        ('<link rel="preconnect" href="https://fonts.example.org">', "from outside the book"),
        ("<style>@import 'https://fonts.example.org/f.css';</style>", "from outside the book"),
        ('<p style="background: url(https://example.org/b.png)">', "from outside the book"),
        ('<iframe src="https://example.org/"></iframe>', "from outside the book"),
    ],
)
def test_faults_are_found_and_named(html: Path, element: str, fault: str) -> None:
    (html / "bad.html").write_text(HEAD + element, encoding="utf-8")
    found = site.problems(html)
    assert len(found) == 1
    assert found[0].startswith("bad.html: ")
    assert fault in found[0]


def test_fonts_from_outside_are_found_in_styles(html: Path) -> None:
    (html / "style.css").write_text(
        "@font-face { src: url('https://example.org/f.woff2') }", encoding="utf-8"
    )
    assert site.problems(html) == ["style.css: loads https://example.org/f.woff2 from outside the book"]


def test_a_folder_without_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no HTML page"):
        site.problems(tmp_path)


def test_a_folder_that_is_no_book_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert book.main(["--book", str(tmp_path)]) == 1
    assert "it has no _config.yml" in capsys.readouterr().err


def test_missing_results_are_named_before_the_build(tmp_path: Path) -> None:
    for name in ("_config.yml", "_toc.yml"):
        (tmp_path / name).touch()
    with pytest.raises(book.BookError, match=r"results\.json is missing"):
        book.build(book_dir=tmp_path)


def test_missing_and_failed_notebooks_are_named_before_the_build(tmp_path: Path) -> None:
    chapters = ["executed/digits/one", "executed/digits/two", "prose"]
    contents = {"root": "index", "parts": [{"chapters": [{"file": name} for name in chapters]}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(contents), encoding="utf-8")
    failed = tmp_path / "executed" / "digits" / "two.ipynb"
    failed.parent.mkdir(parents=True)
    error = {"output_type": "error", "ename": "KeyError", "evalue": "no record", "traceback": []}
    cell = {"cell_type": "code", "source": "load()", "metadata": {}, "execution_count": 1, "outputs": [error]}
    failed.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}), encoding="utf-8"
    )
    with pytest.raises(book.BookError) as refusal:
        book.check_notebooks(tmp_path)
    assert re.search(r"one\.ipynb is missing", str(refusal.value))
    assert re.search(r"two\.ipynb.*load\(\).*KeyError: no record", str(refusal.value))


def test_numbers_and_tables_for_the_text() -> None:
    present = extension("results_substitutions").present
    assert present({"runs": {"count": 3, "share": 0.12345678}}) == {"runs": {"count": 3, "share": "0.123457"}}
    assert present(["a", "b"]) == "a, b"
    rows = [{"Claim": "late is worse", "n": 3}, {"Claim": "early is worse", "n": 5}]
    assert present(rows) == "| Claim | n |\n| --- | --- |\n| late is worse | 3 |\n| early is worse | 5 |"


def test_tables_need_equal_keys() -> None:
    module = extension("results_substitutions")
    with pytest.raises(Exception, match="equal keys"):
        module.present([{"a": 1}, {"b": 2}])


def test_every_notebook_has_a_page_and_every_page_a_source() -> None:
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    pages = re.findall(r"'(?:file|root)': '([^']+)'", str(contents))
    prose = {page for page in pages if not page.startswith("executed/")}
    assert prose == {path.stem for path in BOOK.glob("*.md")}
    chapters = {page.rsplit("/", 1)[1] for page in pages if page.startswith("executed/digits/")}
    assert set(list_notebooks()) <= chapters


def test_every_chapter_that_is_linked_is_in_the_table_of_contents() -> None:
    contents = (BOOK / "_toc.yml").read_text(encoding="utf-8").split()
    linked = [
        *((page.name, found) for page in BOOK.glob("*.md") for found in links(page, r"\(executed/")),
        *((page.name, found) for page in NOTEBOOKS.glob("*.py") for found in links(page, r"\(\.\./")),
    ]
    assert len(linked) > 10
    assert [(page, chapter) for page, chapter in linked if f"executed/{chapter}" not in contents] == []


def links(page: Path, begin: str) -> list[str]:
    """The chapters, as ``profile/name``, that a page leads to."""
    return re.findall(begin + r"([\w-]+/\w+)\.ipynb", page.read_text(encoding="utf-8"))


def small_training() -> dict[str, Any]:
    """What the page's code takes as given: a small network, its optimizer and batches."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    )
    batches = [(torch.randn(8, 3, 32, 32), torch.randint(0, 4, (8,))) for _ in range(4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0e-3, momentum=0.9)
    return {"model": model, "optimizer": optimizer, "batches": batches, "epochs": 14}


def test_the_training_loops_on_the_page_run() -> None:
    """The page's own code, with its ratio and policy: one line, then three calls, to equal weights."""
    page = (BOOK / "reuse.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    attached, called = small_training(), small_training()
    exec(first, attached)
    exec("\n".join([first.partition("pruning =")[0], *others]), called)
    for scope in (attached, called):
        assert scope["pruning"].status == "sparse"
        assert scope["model"][3].out_channels == 8
    for one, other in zip(attached["model"].parameters(), called["model"].parameters(), strict=True):
        assert one.equal(other)
    assert called["indicator"].trigger_epoch == 10  # nothing changes: the first epoch at which it can


def test_every_citation_has_its_reference_and_keys_are_unique() -> None:
    keys = re.findall(r"^@\w+\{(.+),$", (BOOK / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(keys) == len(set(keys))
    for page in BOOK.glob("*.md"):
        for cited in re.findall(r"\{cite:[pt]\}`([^`]+)`", page.read_text(encoding="utf-8")):
            assert set(cited.split(",")) <= set(keys), f"{page.name} cites {cited}"


# The map of the source


def test_every_module_is_on_the_page_and_says_what_it_is() -> None:
    source_map = extension("source_map")
    source, pages = BOOK.parent / "src" / "pat", sorted(BOOK.glob("api_*.md"))
    known = source_map.modules(source)
    files = {file for file in source.rglob("*.py") if file.stem != "__main__"}
    assert len(known) == len(files)
    text = source_map.folders(source, pages)
    for name in known:
        assert f"`{name}`: " in text, name
    for name in re.findall(r"{py:mod}`([^`]*)`", text):  # a link that leads nowhere would stop the build
        assert any(f":: {name}" in page.read_text(encoding="utf-8") for page in pages), name


def test_the_picture_has_every_floor() -> None:
    picture = (BOOK / "assets" / "house.svg").read_text(encoding="utf-8")
    source = BOOK.parent / "src" / "pat"
    floors = [
        path.parent.name for path in [*source.glob("*/__init__.py"), *source.glob("study/*/__init__.py")]
    ]
    assert {name for name in floors if name != "study" and name not in picture} == set()
    assert 'role="img"' in picture
    assert "<title" in picture
