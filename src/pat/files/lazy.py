"""Packages whose modules are loaded when a name of theirs is first asked for (PEP 562)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def exports(
    package: str, contents: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that loads nothing before it is needed.

    Torch takes seconds to load; whoever only reads records should not wait for it.

    Args:
        package: its ``__name__``.
        contents: for each module of the package the names in it that are the package's own, too. No name may
            be that of a module. Of a module further down (``"a.b"``) only these names are.
    """
    homes = {name: module for module, names in contents.items() for name in names}

    def load(name: str) -> object:
        home = sys.modules[package]
        if name in contents:
            return import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=home)
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(home, name, value)  # the next time it is there
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *(name for name in contents if "." not in name), *homes})

    return load, listed
