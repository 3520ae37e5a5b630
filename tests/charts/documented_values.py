"""Every value that a chart documents, and another value for each.

A chart documents what stands in its values.yaml and what its schema allows beyond that. value_samples/CHART.yaml holds

    base       values without which the chart renders nothing worth comparing
    samples    values for keys that values.yaml leaves empty or out, and for those whose other value is not plain to see
    others     a second value for keys inside of `samples`, where it is not plain to see
    contexts   values that must stand beside a key for it to matter: a list of `for` (key paths) and `values`

The other value of a switch, a number, a choice or a text with a digit in it needs no sample. Nor do types that
another test tries at every place (TRIED_ELSEWHERE): here it is enough that each place is read.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

KeyPath = tuple[str | int, ...]
Schema = Mapping[str, Any]
MISSING: Any = object()
TRIED_ELSEWHERE = {"#/$defs/pod": {"labels": {"team": "search"}}}
"""Values by reference of a type; test_pod_additions.py tries each key of the one type there is."""


class NoOtherValueError(Exception):
    """A key needs a sample."""


@dataclass(frozen=True)
class Change:
    """One key with two values.

    Attributes:
        path: of the key.
        before: value tree with the key as it is.
        after: the same with the key changed.
    """

    path: KeyPath
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The key as people write it."""
        return ".".join(map(str, self.path))


@dataclass(frozen=True)
class Documented:
    """What a chart documents.

    Attributes:
        defaults: content of values.yaml.
        schema: content of values.schema.json.
        samples: content of value_samples/CHART.yaml.
    """

    defaults: Mapping[str, Any]
    schema: Schema
    samples: Mapping[str, Any] = field(default_factory=dict)

    def changes(self) -> Iterator[Change]:
        """A change of each key that values.yaml or `samples` holds, and of each key inside of those samples."""
        samples = self.samples.get("samples") or {}
        for path, default in leaves(self.defaults):
            if (elsewhere := TRIED_ELSEWHERE.get(self._reference(path))) is not None:
                yield self._change(path, {}, elsewhere)
                continue
            value = get(samples, path)
            if value is MISSING:
                value = self._other(path, default)
            yield self._change(path, {}, value)
            yield from self._inside(path, value, default)
        for path, value in missing_from(self.defaults, samples):
            yield self._change(path, {}, value)
            yield from self._inside(path, value, MISSING)

    def _reference(self, path: KeyPath) -> str:
        return str([inner for _, _, inner in steps(self.schema, path)][-1].get("$ref", "")) if path else ""

    def _inside(self, path: KeyPath, value: Any, default: Any) -> Iterator[Change]:
        """Changes inside of a sample that stands where values.yaml has nothing."""
        if isinstance(value, dict | list) and value and (default is MISSING or not default):
            for inner, leaf in leaves(value):
                if inner and (isinstance(value, dict) or isinstance(leaf, Mapping) or len(inner) > 1):
                    whole = put({}, path, value)
                    yield self._change((*path, *inner), whole, self._other((*path, *inner), leaf))

    def _change(self, path: KeyPath, beneath: Mapping[str, Any], value: Any) -> Change:
        before = merged(self.samples.get("base") or {}, beneath)
        for context in self.samples.get("contexts") or ():
            if any(starts_with(path, prefix) for prefix in context["for"]):
                before = merged(before, context["values"])
        return Change(path, before, put(before, path, value))

    def _other(self, path: KeyPath, value: Any) -> Any:
        given = get(self.samples.get("others") or {}, path)
        if given is not MISSING:
            return given
        try:
            return other(value, subschema(self.schema, path))
        except NoOtherValueError as error:
            raise NoOtherValueError(f"{'.'.join(map(str, path))}: add a sample for {value!r}") from error


def leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Paths and values of what has nothing beneath it; a list of plain values is one value."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list) and any(isinstance(each, dict | list) for each in tree):
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path, tree


