"""JSON Schema of a chart's values, from its annotated values.yaml and the types that it names.

An annotation holds keywords of JSON Schema, and four shorthands that values.types.yaml may use too:

    type: NAME     a type of JSON Schema, one of values.types.yaml, or `.path.of.a.key`: whatever that key takes; `or`
                   joins several. In an annotation the name alone will do: `integer or null, minimum: 1`
    entries: TYPE  a map by names of the user's own; `names: TYPE` says what the names look like
    items: TYPE    a list
    open: true     keys that are not listed may be set, too

Whatever has `properties` is a map that takes no other key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.errors import UsageError
from drydock.suite.annotations.source import KeyPath, Value

Schema = dict[str, Any]
Types = Mapping[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
GLOBALS = ("global",)
"""Path of what every chart reads. Its keys stand in the umbrella's values.yaml, and other charts leave it empty."""
_JSON_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_SHORTHANDS = ("type", "entries", "names", "items", "open", "properties", "anyOf")
_KEYWORDS = (
    "const",
    "dependentRequired",
    "description",
    "enum",
    "exclusiveMinimum",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "required",
    "uniqueItems",
)


@dataclass(frozen=True)
class ChartTypes:
    """Types that the annotations of a chart may name.

    Attributes:
        types: shorthand schema by name, those of the chart over those of the library chart.
        unset: schemas of keys that values.yaml leaves out, by the path of the key around them; the root's is `.`.
    """

    types: Types = field(default_factory=dict)
    unset: Mapping[str, Types] = field(default_factory=dict)


def chart_schema(title: str, values: Value, types: ChartTypes, dependencies: Iterable[str], globals_: Schema) -> Schema:
    """The schema of a chart.

    Args:
        title: name of the chart.
        values: root of its values.yaml.
        types: that it may name.
        dependencies: names of the charts within it, to which Helm hands the globals.
        globals_: schema of `global`, the same for each chart.

    Raises:
        UsageError: an annotation names an unknown type, or a default without a type has no annotation.
    """
    builder = _Builder(title, values, types)
    root = builder.of_value(values)
    properties: Schema = root["properties"]
    if globals_:
        own = [child.description for child in values.children if child.path == GLOBALS and child.description]
        properties["global"] = globals_ | ({"description": own[0]} if own else {})
    for dependency in dependencies:
        _let_globals_through(properties, dependency)
    head = {"$schema": DRAFT, "title": title, **root}
    return {**head, "$defs": builder.definitions} if builder.definitions else head


def global_schema(umbrella: Value, types: ChartTypes) -> Schema:
    """The schema of `global`, with the types that it names written out."""
    builder = _Builder("global", umbrella, types, inline=True)
    return builder.of_value(next(child for child in umbrella.children if child.path == GLOBALS))


def _let_globals_through(properties: Schema, dependency: str) -> None:
    handed = {"type": "object", "description": "Globals, which Helm hands to every chart within."}
    known = properties.setdefault(
        dependency,
        {"type": "object", "description": "Globals, for the chart within.", "additionalProperties": False},
    )
    if known.get("additionalProperties") is False:
        known.setdefault("properties", {})["global"] = handed


