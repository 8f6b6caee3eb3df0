"""Where things lie: the one module that knows folders.

Relative defaults are relative to the working directory, so that an installed `pat` keeps its
runs beside the user's work and not inside the package.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

DATA = Path("data")
"""Default root of the data sets on disk."""

STORE = Path("runs")
"""Default working store of runs."""

RESULTS = Path("results")
"""Published records, one file a run."""


def repo_root() -> Path | None:
    """The source checkout that this package runs from, or None for an installed wheel."""
    root = _PACKAGE.parent.parent
    return root if (root / "pyproject.toml").is_file() and root / "src" == _PACKAGE.parent else None


def _manifests() -> Path:
    root = repo_root()
    return (_PACKAGE if root is None else root) / "data_manifests"


MANIFESTS = _manifests()
"""The manifests that come with the package."""

PROFILES = _PACKAGE / "study" / "plan" / "profiles"
"""The profiles that come with the package."""

# Notebooks and book belong to the checkout; an installed wheel looks in the working directory.
NOTEBOOKS = (repo_root() or Path.cwd()) / "notebooks"
"""The notebooks' sources and parameters."""

BOOK = (repo_root() or Path.cwd()) / "book"
"""The book's sources."""
