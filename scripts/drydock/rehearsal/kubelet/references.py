"""What a pod names of other objects: ConfigMaps, Secrets and its own fields."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.errors import DrydockError
from drydock.rehearsal.kubelet.pod_addresses import Address

_KINDS = {"configMap": ("configmaps", "ConfigMap"), "secret": ("secrets", "Secret")}
_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class MissingReferenceError(DrydockError):
    """A pod cannot start yet: something that it names is not there."""


@dataclass(frozen=True)
class References:
    """Reads what one pod names.

    Args:
        api: of the cluster.
        pod: as it is now.
        address: of the pod.
    """

    api: Api
    pod: Mapping[str, Any]
    address: Address

    def files(self, kind: str, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """Content of a `configMap` or `secret` of the pod's namespace by key.

        Raises:
            MissingReferenceError: it is not there, and not optional.
        """
        plural, told = _KINDS[kind]
        found = self.api.find(f"{collection('v1', plural, self.pod['metadata']['namespace'])}/{name}")
        if found is None:
            if optional:
                return {}
            raise MissingReferenceError(f"{told} {name} not found")
        encoded = {**(found.get("binaryData") or {}), **((found.get("data") or {}) if kind == "secret" else {})}
        plain = (found.get("data") or {}) if kind == "configMap" else {}
        return {
            **{key: base64.b64decode(value) for key, value in encoded.items()},
            **{key: value.encode() for key, value in plain.items()},
        }

    def value(self, source: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
        """What `valueFrom` gives; None for an optional reference to nothing.

        Raises:
            MissingReferenceError: it names something that is not there.
        """
        if "fieldRef" in source:
            return self.field(source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            return resource(container, source["resourceFieldRef"]["resource"])
        for key, kind in (("configMapKeyRef", "configMap"), ("secretKeyRef", "secret")):
            if key in source:
                return self._key(kind, source[key])
        return None

    def field(self, path: str) -> str:
        """A field of the pod, as the downward API gives it; its IP is the one that it can listen on here."""
        if path in ("status.podIP", "status.podIPs"):
            return self.address.host
        if found := _KEYED.match(path):
            return str((self.pod["metadata"].get(found[1]) or {}).get(found[2], ""))
        node: Any = self.pod
        for part in path.split("."):
            node = node.get(part, "") if isinstance(node, Mapping) else ""
        if isinstance(node, Mapping):
            return "\n".join(f'{key}="{value}"' for key, value in sorted(node.items()))
        return str(node)

    def _key(self, kind: str, reference: Mapping[str, Any]) -> str | None:
        optional = bool(reference.get("optional"))
        content = self.files(kind, reference["name"], optional=optional)
        if reference["key"] in content:
            return content[reference["key"]].decode()
        if optional:
            return None
        raise MissingReferenceError(f"{_KINDS[kind][1]} {reference['name']} has no key {reference['key']}")


def resource(container: Mapping[str, Any], path: str) -> str:
    """`limits.memory` and the like of a container in bytes or whole cores, as the downward API gives it."""
    from drydock.scheduling.instance_types.quantity import amounts

    part, _, name = path.partition(".")
    amount = amounts((container.get("resources") or {}).get(part)).get(name, 0)
    return str(-(-amount // 1000) if name == "cpu" else amount)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Kubernetes' own `$(NAME)`; `$$(NAME)` and unknown names stay."""

    def replaced(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        return variables.get(found[1], found[0])

    return re.sub(r"\$?\$\(([^()]+)\)", replaced, text)


def environment(container: Mapping[str, Any], references: References) -> dict[str, str]:
    """The variables that a container's `envFrom` and `env` give, in their order.

    Raises:
        MissingReferenceError: they name something that is not there.
    """
    found: dict[str, str] = {}
    sources: Sequence[Mapping[str, Any]] = container.get("envFrom") or ()
    for source in sources:
        for key, kind in (("configMapRef", "configMap"), ("secretRef", "secret")):
            if key in source:
                content = references.files(kind, source[key]["name"], optional=bool(source[key].get("optional")))
                found |= {f"{source.get('prefix', '')}{name}": value.decode() for name, value in content.items()}
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            value = references.value(variable["valueFrom"], container)
        else:
            value = expand(variable.get("value", ""), found)
        if value is not None:
            found[variable["name"]] = value
    return found
