"""The book: executed notebooks and prose in, a checked folder of pages out."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pat.files.paths import BOOK, argument
from pat.files.plain_yaml import load_yaml
from pat.study.report import site
from pat.study.report.finished import NotebookError, check, plain


class BookError(RuntimeError):
    """The book could not be built, or what was built is not fit to be read."""


def build(*, book_dir: Path = BOOK, out: Path | None = None, strict: bool = True) -> Path:
    """Builds the book in `book_dir` from scratch and checks it.

    Before: the results file is there, and every notebook in the table of contents was executed without
    an error. After: every internal link and anchor exists, and no page loads anything from outside.
    With `strict`, each warning is an error.

    Returns the folder of the pages, `out/_build/html`; `out` is `book_dir` unless given.
    Raises BookError with all that was found.
    """
    for name in ("_config.yml", "_toc.yml"):
        if not (book_dir / name).is_file():
            raise BookError(f"{book_dir} is no book: it has no {name}")
    results = book_dir / "_generated" / "results.json"
    if not results.is_file():
        raise BookError(f"{results} is missing: the numbers in the book's text come from it")
    check_notebooks(book_dir)
    target = out or book_dir
    # From scratch, because a page that is not rebuilt does not repeat its warnings.
    for old in ("html", ".doctrees", "jupyter_execute"):
        shutil.rmtree(target / "_build" / old, ignore_errors=True)
    _run_jupyter_book(book_dir, target, strict)
    html = target / "_build" / "html"
    found = site.problems(html)
    if found:
        raise BookError(f"{len(found)} faults in {html}:\n" + "\n".join(found))
    return html


def check_notebooks(book_dir: Path) -> list[Path]:
    """The executed notebooks that the table of contents names.

    Raises BookError naming each that is missing or not fit for the book.
    """
    text = (book_dir / "_toc.yml").read_text(encoding="utf-8")
    paths = [
        book_dir / f"{entry}.ipynb"
        for entry in _entries(load_yaml(text))
        if Path(entry).parts[0] == "executed"
    ]
    faults: list[str] = []
    for path in paths:
        try:
            check(path)
        except NotebookError as error:
            faults.append(str(error))
    if faults:
        raise BookError("\n".join(faults))
    return paths


def _entries(node: Any) -> list[str]:
    """All `file` and `root` entries of a table of contents, in order."""
    if isinstance(node, list):
        return [entry for part in node for entry in _entries(part)]
    if not isinstance(node, dict):
        return []
    own = [str(node[key]) for key in ("root", "file") if key in node]
    return own + [entry for value in node.values() for entry in _entries(value)]


def _run_jupyter_book(book_dir: Path, target: Path, strict: bool) -> None:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(book_dir), "--path-output", str(target), "--all", "--keep-going"]
    command += ["-W", "-n"] if strict else []
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        lines = plain(done.stdout).splitlines()
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-40:]
        raise BookError("jupyter-book did not build the book:\n" + "\n".join(told))


def main(argv: list[str] | None = None) -> int:
    """Command line: 0 if the book was built and is sound, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m pat.study.report.book", description="Build the book and check it."
    )
    parser.add_argument("--book", type=argument, default=BOOK, help="folder of the book's sources")
    parser.add_argument("--out", type=argument, help="pages go to OUT/_build/html (default: the book)")
    parser.add_argument("--lenient", action="store_true", help="warnings are no errors")
    options = parser.parse_args(argv)
    try:
        html = build(book_dir=options.book, out=options.out, strict=not options.lenient)
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"The book is in {html / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
