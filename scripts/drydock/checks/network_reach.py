"""What NetworkPolicies let a pod connect to, as the VPC CNI of EKS enforces them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from drydock.suite.manifests import Manifest

Fields = Mapping[str, Any]
Network = IPv4Network | IPv6Network

_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7")
_PODS = tuple(map(ip_network, _PRIVATE))
"""Where a VPC's pods can have addresses. Those of IPv6 clusters may be global ones too, which no object says."""


@dataclass(frozen=True)
class Endpoint:
    """A pod as the network sees it.

    Attributes:
        namespace: of the pod.
        labels: of the pod; None for a pod whose owner may give it any label.
        on_host: whether it uses the network of its node: no policy is for it, and only addresses select it.
        policed: whether policies for the pod itself are enforced. The VPC CNI leaves out pods without an owner (EKS
            user guide, cni-network-policy; github.com/aws/aws-network-policy-agent/issues/327).
    """

    namespace: str
    labels: Mapping[str, str] | None
    on_host: bool = False
    policed: bool = True


@dataclass(frozen=True)
class Port:
    """A TCP port of a pod, with its name if it has one."""

    number: int
    name: str = ""


@dataclass(frozen=True)
class PolicedNetwork:
    """The NetworkPolicies of an environment, with the labels of its namespaces.

    Attributes:
        policies: the objects.
        namespaces: labels by name; others have the label of their name alone.
        default: namespace of objects that name none.
    """

    policies: Sequence[Manifest]
    namespaces: Mapping[str, Mapping[str, str]]
    default: str

    @classmethod
    def of(cls, manifests: Sequence[Manifest], default: str) -> "PolicedNetwork":
        """The network of rendered objects."""
        return cls(
            [manifest for manifest in manifests if manifest.kind == "NetworkPolicy"],
            {
                manifest.name: manifest.content.get("metadata", {}).get("labels") or {}
                for manifest in manifests
                if manifest.kind == "Namespace"
            },
            default,
        )

    def connects(self, source: Endpoint, target: Endpoint, port: Port) -> bool:
        """Whether a pod can open a connection to a port of another."""
        return self._passes("Egress", source, target, port) and self._passes("Ingress", target, source, port)

    def _passes(self, direction: str, own: Endpoint, other: Endpoint, port: Port) -> bool:
        if own.on_host or not own.policed:
            return True
        if direction == "Ingress" and other.on_host:
            return True  # what comes from its own node always reaches a pod
        policies = [policy for policy in self._by_namespace.get(own.namespace, ()) if direction in directions(policy)]
        surely = [policy for policy in policies if selects(policy.get("podSelector"), own.labels, certain=True)]
        if not surely:
            return True
        rules = (
            rule
            for policy in policies
            if selects(policy.get("podSelector"), own.labels)
            for rule in policy.get(direction.lower()) or ()
        )
        return any(self._allows(rule, direction, own.namespace, other, port) for rule in rules)

    @cached_property
    def _by_namespace(self) -> Mapping[str, Sequence[Fields]]:
        found: dict[str, list[Fields]] = {}
        for policy in self.policies:
            found.setdefault(policy.namespace or self.default, []).append(policy.content.get("spec") or {})
        return found

    def _allows(self, rule: Fields, direction: str, namespace: str, other: Endpoint, port: Port) -> bool:
        peers = rule.get("from" if direction == "Ingress" else "to") or ()
        ports = rule.get("ports") or ()
        return (not ports or any(covers(entry, port) for entry in ports)) and (
            not peers or any(self.is_peer(peer, namespace, other) for peer in peers)
        )

    def is_peer(self, peer: Fields, namespace: str, pod: Endpoint) -> bool:
        """Whether a pod is a peer of a policy in a namespace."""
        if peer.get("ipBlock"):
            return may_hold_pods(peer["ipBlock"])
        if pod.on_host:
            return False
        if peer.get("namespaceSelector") is not None:
            labels = {**self.namespaces.get(pod.namespace, {}), "kubernetes.io/metadata.name": pod.namespace}
            there = selects(peer["namespaceSelector"], labels)
        else:
            there = pod.namespace == namespace
        return there and selects(peer.get("podSelector"), pod.labels)


def directions(policy: Fields) -> Sequence[str]:
    """Directions that a policy is about; without policyTypes, ingress, and egress where it has rules of it."""
    return policy.get("policyTypes") or (("Ingress", "Egress") if policy.get("egress") else ("Ingress",))


def covers(rule: Fields, port: Port) -> bool:
    """Whether an entry of a rule's ports is for a port."""
    if (rule.get("protocol") or "TCP") != "TCP":
        return False
    wanted = rule.get("port")
    if isinstance(wanted, int):
        return wanted <= port.number <= int(rule.get("endPort") or wanted)
    return wanted is None or (bool(port.name) and wanted == port.name)


def selects(selector: Fields | None, labels: Mapping[str, str] | None, *, certain: bool = False) -> bool:
    """Whether a label selector selects; of labels that can be any, whether it can, or `certain`ly does."""
    conditions = list(_conditions(selector or {}))
    if labels is None:
        return not conditions if certain else True
    return all(_holds(labels.get(key), operator, values) for key, operator, values in conditions)


def _conditions(selector: Fields) -> Iterator[tuple[str, str, Sequence[str]]]:
    for key, value in (selector.get("matchLabels") or {}).items():
        yield key, "In", (value,)
    for expression in selector.get("matchExpressions") or ():
        yield str(expression.get("key")), str(expression.get("operator")), expression.get("values") or ()


def _holds(value: str | None, operator: str, values: Sequence[str]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def may_hold_pods(block: Fields) -> bool:
    """Whether a block has an address that a pod can have: a private one, as VPCs have them.

    A block that is not a network has no such address; the API server refuses it.
    """
    whole = _network(block.get("cidr"))
    left = (
        []
        if whole is None
        else [network for network in (_shared(whole, pods) for pods in _PODS) if network is not None]
    )
    for exception in map(_network, block.get("except") or ()):
        if exception is not None:
            left = [part for network in left for part in _without(network, exception)]
    return bool(left)


def _network(text: object) -> Network | None:
    try:
        return ip_network(str(text), strict=False)
    except ValueError:
        return None


def _shared(one: Network, other: Network) -> Network | None:
    if one.version != other.version or not one.overlaps(other):
        return None
    return max(one, other, key=lambda network: network.prefixlen)


def _without(whole: Network, part: Network) -> Iterator[Network]:
    if whole.version != part.version or not whole.overlaps(part):
        yield whole
    elif part.prefixlen > whole.prefixlen:
        yield from whole.address_exclude(part)  # type: ignore[arg-type]
