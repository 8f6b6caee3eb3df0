"""Scripts that the pages load, copied from installed packages: MathJax and plotly.

The book reads without the network, so nothing is loaded from a content network. MathJax comes
from the package sphinx-mathjax-offline, of which a page needs one script, its fonts and the TeX
extensions (the package's own Sphinx extension copies ten times as much). plotly's script is copied
only if a page has an interactive figure, and only such pages load it.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")
PLOTLY = "package_data/plotly.min.js"
MARK = 'class="pat-plotly"'


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ExtensionError(f"package {name} is not installed: it brings a script of the book")
    return Path(spec.origin).parent


def copy_mathjax(app: Sphinx) -> None:
    if app.builder.format != "html":
        return
    source = package("sphinx-mathjax-offline") / "static" / "mathjax"
    target = Path(app.outdir, "_static", "mathjax")
    for part in MATHJAX:
        target.joinpath(part).parent.mkdir(parents=True, exist_ok=True)
        if source.joinpath(part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source / part, target / part)


def add_plotly(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if MARK not in context.get("body", ""):
        return
    target = Path(app.outdir, "_static", "plotly.min.js")
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(package("plotly") / PLOTLY, target)
    app.add_js_file("plotly.min.js", priority=100)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", add_plotly)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
