"""OpenAPI schemas of the Kubernetes API as strict JSON schemas.

Strict means what the API server's field validation `Strict` means: an unknown field is an error. As there, `null`
counts as absent for every optional field. Everything is written out in place, because kubeconform reports the path of
an error only down to the first `$ref`. One thing goes beyond the OpenAPI document: `spec` is optional in it for most
kinds, also for those without which the API server's own validation refuses the object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DRAFT = "http://json-schema.org/draft-04/schema#"

_KEPT = (
    *("required", "pattern", "minLength", "maxLength", "minProperties", "maxProperties", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "uniqueItems"),
    *("anyOf", "allOf", "oneOf", "not"),
)
_PREFIX = "#/definitions/"
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_CORE = "io.k8s.api.core.v1"
_NEEDED = frozenset(
    (
        *(f"{_CORE}.{each}Spec" for each in ("PersistentVolumeClaim", "PersistentVolume", "Service")),
        f"{_CORE}.ReplicationControllerSpec",
        "io.k8s.api.networking.v1.IngressSpec",
    )
)
"""Specifications that must be there although the document names no required field of them (pkg/apis/*/validation)."""
_MAY_BE_ABSENT = frozenset((f"{_CORE}.LimitRangeSpec",))
"""Specifications with required fields that may be absent as a whole."""
ANY_METADATA: Mapping[str, Any] = {"definitions": {_METADATA: {"type": "object"}}}
"""A document for `crd_schemas` in which metadata may hold anything."""
_OTHER_TYPES: Mapping[str, list[str]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
}


@dataclass(frozen=True)
class KindSchema:
    """The strict JSON schema of one version of a kind; `group` is empty for the core one."""

    group: str
    version: str
    kind: str
    schema: Mapping[str, Any]


def builtin_schemas(openapi: Mapping[str, Any]) -> Iterator[KindSchema]:
    """Of every kind that Kubernetes itself defines.

    Alpha versions are left out: no EKS cluster serves them.

    Args:
        openapi: an API server's OpenAPI v2 document.
    """
    strict = _Strict(openapi["definitions"])
    for definition in openapi["definitions"].values():
        kinds = definition.get("x-kubernetes-group-version-kind", ())
        if len(kinds) == 1 and "alpha" not in kinds[0]["version"]:
            yield strict.kind(kinds[0]["group"], kinds[0]["version"], kinds[0]["kind"], definition)


def crd_schemas(crd: Mapping[str, Any], openapi: Mapping[str, Any]) -> Iterator[KindSchema]:
    """Of every version that a CRD serves; `openapi` defines what `metadata` holds."""
    strict = _Strict(openapi["definitions"])
    spec = crd["spec"]
    for version in spec["versions"]:
        if version.get("served"):
            structural = version["schema"]["openAPIV3Schema"]
            metadata = {"metadata": {"$ref": _PREFIX + _METADATA}}
            whole = {**structural, "properties": {**structural.get("properties", {}), **metadata}}
            yield strict.kind(spec["group"], version["name"], spec["names"]["kind"], whole)


class _Strict:
    """Converts schemas that refer to the definitions of one OpenAPI document; each definition once."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._converted: dict[tuple[str, bool], dict[str, Any]] = {}
        self._open: set[str] = set()

    def kind(self, group: str, version: str, kind: str, definition: Mapping[str, Any]) -> KindSchema:
        """A kind's own schema; kubeconform looks for it by the first part of the group only, so it names itself."""
        schema = {"$schema": DRAFT, **self.convert(definition)}
        itself = {"apiVersion": {"enum": [f"{group}/{version}" if group else version]}, "kind": {"enum": [kind]}}
        return KindSchema(group, version, kind, {**schema, "properties": {**schema["properties"], **itself}})

    def convert(self, schema: Mapping[str, Any], *, null: bool = False) -> dict[str, Any]:
        """One schema with all that it refers to; `null` allows that value beside."""
        if "$ref" in schema:
            return self._definition(schema["$ref"].removeprefix(_PREFIX), null=null)
        types = _types(schema)
        null = null or schema.get("nullable", False)
        converted = {key: value for key, value in schema.items() if key in _KEPT}
        if schema.get("x-kubernetes-int-or-string"):
            converted.pop("anyOf", None)
        if types:
            converted["type"] = [*types, "null"] if null else types if len(types) > 1 else types[0]
        if "enum" in schema:
            converted["enum"] = [*schema["enum"], None] if null else schema["enum"]
        if schema.get("format") == "date-time":
            converted["format"] = "date-time"
        if isinstance(schema.get("items"), dict):
            converted["items"] = self.convert(schema["items"])
        return converted | self._fields(schema)

    def _fields(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if "properties" in schema:
            required = list(schema.get("required", ()))
            if "spec" not in required and self._needs_spec(schema):
                fields["required"] = required = [*required, "spec"]
            fields["properties"] = {
                name: self.convert(each, null=name not in required) for name, each in schema["properties"].items()
            }
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                fields["additionalProperties"] = False
        if isinstance(schema.get("additionalProperties"), dict):
            fields["additionalProperties"] = self.convert(schema["additionalProperties"], null=True)
        return fields

    def _needs_spec(self, schema: Mapping[str, Any]) -> bool:
        name = schema["properties"].get("spec", {}).get("$ref", "").removeprefix(_PREFIX)
        required = self._definitions.get(name, {}).get("required")
        return name in _NEEDED or bool(required and name not in _MAY_BE_ABSENT)

    def _definition(self, name: str, *, null: bool) -> dict[str, Any]:
        if name in self._open:  # a schema that holds itself, as a CRD's does: not looked into twice
            return {}
        if (name, null) not in self._converted:
            self._open.add(name)
            definition = self._definitions[name]
            if name in _OTHER_TYPES:
                definition = {"x-kubernetes-types": _OTHER_TYPES[name]}
            self._converted[name, null] = self.convert(definition, null=null)
            self._open.remove(name)
        return self._converted[name, null]


def _types(schema: Mapping[str, Any]) -> list[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return ["integer", "string"]
    return schema.get("x-kubernetes-types") or ([schema["type"]] if "type" in schema else [])
