"""YAML from files that anybody may have written: data, bounded in size, or a clear error."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from pat.files.plain import shown

_LONGEST_TEXT = 500_000
_MOST_VALUES = 100_000
_LONGEST_NUMBER = 100
_DEEPEST = 60
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Shallow(yaml.composer.Composer):
    """Stops where a document is nested deeper than anything that is read here."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Values(_Shallow, yaml.SafeLoader):
    pass


class _Texts(_Shallow, yaml.BaseLoader):
    pass


def load_yaml(text: str, *, numbers_as_text: bool = False) -> Any:
    """The value in a YAML text; tags that would build objects of Python's are errors.

    An alias counts as often as it is used, so that a few lines cannot stand for billions of values.

    Args:
        text: one document.
        numbers_as_text: leave every value as the text that it is written with.

    Raises:
        ValueError: saying what is wrong; a key that is there twice, and sizes out of all proportion, too.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"{len(text):,} characters are more than the {_LONGEST_TEXT:,} that are read as YAML"
        )
    return copy.deepcopy(_parsed(text, numbers_as_text))


@lru_cache(maxsize=64)
def _parsed(text: str, numbers_as_text: bool) -> Any:
    """Profiles and manifests are read again and again, and each time would take some 20 ms."""
    try:
        loader = (_Texts if numbers_as_text else _Values)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    # The constructors of PyYAML's own tags raise whatever their conversion does, as for "!!bool x".
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"a value is not what its tag says ({type(error).__name__}: {error})") from None


def read_mapping(file: Path, *, numbers_as_text: bool = False) -> dict[Any, Any]:
    """The mapping in a YAML file, see :func:`load_yaml`.

    Raises:
        ValueError: as :func:`load_yaml`, and for any other value.
        OSError: if the file cannot be read.
    """
    content = load_yaml(file.read_text(encoding="utf-8"), numbers_as_text=numbers_as_text)
    if not isinstance(content, dict):
        raise ValueError(f"expected a mapping of fields, got {shown(content)}")
    return content


def _count(node: Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, with all its aliases written out."""
    if id(node) in known:
        values = known[id(node)]
        if values is None:
            raise ValueError(f"line {node.start_mark.line + 1}: a value contains itself")
        return values
    known[id(node)] = None
    values = 1
    if isinstance(node, ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise ValueError(f"line {node.start_mark.line + 1}: a number of {len(node.value):,} characters")
    elif isinstance(node, MappingNode):
        _check_keys(node)
        values += sum(_count(key, known) + _count(value, known) for key, value in node.value)
    else:
        values += sum(_count(item, known) for item in node.value)
    if values > _MOST_VALUES:
        raise ValueError(f"with its aliases written out it has more than {_MOST_VALUES:,} values")
    known[id(node)] = values
    return values


def _check_keys(node: MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            name = (key.tag, key.value)
            if name in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: {shown(key.value)} is there twice")
            seen.add(name)
