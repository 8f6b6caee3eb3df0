"""Registries: criteria, policies and methods by name, the package's own and those that others add.

An entry is one file, which registers what it defines when it is imported. The files of ``pat.rivals``
are found by themselves, and so are the modules that an installed package names as entry points of the group
``pat``. Others are imported: by a script, or by a profile of the study that names them as its plugins.
"""

import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, TypeVar

Entry = TypeVar("Entry")
AnyEntry = TypeVar("AnyEntry")

PACKAGE = "pat.rivals"
GROUP = "pat"
_plugins: dict[str, None] = {}


class UnknownName(ValueError):
    """There is no such entry: no file that has been loaded registers it."""


@dataclass(frozen=True)
class Settings:
    """Base of entries whose fields are their settings: plain values, with plain defaults."""

    def options(self) -> dict[str, Any]:
        """The fields that it is made with."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @classmethod
    def takes(cls) -> dict[str, bool]:
        """The names of its settings, and whether each has to be given."""
        return {f.name: f.default is MISSING for f in fields(cls) if f.init}


class Registry(Mapping[str, Entry]):
    """Entries of one kind, in the order in which they were registered.

    ``Annotated[str, registry]`` is one of its names to pydantic.

    Args:
        kind: what its entries are, for messages.
        by: the attribute that holds an entry's name.
    """

    def __init__(self, kind: str, by: str = "name") -> None:
        self.kind = kind
        self._by = by
        self._entries: dict[str, Entry] = {}

    def register(self, entry: AnyEntry) -> AnyEntry:
        """Take an entry; for classes this is a decorator.

        Raises:
            ValueError: if another one has its name. The same file may be loaded anew.
        """
        name = getattr(entry, self._by)
        known = self._entries.get(name)
        if known is not None and _home(known) != _home(entry):
            raise ValueError(f"there is a {self.kind} {name!r} already, of {_home(known)}")
        self._entries[name] = entry  # type: ignore[assignment]
        return entry

    def find(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownName: listing the known ones.
        """
        if name not in self:
            raise UnknownName(f"unknown {self.kind} {name!r}; known are {', '.join(self)}")
        return self[name]

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            complete()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        complete()
        return iter(self._entries)

    def __len__(self) -> int:
        complete()
        return len(self._entries)

    __eq__, __hash__ = object.__eq__, object.__hash__  # there is one of each kind

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> dict[str, Any]:
        # A core schema is plain data, so that the method needs no pydantic.
        check = {"type": "no-info", "function": self._known}
        return {"type": "function-after", "function": check, "schema": handler(source)}

    def _known(self, name: str) -> str:
        self.find(name)
        return name


def load(modules: Iterable[str], folder: Path | None = None) -> None:
    """Import modules for what they register.

    Args:
        modules: their names.
        folder: where they may lie, beside the places that Python knows.

    Raises:
        ValueError: if one cannot be imported.
    """
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    for name in modules:
        _load(f"plugin {name!r}", partial(import_module, name))
        _plugins[name] = None


def plugins() -> list[str]:
    """What :func:`load` has loaded; another process that is to know it all loads them, too."""
    return list(_plugins)


@cache
def complete() -> None:
    """Load what is found by itself.

    Raises:
        ValueError: if a module that an installed package names cannot be imported.
    """
    for module in pkgutil.iter_modules(import_module(PACKAGE).__path__, f"{PACKAGE}."):
        import_module(module.name)
    for point in metadata.entry_points(group=GROUP):
        _load(f"entry point {GROUP}.{point.name} = {point.value!r}", point.load)


def _load(what: str, importing: Callable[[], object]) -> None:
    try:
        importing()
    except Exception as error:
        raise ValueError(f"the {what} cannot be imported: {error}") from error


def _home(entry: object) -> str:
    """Where an entry is written."""
    return str(getattr(entry, "__module__", None)) if isinstance(entry, type) else repr(entry)