@dataclass
class _Builder:
    chart: str
    root: Value
    types: ChartTypes
    inline: bool = False
    definitions: dict[str, Schema] = field(default_factory=dict)

    def of_value(self, value: Value) -> Schema:
        """The schema of a key of values.yaml."""
        annotation = self._written_out(value.annotation)
        if value.description:
            annotation["description"] = value.description
        unset = self.types.unset.get(".".join(value.path) or ".", {})
        if (value.children and not {"entries", "type"} & set(annotation)) or unset or not value.path:
            own = {
                child.path[-1]: self.of_value(child)
                for child in value.children
                if child.path != GLOBALS or child.children
            }
            more = {key: self.of_shorthand(schema) for key, schema in unset.items()}
            return self._closed(annotation, {**own, **more})
        if not {"type", "enum", "const", "anyOf", "entries"} & set(annotation):
            annotation["type"] = self._inferred(value)
        return self.of_shorthand(annotation)

    def of_shorthand(self, shorthand: Any) -> Schema:
        """The schema that a shorthand stands for."""
        given: dict[str, Any] = {"type": shorthand} if isinstance(shorthand, str) else self._written_out(shorthand)
        if "properties" in given:
            properties = {key: self.of_shorthand(schema) for key, schema in given["properties"].items()}
            return self._closed({key: value for key, value in given.items() if key != "properties"}, properties)
        schema: Schema = {}
        if "entries" in given:
            schema["type"] = "object"
            schema["additionalProperties"] = self.of_shorthand(given["entries"])
            if "names" in given:
                schema["propertyNames"] = self.of_shorthand(given["names"])
        if "items" in given:
            schema["type"] = "array"
            schema["items"] = self.of_shorthand(given["items"])
        if "type" in given:
            schema |= self._of_type(given["type"])
        return schema | self._keywords(given)

    def _keywords(self, given: Mapping[str, Any]) -> Schema:
        """What a shorthand takes over from JSON Schema as it is."""
        keywords: Schema = {key: value for key, value in given.items() if key in _KEYWORDS}
        if "anyOf" in given:
            keywords["anyOf"] = [self.of_shorthand(alternative) for alternative in given["anyOf"]]
        return keywords

    def _closed(self, given: Mapping[str, Any], properties: Schema) -> Schema:
        schema: Schema = self._of_type(given.get("type", "object"))
        schema |= self._keywords(given)
        if not given.get("open"):
            schema["additionalProperties"] = False
        return {**schema, "properties": properties}

    def _of_type(self, named: str) -> Schema:
        schemas = [self._of_name(name) for name in named.split(" or ")]
        if len(schemas) == 1:
            return schemas[0]
        if all(set(schema) == {"type"} for schema in schemas):
            return {"type": [kind for schema in schemas for kind in _kinds(schema)]}
        null: Schema = {"type": "null"}
        others = [schema for schema in schemas if schema != null]
        if len(others) == 1:  # not anyOf, of which Helm would report the branch that does not matter, too
            return {"if": {"not": null}, "then": others[0]}
        return {"anyOf": schemas}

    def _of_name(self, name: str) -> Schema:
        if name in _JSON_TYPES:
            return {"type": name}
        if name.startswith("."):
            self._check_path(tuple(name[1:].split(".")))
            return {"$ref": "#/" + "/".join(f"properties/{key}" for key in name[1:].split("."))}
        if name not in self.types.types:
            known = ", ".join(sorted((*_JSON_TYPES, *self.types.types)))
            raise UsageError(
                f"charts/{self.chart}: no type is named {name}",
                remedy=f"Name one of {known}, a `.path` of values.yaml, or add it to values.types.yaml.",
            )
        if self.inline:
            return self.of_shorthand(self.types.types[name])
        if name not in self.definitions:
            self.definitions[name] = {}  # a type may name itself
            self.definitions[name] = self.of_shorthand(self.types.types[name])
        return {"$ref": f"#/$defs/{name}"}

    def _check_path(self, path: KeyPath) -> None:
        if not any(value.path == path for value in self.root.descendants()):
            raise UsageError(
                f"charts/{self.chart}/values.yaml: nothing stands at {'.'.join(path)}, which a type names",
                remedy="Correct the path.",
            )

    def _inferred(self, value: Value) -> str:
        match value.default:
            case bool():
                return "boolean"
            case int():
                return "integer"
            case float():
                return "number"
            case str():
                return "string"
            case list() if "items" in value.annotation:
                return "array"
        key = ".".join(value.path)
        raise UsageError(
            f"charts/{self.chart}/values.yaml:{value.line}: the default of {key} does not say its type",
            remedy="Add `# @schema entries: TYPE` for a map, `items: TYPE` for a list, or `TYPE or null`.",
        )

    def _written_out(self, annotation: Mapping[str, Any]) -> dict[str, Any]:
        """An annotation whose words without a value are the name of its type, and `open`."""
        words = [key for key, value in annotation.items() if value is None and key != "open"]
        written = {key: True if key == "open" else value for key, value in annotation.items() if key not in words}
        unknown = sorted({*written} - {*_SHORTHANDS, *_KEYWORDS}) or words[1:]
        if unknown:
            raise UsageError(
                f"charts/{self.chart}: {unknown[0]} is not a keyword of an annotation",
                remedy=f"Known: {', '.join(sorted((*_SHORTHANDS, *_KEYWORDS)))}; and the name of one type.",
            )
        return written | ({"type": words[0]} if words else {})


def _kinds(schema: Schema) -> list[str]:
    return [schema["type"]] if isinstance(schema["type"], str) else list(schema["type"])
