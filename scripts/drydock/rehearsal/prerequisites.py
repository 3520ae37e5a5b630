"""What an environment takes for granted in its cluster: namespaces, storage classes, and Secrets that users bring."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex

from drydock.clusters.api import Api, collection
from drydock.rehearsal.crd_objects import set_defaults
from drydock.rehearsal.volume_drivers import CSI_DRIVERS, STORAGE_CLASSES, csi_driver
from drydock.suite.cluster_description import ClusterDescription, admission_policies
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RESTRICTED

_NAMESPACES = collection("v1", "namespaces")
_POLICIES = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
KARPENTER = ("karpenter.sh", "karpenter.k8s.aws")
"""API groups whose controller runs in every rehearsal."""
_NAMED = 3
_OPERATORS = {
    "LeaderWorkerSet": "LeaderWorkerSet's controller runs in the cluster; here nothing made the pods of its objects",
    "ScaledObject": "KEDA's operator runs in the cluster; here ScaledObjects were accepted, and nothing scaled",
}


_EVERYWHERE = ("default", "kube-system", "kube-public", "kube-node-lease")


@dataclass(frozen=True)
class Prerequisites:
    """What must be in a cluster before an environment is installed.

    Attributes:
        namespaces: that its objects name and none of them makes.
        target: what the cluster has; its storage classes and drivers are made, and no others.
        secrets: keys by name of the Secrets that the environment says lie in its namespace.
        namespace: of the release.
        operators: that no chart of the suite brings and its objects are for, as sentences.
        expected: namespaces that objects of others name, and that nothing which is installed makes.
        restricted: whether that namespace enforces the pod security standard `restricted`, as `deploy` has it do.
    """

    namespaces: tuple[str, ...]
    target: ClusterDescription
    secrets: Mapping[str, tuple[str, ...]]
    namespace: str
    operators: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    restricted: bool = False

    def told(self) -> tuple[str, ...]:
        """For the report: what the rehearsal took for granted."""
        classes = (
            f"StorageClass {each.name} exists, as on {self.target.target}" for each in self.target.storage_classes
        )
        secrets = (
            f"Secret {name} with {', '.join(keys)} exists in namespace {self.namespace}; its content was not used"
            for name, keys in sorted(self.secrets.items())
        )
        namespaces = (f"Namespace {name} exists; nothing that is installed makes it" for name in self.expected)
        return (*classes, *secrets, *namespaces, *self.operators)


def find_prerequisites(
    environment: Environment, manifests: Sequence[Manifest], target: ClusterDescription, running: Collection[str] = ()
) -> Prerequisites:
    """What an environment's objects need and do not bring, as far as its target has it.

    Args:
        environment: that is rehearsed.
        manifests: its objects.
        target: what its cluster has.
        running: API groups whose controllers run here.
    """
    made = {(each.kind, each.name) for each in manifests}
    own = {environment.namespace} if environment.suite else set()
    by_helm = own | {each.namespace for each in environment.brought.releases} | set(_EVERYWHERE)
    named = own | {each.namespace for each in manifests if each.namespace}
    return Prerequisites(
        namespaces=tuple(sorted(name for name in named if ("Namespace", name) not in made)),
        target=target,
        secrets=environment.secrets,
        namespace=environment.namespace,
        operators=(
            *(told for kind, told in _OPERATORS.items() if any(each.kind == kind for each in manifests)),
            *_idle_resources(manifests, running),
        ),
        expected=tuple(
            sorted(
                {each.namespace for each in manifests if each.source and ("Namespace", each.namespace) not in made}
                - by_helm
                - {""}
            )
        ),
        restricted=environment.suite,
    )


def _idle_resources(manifests: Sequence[Manifest], running: Collection[str]) -> Iterator[str]:
    """Custom resources of others that nothing acts on, as sentences by kind."""
    idle: dict[str, list[str]] = {}
    for each in manifests:
        group, separator, _ = each.api_version.partition("/")
        custom = separator and "." in group and not group.endswith(".k8s.io")
        if each.source and custom and group not in running and each.kind not in _OPERATORS:
            idle.setdefault(f"{each.kind}.{group}", []).append(each.name)
    for kind, names in sorted(idle.items()):
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{kind} {', '.join(names[:_NAMED])}{more}: nothing acted on them; their controller does not run here"


def create_prerequisites(api: Api, wanted: Prerequisites) -> None:
    """Make them, with the storage classes and the drivers of the target."""
    for name in wanted.namespaces:
        labels = dict(RESTRICTED) if wanted.restricted and name == wanted.namespace else {}
        api.create(_NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for crd, defaults in wanted.target.crd_defaults.items():
        set_defaults(api, crd, defaults)
    for policy in admission_policies(wanted.target):
        api.create(collection(policy["apiVersion"], _POLICIES[policy["kind"]]), policy)
    for driver in wanted.target.drivers:
        api.create(CSI_DRIVERS, csi_driver(driver))
    for each in wanted.target.storage_classes:
        api.create(STORAGE_CLASSES, each.manifest())
    for name, keys in wanted.secrets.items():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": {key: f"sk-{token_hex(32)}" for key in keys},  # as a key of an API looks
        }
        api.create(collection("v1", "secrets", wanted.namespace), secret)
