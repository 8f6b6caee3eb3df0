"""Numbers in prose: a results file becomes the text's substitutions.

`_generated/results.json` is a mapping. In the text, `{{ runs.count }}` is the value under `runs`,
`count`; a list of mappings with equal keys becomes a table, so `{{ findings }}` on a line of its
own is one. A key that does not exist is a warning, and with `-W` an error. `notebooks` is added:
what was executed for this book, and how long it took.
"""

import json
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ConfigError

FILE = "_generated/results.json"


def load(app: Sphinx, config: Config) -> None:
    path = Path(app.srcdir, FILE)
    if not path.is_file():
        raise ConfigError(f"{path} is missing: the numbers in the book's text come from it")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(results, dict):
        raise ConfigError(f"{path} must hold a mapping, got a {type(results).__name__}")
    results.setdefault("notebooks", executions(Path(app.srcdir, "executed")))
    config.myst_substitutions = {
        **config.myst_substitutions,
        **{key: present(value) for key, value in results.items()},
    }


def present(value: Any) -> Any:
    """A value as the text shows it: mappings stay mappings, lists of mappings become tables."""
    if isinstance(value, dict):
        return {key: present(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return table(value)
    if isinstance(value, list):
        return ", ".join(str(present(item)) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return value


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with equal keys as a Markdown table."""
    head = list(rows[0])
    for row in rows:
        if list(row) != head:
            raise ConfigError(f"rows of a table need equal keys: {head} and {list(row)}")
    lines = [head, ["---"] * len(head), *([present(row[key]) for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def executions(folder: Path) -> list[dict[str, Any]]:
    """The executed notebooks, each with its duration and date."""
    rows = []
    for path in sorted(folder.glob("*/*.ipynb")):
        run = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
        if path.name.endswith(".failed.ipynb") or not run.get("duration"):
            continue
        rows.append(
            {
                "Notebook": path.stem.replace("_", " "),
                "Profile": path.parent.name,
                "Seconds": round(run["duration"]),
                "Executed (UTC)": run["end_time"][:16].replace("T", " "),
            }
        )
    return rows


def setup(app: Sphinx) -> dict[str, bool]:
    # Early, because the parser takes the substitutions over when the configuration is complete.
    app.connect("config-inited", load, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