def missing_from(tree: Any, samples: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Topmost keys of `samples` that `tree` does not have."""
    if isinstance(samples, dict) and isinstance(tree, dict) and tree:
        for key, value in samples.items():
            if key not in tree:
                yield (*path, key), value
            else:
                yield from missing_from(tree[key], value, (*path, key))


def get(tree: Any, path: KeyPath) -> Any:
    """The value at a path, or MISSING."""
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return tree


def put(tree: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """A copy of a tree with a value at a path."""
    result: dict[str, Any] = deepcopy(dict(tree))
    node: Any = result
    for key in path[:-1]:
        if isinstance(node, list):
            node = node[int(key)]
        else:
            if not isinstance(node.get(key), dict | list):
                node[key] = {}
            node = node[key]
    node[path[-1]] = value
    return result


def merged(base: Any, overlay: Any) -> Any:
    """One tree over another."""
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        keys = [*base, *(key for key in overlay if key not in base)]
        return {
            key: merged(base[key], overlay[key]) if key in base and key in overlay else overlay.get(key, base.get(key))
            for key in keys
        }
    return deepcopy(overlay)


def starts_with(path: KeyPath, prefix: str) -> bool:
    """Whether a path is or begins with a written one."""
    return f"{'.'.join(map(str, path))}.".startswith(f"{prefix}.")


def other(value: Any, schema: Schema) -> Any:
    """A value that the schema allows and that differs.

    Raises:
        NoOtherValueError: none is plain to see.
    """
    choices = schema.get("enum") or (("const" in schema and [schema["const"]]) or [])
    remaining = [each for each in choices if each != value and each not in ("", None)]
    if remaining:
        return remaining[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        step = 1 if isinstance(value, int) else 0.01
        return value - step if "maximum" in schema and value + step > schema["maximum"] else value + step
    if isinstance(value, str) and value:
        return _other_text(value, schema)
    if isinstance(value, list) and value and not isinstance(value[0], dict | list):
        return _other_list(value, schema)
    if value is None:
        return _first(schema)
    raise NoOtherValueError


def _other_text(value: str, schema: Schema) -> str:
    digits = [index for index, character in enumerate(value) if character.isdigit()]
    candidates = [f"{value[:index]}{int(value[index]) % 8 + 1}{value[index + 1 :]}" for index in digits[:1]]
    for candidate in (*candidates, f"{value}2"):
        if re.search(schema.get("pattern", ""), candidate):
            return candidate
    raise NoOtherValueError


def _other_list(value: list[Any], schema: Schema) -> list[Any]:
    items = schema.get("items", {})
    unused = [each for each in items.get("enum", ()) if each not in value]
    if unused:
        return [*value[:-1], unused[0]]
    if len(value) > 1:
        return value[1:]
    return [other(value[0], items)]


def _first(schema: Schema) -> Any:
    types = schema.get("type", ())
    kinds = [types] if isinstance(types, str) else types
    if "boolean" in kinds:
        return True
    if "integer" in kinds:
        return max(int(schema.get("minimum", 1)), 1)
    raise NoOtherValueError


def resolve(schema: Schema, root: Schema) -> Schema:
    """A schema with its reference followed."""
    while "$ref" in schema:
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def branches(schema: Schema, root: Schema) -> Iterator[Schema]:
    """A schema and the alternatives in it."""
    schema = resolve(schema, root)
    yield schema
    for key in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(key, ()):
            yield from branches(branch, root)
    if "then" in schema:
        yield from branches(schema["then"], root)


def steps(root: Schema, path: KeyPath) -> Iterator[tuple[Schema, str | int, Schema]]:
    """For each key of a path: the schema around it, the key and its own schema, which is empty when nothing is said."""
    current: Sequence[Schema] = list(branches(root, root))
    for key in path:
        around, found = next(
            ((each, inner) for each in current if (inner := _step(each, key)) is not None), (current[0], {})
        )
        yield around, key, found
        current = list(branches(found, root))


def _step(schema: Schema, key: str | int) -> Schema | None:
    if isinstance(key, int):
        items = schema.get("items")
        return items if isinstance(items, Mapping) else None
    if key in schema.get("properties", {}):
        inner: Schema = schema["properties"][key]
        return inner
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else None


def subschema(root: Schema, path: KeyPath) -> Schema:
    """What the schema says of the value at a path, all alternatives in one."""
    found = [inner for _, _, inner in steps(root, path)][-1] if path else root
    combined: dict[str, Any] = {}
    for branch in branches(found, root):
        combined = {**branch, **combined}
    return combined


def properties(root: Schema, *, but: Collection[str] = ()) -> Iterator[tuple[Schema, str, str]]:
    """Every property that a schema names: the schema around it, the property, and a path to find it by.

    Those of the types that `but` refers to are left out.
    """
    seen: set[int] = set()

    def walk(schema: Schema, path: str) -> Iterator[tuple[Schema, str, str]]:
        if schema.get("$ref") in but:
            return
        for each in branches(schema, root):
            if id(each) in seen:
                continue
            seen.add(id(each))
            for key, inner in each.get("properties", {}).items():
                yield each, key, f"{path}.{key}".lstrip(".")
                yield from walk(inner, f"{path}.{key}")
            for key in ("additionalProperties", "items"):
                if isinstance(each.get(key), Mapping):
                    yield from walk(each[key], f"{path}.*")

    yield from walk(root, "")
