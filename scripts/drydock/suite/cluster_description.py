"""What a target has (data/targets.yaml), with what an environment's file says on top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.documents import load_yaml_all, load_yaml_file
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.suite.environments import Environment
    from drydock.suite.manifests import Manifest

_FILE = Path(__file__).parents[1] / "data" / "targets.yaml"
ENVIRONMENT_TARGETS = ("eks", "eks-auto-mode", "existing")
"""What an environment can be made for; `kind` and `rehearsal` stand in for these."""
_LISTS = ("addons", "drivers", "loadBalancerClasses", "ingressClasses")


@dataclass(frozen=True)
class StorageClass:
    """A StorageClass of a target.

    Attributes:
        name: of the object.
        provisioner: the driver that makes its volumes.
        default: whether claims without a class get it.
        binding: `volumeBindingMode`.
        made_by: `eks`, `addon`, or `deploy` where `drydock deploy` has to make it.
    """

    name: str
    provisioner: str
    default: bool = False
    binding: str = "WaitForFirstConsumer"
    made_by: str = "deploy"

    def manifest(self) -> dict[str, Any]:
        """The object."""
        ebs = self.provisioner.startswith("ebs.csi.")
        return {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": self.name,
                "annotations": {"storageclass.kubernetes.io/is-default-class": str(self.default).lower()},
            },
            "provisioner": self.provisioner,
            "parameters": {"type": "gp3", "encrypted": "true"} if ebs else {},
            "volumeBindingMode": self.binding,
            "allowVolumeExpansion": ebs,
        }


@dataclass(frozen=True)
class ClusterDescription:
    """What a cluster has; what is not named here, it lacks.

    Attributes:
        target: key of targets.yaml.
        kubernetes: minor version, such as `1.36`.
        addons: of EKS.
        storage_classes: all of them.
        drivers: CSI drivers that make volumes.
        load_balancer_classes: of Services that get an address; "" for those without a class.
        ingress_classes: of Ingresses that get one.
        karpenter: version; empty where EKS runs it.
        feature_gates: of Karpenter, by their names in its chart.
        admission: files of the package's data folder with policies of the platform.
        crd_defaults: defaults of fields by path, by CRD, that differ from those of the CRDs that Karpenter brings.
        options: keys of `options` that are on.
    """

    target: str
    kubernetes: str
    addons: tuple[str, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    drivers: tuple[str, ...] = ()
    load_balancer_classes: tuple[str, ...] = ()
    ingress_classes: tuple[str, ...] = ()
    karpenter: str = ""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    admission: tuple[str, ...] = ()
    crd_defaults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    @property
    def auto_mode(self) -> bool:
        """Whether EKS Auto Mode runs the nodes."""
        return self.target == "eks-auto-mode"

    @property
    def default_class(self) -> StorageClass | None:
        """What a claim without a class gets."""
        return next((class_ for class_ in self.storage_classes if class_.default), None)

    def gates_for(self, manifests: "Sequence[Manifest]") -> dict[str, bool]:
        """Feature gates of Karpenter for these objects.

        With NodeOverlay Karpenter evaluates overlays before each pool, so it is on only where there are any.
        """
        overlays = any(manifest.kind == "NodeOverlay" for manifest in manifests)
        return {gate: on and (overlays or gate != "nodeOverlay") for gate, on in self.feature_gates.items()}

    def terraform_variables(self) -> dict[str, Any]:
        """Variables of ci/eks that follow from the target."""
        return {
            "kubernetes_version": self.kubernetes,
            "auto_mode": self.auto_mode,
            "efs": "efs" in self.options,
            "fsx": "fsx" in self.options,
            "default_storage_class": self.default_class is not None,
        }


def target_names() -> tuple[str, ...]:
    """Every target."""
    return tuple(_content())


def lacks(target: str) -> Mapping[str, str]:
    """Marks of integration tests that cannot run there, with the reason."""
    marks: Mapping[str, str] = _content()[target]["lacks"]
    return marks


def describe(environment: "Environment") -> ClusterDescription:
    """What the cluster has that an environment is made for: as it was read, or as its target has it.

    Raises:
        UsageError: the environment's file names an option that its target has not.
    """
    description = described(environment.target, environment.cluster, str(environment.file))
    snapshot = environment.snapshot
    if snapshot is None:
        return description
    if snapshot.cluster is None:
        return (
            replace(description, kubernetes=snapshot.control_plane.kubernetes)
            if snapshot.control_plane
            else description
        )
    there = snapshot.cluster
    return replace(
        description,
        kubernetes=there.kubernetes,
        storage_classes=tuple(
            StorageClass(name, storage_class.provisioner, storage_class.default, storage_class.binding)
            for name, storage_class in sorted(there.storage_classes.items())
        ),
        drivers=there.drivers,
        ingress_classes=there.ingress_classes,
        karpenter=there.karpenter or description.karpenter,
        feature_gates={**description.feature_gates, **there.feature_gates},
    )


def described(target: str, differs: Mapping[str, Any] | None = None, file: str = "targets.yaml") -> ClusterDescription:
    """A target, with what differs on top.

    Args:
        target: key of targets.yaml.
        differs: `cluster` of an environment's file: `kubernetes`, `storageClasses`, lists that replace the target's,
            `featureGates`, and options as `NAME: true`.
        file: named in errors.

    Raises:
        UsageError: an option that the target has not.
    """
    content, own = dict(_content()[target]), dict(differs or {})
    available: Mapping[str, Any] = content.get("options") or {}
    chosen = [name for name in ("efs", "fsx") if own.get(name)]
    for name in chosen:
        if name not in available:
            raise UsageError(
                f"{file}: cluster.{name}: target {target} has no such option",
                remedy=f"Known there: {', '.join(available) or 'none'}.",
            )
    classes: dict[str, Any] = dict(content.get("storageClasses") or {})
    lists = {key: list(content.get(key) or ()) for key in _LISTS}
    for added in (available[name] for name in chosen):
        classes |= added.get("storageClasses", {})
        for key in _LISTS:
            lists[key] += added.get(key, [])
    classes |= own.get("storageClasses") or {}
    lists |= {key: list(own[key]) for key in _LISTS if key in own}
    karpenter = content.get("karpenter") or {}
    return ClusterDescription(
        target=target,
        kubernetes=str(own.get("kubernetes") or content["kubernetes"]),
        addons=tuple(lists["addons"]),
        storage_classes=tuple(StorageClass(name, **each) for name, each in sorted(classes.items()) if each),
        drivers=tuple(lists["drivers"]),
        load_balancer_classes=tuple(lists["loadBalancerClasses"]),
        ingress_classes=tuple(lists["ingressClasses"]),
        karpenter=str(karpenter.get("version", "")),
        feature_gates={**karpenter.get("featureGates", {}), **(own.get("featureGates") or {})},
        admission=tuple(content.get("admission", ())),
        crd_defaults=content.get("crdDefaults", {}),
        options=tuple(chosen),
    )


def admission_policies(target: ClusterDescription) -> tuple[Mapping[str, Any], ...]:
    """Policies of the platform, as objects."""
    return tuple(document for name in target.admission for document in load_yaml_all((_FILE.parent / name).read_text()))


@cache
def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = load_yaml_file(_FILE)
    return content
