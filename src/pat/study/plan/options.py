"""Settings as data: what is written to disk, and the fields of a registry's dataclasses as a model."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, SerializationInfo, ValidationError, create_model

from pat.files.errors import explain
from pat.registry import Settings


class Frozen(BaseModel):
    """Base of everything that is written to disk: unknown fields and NaN are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


AnyEntry = TypeVar("AnyEntry", bound=Settings)


def validated(entry: type[AnyEntry], options: Mapping[str, Any]) -> AnyEntry:
    """A registry's entry with these settings.

    Raises:
        ValueError: for a setting that it lacks, that is missing, of another type or out of range.
    """
    model = _model(entry)
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    return entry(**{name: getattr(checked, name) for name in model.model_fields})


def written(entry: Settings, info: SerializationInfo) -> dict[str, Any]:
    """An entry's settings as data, without those at their default where a spec's id is made."""
    content = _model(type(entry)).model_validate(entry.options())
    mode = "json" if info.mode_is_json() else "python"
    return content.model_dump(mode=mode, exclude_defaults=info.exclude_defaults)


def _fields(entry: Any) -> type[BaseModel]:
    """The fields that a dataclass is made with, as a model."""
    wanted: dict[str, Any] = {}
    for field in fields(entry):
        if field.init:
            default = ... if field.default is MISSING else field.default
            wanted[field.name] = (field.type, default)
    return create_model(entry.__name__, __base__=Frozen, __module__=entry.__module__, **wanted)


_model: Callable[[Any], type[BaseModel]] = cache(_fields)
