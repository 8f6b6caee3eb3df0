"""Names that moved: fronts that look a name up in other modules, and old module names that still work."""

import importlib
import importlib.abc
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "pat.study.evidence": "pat.study.experiments.evidence",
    "pat.study.measure": "pat.study.runs.timing.measuring",
    "pat.study.notebooks": "pat.study.report.executing",
    "pat.study.profile": "pat.study.plan.profile",
    "pat.study.progress": "pat.study.runs.following.progress",
    "pat.study.speeds": "pat.study.store.speeds",
    "pat.study.supply": "pat.study.report.supply",
    "pat.study.sweep": "pat.study.runs.sweep",
    "pat.study.runs.measuring": "pat.study.runs.timing.measuring",
    "pat.study.runs.progress": "pat.study.runs.following.progress",
    "pat.study.audit.networks": "pat.study.paper.networks",
    "pat.study.audit.numbers": "pat.study.paper.numbers",
}
"""What notebooks and README named before, and where it is."""


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the module under its old name; it is loaded once."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])

    def get_code(self, name: str) -> object:
        """For ``python -m``."""
        spec = importlib.util.find_spec(MOVED[name])
        assert spec is not None
        return spec.loader.get_code(MOVED[name])  # type: ignore[union-attr]


def install() -> None:
    """Let the old names be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def front(package: str, modules: Callable[[], Iterable[str]]) -> Callable[[str], object]:
    """``__getattr__`` of a package that offers what is defined in others.

    Args:
        package: its ``__name__``.
        modules: names of the modules to look through, in order.
    """

    def load(name: str) -> object:
        for module in modules() if not name.startswith("_") else ():
            found = importlib.import_module(module)
            if name in vars(found):
                return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)

    return load


def modules_in(package: str) -> list[str]:
    """The modules of a package, packages inside left out."""
    path = importlib.import_module(package).__path__
    return [f"{package}.{m.name}" for m in pkgutil.iter_modules(path) if not m.ispkg]


def experiment_modules() -> list[str]:
    """The modules in the experiments' folders."""
    root = "pat.study.experiments"
    folders = pkgutil.iter_modules(importlib.import_module(root).__path__)
    return [module for m in folders if m.ispkg for module in modules_in(f"{root}.{m.name}")]
