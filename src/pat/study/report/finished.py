"""Executed notebooks: made fit for the book, and checked.

An executed notebook is fit for the book when it ran to its end without an error, holds nothing that
a page would have to load from elsewhere, and describes each of its figures in words.
"""

import html
import re
from pathlib import Path
from typing import Any

import nbformat

_WIDGET = "application/vnd.jupyter.widget-view+json"
_PLOTLY = "application/vnd.plotly.v1+json"
_INJECTED = "injected-parameters"
"""papermill's tag of the cell with the values that a notebook was run with."""
_PROGRESS = re.compile(r"\d+%\|")
_AROUND = re.compile(r"(?<=\d) ± (?=\d)")
_BETWEEN = re.compile(r"(\[[−-]?[\d.]+,) (?=[−-]?[\d.]+\])")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class NotebookError(RuntimeError):
    """A notebook failed, or what it produced cannot go into the book."""


def read_notebook(path: Path) -> Any:
    """The notebook in an ipynb file."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def write_notebook(notebook: Any, path: Path) -> None:
    """Writes an ipynb file."""
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


def plain(text: str) -> str:
    """`text` without terminal colours."""
    return _ANSI.sub("", text)


def first_line(source: str) -> str:
    """The first line of a cell's source that says something; names a cell in messages."""
    lines = [line.strip() for line in source.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "(empty cell)")


def tidy(notebook: Any) -> list[str]:
    """Takes out of an executed notebook, in place, what does not belong on a page.

    Standard error (warnings, progress bars), widgets and this machine's paths go; a plotly figure
    gets a small HTML division beside its data, so that a page needs plotly's script only once; the cell with
    the parameters folds.

    Returns what was written to standard error, without progress bars, one entry a cell.
    """
    said: list[str] = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        errors = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
        if text := _without_progress(plain("".join(errors))):
            said.append(f"cell {index} ({first_line(cell.source)}):\n{text}")
        cell.outputs = [o for o in cell.outputs if not _is_transient(o)]
        for output in cell.outputs:
            data = output.get("data", {})
            if _PLOTLY in data:
                data["text/html"] = _plotly_division(data[_PLOTLY])
            elif "text/html" in data:
                data["text/html"] = unbroken(data["text/html"])
        if _INJECTED in (tags := cell.metadata.get("tags", [])) and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]
    notebook.metadata.pop("widgets", None)
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    return said


def unbroken(text: str) -> str:
    """`text` in which no line ends between a number and its spread, ``8.2 ± 0.3`` or ``[7.9, 8.5]``."""
    return _BETWEEN.sub("\\1\N{NO-BREAK SPACE}", _AROUND.sub("\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", text))


def _without_progress(text: str) -> str:
    """What is left once the states of progress bars are gone, which follow each other on one line."""
    lines = (line for line in re.split(r"[\r\n]+", text) if line.strip() and not _PROGRESS.search(line))
    return "\n".join(lines).strip()


def problems(notebook: Any) -> list[str]:
    """What keeps an executed notebook out of the book; empty when nothing does."""
    found: list[str] = []
    papermill = notebook.metadata.get("papermill")
    if papermill is None:
        found.append("it was never executed (no papermill metadata)")
    elif papermill.get("exception"):
        found.append("papermill recorded an exception")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        where = f"cell {index} ({first_line(cell.source)})"
        run = cell.metadata.get("papermill", {})
        if papermill is not None and (run.get("exception") or run.get("status") != "completed"):
            found.append(f"{where} did not complete (status {run.get('status')!r})")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{where} ended with {output.ename}: {plain(output.evalue)}")
        if _shows_image(cell) and not _alt_text(cell):
            found.append(
                f"{where} shows a figure without alt text; add to the cell's header "
                'mystnb={"image": {"alt": "..."}}'
            )
    return found


def check(path: Path) -> Any:
    """The executed notebook at `path`.

    Raises NotebookError, naming notebook and cells, if it is missing or not fit for the book.
    """
    if not path.is_file():
        raise NotebookError(f"executed notebook {path} is missing: execute the notebooks first")
    notebook = read_notebook(path)
    found = problems(notebook)
    if found:
        raise NotebookError(f"notebook {path}: " + "; ".join(found))
    return notebook


def _is_transient(output: Any) -> bool:
    if output.output_type == "stream":
        return bool(output.name == "stderr")
    return _WIDGET in output.get("data", {})


def _shows_image(cell: Any) -> bool:
    hidden = {"remove-output", "remove-cell"} & set(cell.metadata.get("tags", []))
    kinds = (kind for output in cell.outputs for kind in output.get("data", {}))
    return not hidden and any(kind.startswith("image/") for kind in kinds)


def _alt_text(cell: Any) -> str:
    return str(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")).strip()


def _plotly_division(figure: dict[str, Any]) -> str:
    import plotly.io  # heavy, and most notebooks have no such figure

    layout = figure.get("layout", {})
    meta = layout.get("meta")
    alt = meta.get("alt") if isinstance(meta, dict) else None
    title = layout.get("title", {})
    alt = alt or (title.get("text") if isinstance(title, dict) else title) or "interactive figure"
    division = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        validate=False,
        config={"responsive": True, "displaylogo": False},
    )
    label = html.escape(str(alt), quote=True)
    return f'<div class="pat-plotly" role="img" aria-label="{label}">{division}</div>'
