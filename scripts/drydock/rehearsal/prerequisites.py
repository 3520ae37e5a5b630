"""What an environment takes for granted in its cluster: namespaces, storage classes, and Secrets that users bring."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.environments import Environment
from drydock.manifests import Manifest
from drydock.rehearsal.api import Api, collection
from drydock.rehearsal.volumes import STORAGE_CLASSES, storage_class

DEFAULT_STORAGE_CLASS = "gp3"
_NAMESPACES = collection("v1", "namespaces")
_OPERATORS = {
    "LeaderWorkerSet": "LeaderWorkerSet's controller runs in the cluster; here nothing made the pods of its objects",
    "ScaledObject": "KEDA's operator runs in the cluster; here ScaledObjects were accepted, and nothing scaled",
}


@dataclass(frozen=True)
class Prerequisites:
    """What must be in a cluster before an environment is installed.

    Attributes:
        namespaces: that its objects name and none of them makes.
        storage_classes: that its volumes name and none of its objects makes; True for those of shared volumes.
        secrets: keys by name of the Secrets that the environment says lie in its namespace.
        namespace: of the release.
        operators: that no chart of the suite brings and its objects are for, as sentences.
    """

    namespaces: tuple[str, ...]
    storage_classes: Mapping[str, bool]
    secrets: Mapping[str, tuple[str, ...]]
    namespace: str
    operators: tuple[str, ...] = ()

    def told(self) -> tuple[str, ...]:
        """For the report: what the rehearsal took for granted."""
        classes = (f"StorageClass {name} exists, as EKS's drivers would make it" for name in self.storage_classes)
        secrets = (
            f"Secret {name} with {', '.join(keys)} exists in namespace {self.namespace}; its content was not used"
            for name, keys in sorted(self.secrets.items())
        )
        return (*classes, *secrets, *self.operators)


def find_prerequisites(environment: Environment, manifests: Sequence[Manifest]) -> Prerequisites:
    """What an environment's objects need and do not bring."""
    made = {(each.kind, each.name) for each in manifests}
    named = {environment.namespace, *(each.namespace for each in manifests if each.namespace)}
    classes: dict[str, bool] = {}
    for claim in (claim for each in manifests for claim in _claims(each.content)):
        name = claim.get("storageClassName")
        if name and ("StorageClass", name) not in made:
            classes[name] = classes.get(name, False) or "ReadWriteMany" in claim.get("accessModes", [])
    statically = {each.content["spec"].get("storageClassName") for each in manifests if each.kind == "PersistentVolume"}
    return Prerequisites(
        namespaces=tuple(sorted(name for name in named if ("Namespace", name) not in made)),
        storage_classes={name: shared for name, shared in sorted(classes.items()) if name not in statically},
        secrets=environment.secrets,
        namespace=environment.namespace,
        operators=tuple(told for kind, told in _OPERATORS.items() if any(each.kind == kind for each in manifests)),
    )


def _claims(node: Any) -> Iterator[Mapping[str, Any]]:
    """Specs of volume claims anywhere in an object: of claims, of claim templates, of ephemeral volumes."""
    if isinstance(node, Mapping):
        spec = node.get("spec")
        if isinstance(spec, Mapping) and "accessModes" in spec and "capacity" not in spec:
            yield spec
        for value in node.values():
            yield from _claims(value)
    elif isinstance(node, list):
        for value in node:
            yield from _claims(value)


def create_prerequisites(api: Api, wanted: Prerequisites, default_class: str = DEFAULT_STORAGE_CLASS) -> None:
    """Make them, and the default storage class unless one is there."""
    for name in wanted.namespaces:
        api.create(_NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.create(STORAGE_CLASSES, storage_class(default_class, default=True))
    for name, shared in wanted.storage_classes.items():
        api.create(STORAGE_CLASSES, storage_class(name, shared=shared))
    for name, keys in wanted.secrets.items():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": dict.fromkeys(keys, "rehearsal"),
        }
        api.create(collection("v1", "secrets", wanted.namespace), secret)
