"""Ports for administrators, of Ray, of notebooks and of metrics that code of users can connect to."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.network_reach import Endpoint, PolicedNetwork, Port
from drydock.checks.subject import Subject
from drydock.documents import load_yaml
from drydock.scheduling.pods import PodUse
from drydock.suite.manifests import Manifest

CHECK = "port-within-reach"

Fields = Mapping[str, Any]

_RAY = "ray.io"
_TENANT = "drydock.dev/tenant"
"""Label of a namespace whose pods are its tenant's own."""
_WITHOUT_OWNER = ("Pod", "ConfigMap")
"""Kinds of objects whose pods have no owner: pods themselves, and those that a server makes for its users."""


@dataclass(frozen=True)
class Code:
    """Code of users, and from where it connects."""

    what: str
    manifest: Manifest | None
    endpoint: Endpoint


def check(subject: Subject) -> Iterator[Finding]:
    """Connections that NetworkPolicies leave to code of users, one finding for each port."""
    release = subject.rendered.environment.namespace
    network = PolicedNetwork.of(subject.manifests, release)
    known_code = list(_pods_of_users(subject.pods, release))
    filled = {code.endpoint.namespace for code in known_code}
    sources = [*known_code, *_namespaces_of_users(subject.manifests, release, filled)]
    services = [manifest for manifest in subject.manifests if manifest.kind == "Service"]
    reached: dict[tuple[str, int], tuple[PodUse, Fields, set[str]]] = {}
    for pod in subject.pods:
        target = _endpoint(pod, release, {})
        for port, known in _ports(pod, services, release):
            codes = {
                code.what
                for code in sources
                if code.manifest is not pod.manifest and network.connects(code.endpoint, target, port)
            }
            if codes:
                reached.setdefault((pod.manifest.identity, port.number), (pod, {**known, "port": port.number}, set()))[
                    2
                ].update(codes)
    for pod, known, codes in reached.values():
        yield _finding(subject, pod, known, sorted(codes))


def _finding(subject: Subject, pod: PodUse, known: Fields, codes: Sequence[str]) -> Finding:
    opened = f"Code of users ({', '.join(codes)}) can connect to port {known['port']}, {known['what']}"
    attack = f", and {known['attack']}"
    if pod.spec.get("hostNetwork"):
        reason = f"{opened}{attack}: no NetworkPolicy covers the network of a node, which the pod uses."
        remedy = "Bind the port to 127.0.0.1, have it ask for a credential, or take the pod off the node's network."
    else:
        reason = f"{opened}{attack}: no NetworkPolicy that is enforced keeps it out."
        remedy = (
            "Add a NetworkPolicy for the pod with policyTypes: [Ingress] that names under ingress.from which pods "
            f"reach port {known['port']}."
        )
    return subject.finding(
        CHECK, pod.manifest, reason, remedy, path=f"{pod.path}.containers", severity=Severity.WARNING
    )


def _pods_of_users(pods: Sequence[PodUse], release: str) -> Iterator[Code]:
    for pod in pods:
        if pod.manifest.kind == "ConfigMap":
            yield Code(
                "notebooks or other pods that a server makes for its users", pod.manifest, _endpoint(pod, release, {})
            )
        group = _group(pod)
        for known in _data()["code"]:
            if group == known["group"] and known["kind"] in ("*", pod.maker.get("kind")):
                yield Code(known["what"], pod.manifest, _endpoint(pod, release, known.get("labels") or {}))


def _namespaces_of_users(manifests: Sequence[Manifest], release: str, filled: Collection[str]) -> Iterator[Code]:
    """Namespaces that the release makes for others: people start any pod there.

    One that is no tenant's and that the release fills with code of users holds that code, whose labels are known.
    """
    for manifest in manifests:
        labels = (manifest.content.get("metadata") or {}).get("labels") or {}
        if manifest.kind != "Namespace" or manifest.name == release:
            continue
        if manifest.name not in filled or _TENANT in labels:
            yield Code(f"pods in namespace {manifest.name}", None, Endpoint(manifest.name, None))


