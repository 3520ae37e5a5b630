"""Services that the world can reach (pain 20), and names that poison an engine's environment (pain 18)."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.suite.manifests import Manifest

PUBLIC = "public-endpoint"
VARIABLES = "service-environment"

_BALANCER = "service.beta.kubernetes.io/aws-load-balancer-"
_INGRESS = "alb.ingress.kubernetes.io/"
_SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"
_KIND = "service.beta.kubernetes.io/aws-load-balancer-type"
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_LEGACY_INTERNAL = "service.beta.kubernetes.io/aws-load-balancer-internal"
_INGRESS_SCHEME = "alb.ingress.kubernetes.io/scheme"
_INGRESS_RANGES = "alb.ingress.kubernetes.io/inbound-cidrs"
_CONFIGURATIONS = {"IngressClassParams": "inboundCIDRs", "LoadBalancerConfiguration": "sourceRanges"}
"""Kinds that configure load balancers of an IngressClass or a Gateway, each with the field of its source ranges."""
_GROUPS = ("securityGroups", "securityGroupPrefixes", "prefixListsIDs")
"""Their fields for security groups and prefix lists of the account."""
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")))
_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
_READ_BY_ENGINES = ("VLLM_", "RAY_")


def check(subject: Subject) -> Iterator[Finding]:
    """Load balancers open to the internet, and Services whose variables engines take for their settings."""
    for manifest in subject.manifests:
        for content, path in _services(manifest.content, manifest.kind, manifest.api_version.partition("/")[0]):
            yield from _service(subject, manifest, content, path)
        if manifest.kind == "Ingress":
            yield from _ingress(subject, manifest)
        elif manifest.kind in _CONFIGURATIONS:
            yield from _configuration(subject, manifest)
    yield from _variables(subject)


def is_internet_facing(service: Mapping[str, Any]) -> bool:
    """Whether a Service gets a load balancer with a public address.

    The AWS Load Balancer Controller makes internal ones by default; the cloud provider inside Kubernetes,
    which serves a Service that names neither class nor type, makes public ones by default.
    """
    spec, annotations = service.get("spec") or {}, (service.get("metadata") or {}).get("annotations") or {}
    if spec.get("type") != "LoadBalancer":
        return False
    if _SCHEME in annotations:
        return bool(annotations[_SCHEME] == "internet-facing")
    if spec.get("loadBalancerClass") or annotations.get(_KIND) in ("external", "nlb-ip"):
        return str(annotations.get(_LEGACY_INTERNAL, "true")).lower() in ("false", "f", "0")
    return str(annotations.get(_LEGACY_INTERNAL, "false")) in ("false", "")


def are_the_world(ranges: Sequence[str]) -> bool:
    """Whether address ranges together are more of the internet than any owner has.

    The largest allocations of IANA and the regional registries are a /8 of IPv4 and a /19 of IPv6. So 0.0.0.0/0 in two
    halves, or all of it but one's own networks, is as open as it is whole.
    """
    four: list[ipaddress.IPv4Network] = []
    six: list[ipaddress.IPv6Network] = []
    for text in ranges:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:  # the load balancer's controller refuses it
            continue
        if isinstance(network, ipaddress.IPv4Network):
            four.append(network)
        else:
            six.append(network)
    public = [block for block in ipaddress.collapse_addresses(four) if not any(map(block.subnet_of, _PRIVATE))]
    wide = [block for block in ipaddress.collapse_addresses(six) if not block.subnet_of(_UNIQUE_LOCAL)]
    return (
        sum(block.num_addresses for block in public) > 1 << 24 or sum(block.num_addresses for block in wide) > 1 << 109
    )


def _services(content: Any, kind: str, group: str, path: str = "") -> Iterator[tuple[Mapping[str, Any], str]]:
    """Services that an object is, or that KubeRay makes for its head and for Ray Serve; each with where it stands."""
    if kind == "Service":
        yield content, path
    elif group == "ray.io" and isinstance(content, Mapping):
        for key, value in content.items():
            if key == "headGroupSpec" and isinstance(value, Mapping) and value.get("serviceType"):
                metadata = {"annotations": content.get("headServiceAnnotations") or {}}
                yield {"metadata": metadata, "spec": {"type": value["serviceType"]}}, f"{path}{key}."
            own = key in ("headService", "serveService") and isinstance(value, Mapping)
            yield from _services(value, "Service" if own else "", group, f"{path}{key}.")


def _service(subject: Subject, manifest: Manifest, content: Mapping[str, Any], path: str) -> Iterator[Finding]:
    spec = content.get("spec") or {}
    if spec.get("externalIPs"):
        yield subject.finding(
            PUBLIC,
            manifest,
            "Traffic of the whole cluster to the addresses in externalIPs ends at this Service, whosever they are.",
            "Drop externalIPs; use a load balancer with source ranges, or the Service's own name.",
            path=f"{path}spec.externalIPs",
            pain=20,
        )
    if spec.get("type") == "NodePort":
        yield subject.finding(
            PUBLIC,
            manifest,
            "The Service is open on a port of every node, to all that the nodes' security groups let in, past "
            "NetworkPolicies that name pods.",
            "Set type: ClusterIP, or an internal load balancer.",
            path=f"{path}spec.type",
            pain=20,
            severity=Severity.WARNING,
        )
    if not is_internet_facing(content):
        return
    annotations = (content.get("metadata") or {}).get("annotations") or {}
    listed = spec.get("loadBalancerSourceRanges") or ()
    ranges = {*listed, *(part.strip() for part in str(annotations.get(_RANGES, "")).split(",") if part.strip())}
    if groups := _own_groups(annotations, _BALANCER):
        yield _unknown(subject, manifest, groups)
    elif not ranges or are_the_world(sorted(ranges)):
        yield _public(subject, manifest, f"{path}spec.loadBalancerSourceRanges", "loadBalancerSourceRanges")


def _ingress(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    annotations = (manifest.content.get("metadata") or {}).get("annotations") or {}
    ranges = {part.strip() for part in str(annotations.get(_INGRESS_RANGES, "")).split(",") if part.strip()}
    if annotations.get(_INGRESS_SCHEME) != "internet-facing":
        return
    if groups := _own_groups(annotations, _INGRESS):
        yield _unknown(subject, manifest, groups)
    elif not ranges or are_the_world(sorted(ranges)):
        yield _public(subject, manifest, f"metadata.annotations.{_INGRESS_RANGES}", _INGRESS_RANGES)


def _configuration(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    spec, key = manifest.content.get("spec") or {}, _CONFIGURATIONS[manifest.kind]
    ranges = [str(cidr) for cidr in spec.get(key) or ()]
    if spec.get("scheme") != "internet-facing":
        return
    if groups := ", ".join(str(group) for field in _GROUPS for group in spec.get(field) or ()):
        yield _unknown(subject, manifest, groups)
    elif not ranges or are_the_world(ranges):
        yield _public(subject, manifest, f"spec.{key}", key)


def _public(subject: Subject, manifest: Manifest, path: str, key: str) -> Finding:
    return subject.finding(
        PUBLIC,
        manifest,
        "The load balancer has a public address and takes requests from anywhere; an engine's API key does not "
        "cover all of its routes.",
        f"Make it internal, or list the source ranges that may reach it in {key}.",
        path=path,
        pain=20,
    )


def _own_groups(annotations: Mapping[str, Any], prefix: str) -> str:
    """Security groups or prefix lists of the account that stand in place of source ranges."""
    names = ("security-groups", "security-group-prefix-lists")
    return ", ".join(str(annotations[prefix + name]) for name in names if annotations.get(prefix + name))


def _unknown(subject: Subject, manifest: Manifest, groups: str) -> Finding:
    return subject.finding(
        PUBLIC,
        manifest,
        f"The load balancer has a public address, and {groups} of the account, which are not known here, say who "
        "reaches it.",
        "Check that they do not admit every client, or list source ranges instead.",
        path="metadata.annotations",
        pain=20,
        severity=Severity.NOTE,
    )


def _variables(subject: Subject) -> Iterator[Finding]:
    linked = [pod for pod in subject.pods if pod.spec.get("enableServiceLinks") is not False]
    for manifest in subject.manifests:
        if manifest.kind != "Service":
            continue
        variable = f"{manifest.name.upper().replace('-', '_')}_"
        reader = next((pod for pod in linked if pod.manifest.namespace == manifest.namespace), None)
        if reader is not None and variable.startswith(_READ_BY_ENGINES):
            yield subject.finding(
                VARIABLES,
                reader.manifest,
                f"Kubernetes gives the pod variables of the Service {manifest.name} ({variable}PORT=tcp://...), "
                f"which engines read as their own {variable.partition('_')[0]}_ settings.",
                "Set enableServiceLinks: false in the pod, or name the Service otherwise.",
                path=f"{reader.path}.enableServiceLinks",
                pain=18,
            )
