"""Plain data as the dataclass that it was written from, each part in the type that is declared."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def typed(kind: Any, content: Any, path: str = "") -> Any:
    """The content as a `kind`.

    Args:
        kind: a dataclass, a mapping by text, a tuple of any length, a plain type, or one of these or None.
        content: as YAML or JSON gives it.
        path: to it, for errors.

    Raises:
        ValueError: a part has another type, is missing or is not known; the message names its path.
    """
    origin = get_origin(kind)
    if origin is UnionType:
        (other,) = (member for member in get_args(kind) if member is not NoneType)
        return None if content is None else typed(other, content, path)
    if is_dataclass(kind):
        return _instance(kind, content, path)
    if origin is Mapping:
        item = get_args(kind)[1]
        return {name: typed(item, value, _below(path, name)) for name, value in _mapping(content, path).items()}
    if origin is tuple:
        if not isinstance(content, list):
            raise _wrong(path, content, "a list")
        return tuple(typed(get_args(kind)[0], element, f"{path}[{number}]") for number, element in enumerate(content))
    accepted = (int, float) if kind is float else kind
    if not isinstance(content, accepted) or (isinstance(content, bool) and kind is not bool):
        raise _wrong(path, content, _WORDS[kind])
    return content


def _instance(kind: Any, content: Any, path: str) -> Any:
    known, given = {field.name: field for field in fields(kind)}, _mapping(content, path)
    for name in given:
        if name not in known:
            raise ValueError(f"{_below(path, name)}: no such key; known: {', '.join(known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{_below(path, name)}: missing")
    types = get_type_hints(kind)
    values = {name: typed(types[name], value, _below(path, name)) for name, value in given.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(_below(path, error)) from error


def _mapping(content: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise _wrong(path, content, "a mapping")
    for name in content:
        if not isinstance(name, str):
            raise _wrong(_below(path, name), name, "text")
    return content


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _wrong(path: str, content: object, wanted: str) -> ValueError:
    shown = content if isinstance(content, str | int | float | None) else type(content).__name__
    return ValueError(f"{path or '(top level)'}: {shown!r} is not {wanted}")