def _endpoint(pod: PodUse, release: str, given: Mapping[str, str]) -> Endpoint:
    return Endpoint(
        _place(pod.manifest, release),
        {**pod.all_labels, **given},
        on_host=bool(pod.spec.get("hostNetwork")),
        policed=pod.maker.get("kind") not in _WITHOUT_OWNER,
    )


def _group(pod: PodUse) -> str:
    return str(pod.maker.get("apiVersion", "")).partition("/")[0]


def _ports(pod: PodUse, services: Sequence[Manifest], release: str) -> Iterator[tuple[Port, Fields]]:
    """Ports of a pod that are known: Ray's own, and what containers, Services and annotations say."""
    ray = _group(pod) == _RAY
    if ray and "headGroupSpec" in pod.path and not _asks_for_token(pod.maker):
        yield from ((Port(known["port"]), known) for known in _data()["ports"] if known.get("ray"))
    programs = {_program(container): container.get("ports") or () for container in pod.containers}
    declared = [
        (Port(entry["containerPort"], str(entry.get("name") or "")), program)
        for program, ports in programs.items()
        for entry in ports
        if (entry.get("protocol") or "TCP") == "TCP" and isinstance(entry.get("containerPort"), int)
    ]
    named = _named_elsewhere(pod, [port for port, _ in declared], services, release)
    others = [Port(number) for number in named if number not in {port.number for port, _ in declared}]
    for port, program in [*declared, *((port, " ".join(programs)) for port in others)]:
        names = {port.name, *named.get(port.number, ())}
        known = next((entry for entry in _data()["ports"] if _fits(entry, port.number, names, program)), None)
        if known and not (ray and known.get("ray")):
            yield port, known


def _program(container: Fields) -> str:
    words = (container.get("name"), container.get("image"))
    return " ".join(map(str, (*words, *(container.get("command") or ()), *(container.get("args") or ()))))


def _named_elsewhere(
    pod: PodUse, declared: Sequence[Port], services: Sequence[Manifest], release: str
) -> Mapping[int, set[str]]:
    """Ports of a pod by what Services call them, those too that no container declares, which listen all the same.

    An annotation for Prometheus names a port of metrics, unless its container calls it otherwise. Policies know none of
    these names.
    """
    found: dict[int, set[str]] = {}
    scraped = str(pod.annotations.get("prometheus.io/port", ""))
    if scraped.isdigit() and not any(port.name for port in declared if port.number == int(scraped)):
        found[int(scraped)] = {"metrics"}
    for service in services:
        spec = service.content.get("spec") or {}
        chosen = (spec.get("selector") or {}).items()
        if chosen and chosen <= pod.all_labels.items() and _place(service, release) == _place(pod.manifest, release):
            for entry in spec.get("ports") or ():
                target = entry.get("targetPort") or entry.get("port")
                numbers = (
                    [target] if isinstance(target, int) else [port.number for port in declared if port.name == target]
                )
                if (entry.get("protocol") or "TCP") == "TCP":
                    for number in numbers:
                        found.setdefault(number, set()).add(str(entry.get("name") or ""))
    return found


def _place(manifest: Manifest, release: str) -> str:
    return manifest.namespace or release


def _fits(known: Fields, number: int, names: Collection[str], program: str) -> bool:
    return (
        known["port"] in (None, number)
        and ("name" not in known or any(re.search(known["name"], name, re.IGNORECASE) for name in names))
        and ("program" not in known or bool(re.search(known["program"], program, re.IGNORECASE)))
    )


def _asks_for_token(content: Any) -> bool:
    """Whether a Ray cluster anywhere in an object asks its callers for a token (`authOptions`)."""
    if isinstance(content, Mapping):
        own = content.get("authOptions")
        return (isinstance(own, Mapping) and own.get("mode") == "token") or any(map(_asks_for_token, content.values()))
    return False


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    loaded: dict[str, Any] = load_yaml((files("drydock") / "data" / "admin-ports.yaml").read_text())
    return loaded
