"""Every module of the package with the first line of its docstring: the substitution `modules`.

A folder is a box that opens. A module that the API's pages document is a link to its place there.
"""

import ast
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

DOCUMENTED = re.compile(r"auto(?:module|class|function|data|exception):: ([\w.]+)")
ROLE = re.compile(r":[\w:]+:`~?([^`]*)`")


def modules(source: Path) -> dict[str, str]:
    """Dotted name and first line of every module of a package that says what it is, folders before files."""
    found = {}
    for path in sorted(source.rglob("*.py"), key=lambda file: (file.parent, file.stem != "__init__", file)):
        parts = path.relative_to(source.parent).with_suffix("").parts
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if text and path.stem != "__main__":
            name = ".".join(parts[:-1] if path.stem == "__init__" else parts)
            found[name] = ROLE.sub(r"`\1`", text.splitlines()[0])
    return found


def folders(source: Path, pages: list[Path]) -> str:
    """The package's folders as boxes, each with a list of its modules."""
    known = {name for page in pages for name in DOCUMENTED.findall(page.read_text(encoding="utf-8"))}
    lines: dict[str, list[str]] = {}
    titles = {}
    for name, says in modules(source).items():
        folder = name.rpartition(".")[0]
        if source.parent.joinpath(*name.split(".")).is_dir():
            titles[name] = f"`{name}`: {says}"
            continue
        shown = f"{{py:mod}}`{name}`" if name in known else f"`{name}`"
        lines.setdefault(folder, []).append(f"- {shown}: {says}")
    for name in [name for name in titles if name not in lines]:  # a folder of folders
        lines[name] = ["Folders alone."]
    return "\n\n".join(
        "\n".join([f":::{{dropdown}} {titles.get(folder, f'`{folder}`')}", *entries, ":::"])
        for folder, entries in lines.items()
    )


def load(app: Sphinx, config: Config) -> None:
    book = Path(app.srcdir)
    text = folders(book.parent / "src" / "pat", sorted(book.glob("api_*.md")))
    config.myst_substitutions = {**config.myst_substitutions, "modules": text}


def setup(app: Sphinx) -> dict[str, bool]:
    # Early, as the numbers in the text are: the parser takes the substitutions over afterwards.
    app.connect("config-inited", load, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
