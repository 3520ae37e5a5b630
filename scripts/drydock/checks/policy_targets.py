"""NetworkPolicies that miss the pods and Services that they mean, as the VPC CNI of EKS enforces them.

Source: github.com/aws/amazon-network-policy-controller-k8s at ecc7e6a, pkg/resolvers/endpoints.go. What leaves a pod is
judged before the address of a Service becomes that of a pod, so a peer lets it out only where its podSelector fits the
Service's own selector too; headless Services have no such address. Ports of policies are those of pods.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.network_reach import Endpoint, PolicedNetwork, Port, covers, may_hold_pods, selects
from drydock.checks.subject import Subject
from drydock.scheduling.pods import PodUse
from drydock.suite.manifests import Manifest

CHECK = "policy-misses-target"

Fields = Mapping[str, Any]

_OF_RELEASE = "app.kubernetes.io/instance"
_OF_RAY_SERVE = {"ray.io/serve": "true"}
"""What the Service of a RayService selects by, beside the name of its cluster (KubeRay 1.6, common/service.go)."""
_PORT_OF_RAY_SERVE = 8000
_OF_CONTROLLERS = frozenset(
    {
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "pod-template-hash"),
        *("controller-revision-hash", "job-name", "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"),
        *("batch.kubernetes.io/job-completion-index", "ray.io/cluster", "ray.io/identifier", "ray.io/group"),
        *("leaderworkerset.sigs.k8s.io/name", "leaderworkerset.sigs.k8s.io/worker-index"),
        *("leaderworkerset.sigs.k8s.io/group-index", "ray.io/node-type", "ray.io/is-ray-node"),
    }
)
"""Labels that controllers give to pods, with values of which some are known only when they run."""


@dataclass(frozen=True)
class Target:
    """A Service with the pods behind it.

    Attributes:
        name: of the Service.
        selector: by which it has its pods.
        headless: whether its name leads to addresses of pods.
        ports: number of each TCP port, and what it is called at the pods.
        pods: behind it.
    """

    name: str
    selector: Mapping[str, str]
    headless: bool
    ports: Sequence[tuple[int, int | str]]
    pods: Sequence[PodUse]

    def has(self, pod: PodUse) -> bool:
        """Whether a pod is behind it."""
        return any(member is pod for member in self.pods)

    def ports_at(self, pod: PodUse) -> Iterator[tuple[int, Port]]:
        """Number of each port, and the same port of a pod; those that the pod does not have are left out."""
        declared = list(_declared(pod))
        for number, target in self.ports:
            if isinstance(target, int):
                yield number, next((port for port in declared if port.number == target), Port(target))
            else:
                yield from ((number, port) for port in declared if port.name == target)


@dataclass(frozen=True)
class _Policies:
    """The policies of an environment beside its pods and Services."""

    subject: Subject

    @cached_property
    def network(self) -> PolicedNetwork:
        return PolicedNetwork.of(self.subject.manifests, self.release)

    @property
    def release(self) -> str:
        return self.subject.rendered.environment.namespace

    @cached_property
    def targets(self) -> Sequence[Target]:
        return [*self._services(), *self._of_ray()]

    def findings(self, policy: Manifest) -> Iterator[Finding]:
        """What a policy misses."""
        spec, place = policy.content.get("spec") or {}, self._place(policy)
        selector = spec.get("podSelector") or {}
        own = self._peers({"podSelector": selector}, place)
        yield from self._unmatched(policy, [{"podSelector": selector}], "spec.podSelector")
        for position, rule in enumerate(spec.get("ingress") or ()):
            yield from self._unmatched(policy, rule.get("from") or (), f"spec.ingress.{position}.from")
            yield from self._ports(policy, "ingress", position, own)
        for position, rule in enumerate(spec.get("egress") or ()):
            yield from self._unmatched(policy, rule.get("to") or (), f"spec.egress.{position}.to")
            for number, peer in enumerate(rule.get("to") or ()):
                if peer.get("ipBlock"):
                    continue
                pods = self._peers(peer, place)
                yield from self._ports(policy, "egress", position, pods)
                others = [pod for pod in pods if not any(member is pod for member in own)]
                yield from self._addresses(policy, rule, peer, others, f"spec.egress.{position}.to.{number}")

    def _unmatched(self, policy: Manifest, peers: Sequence[Fields], path: str) -> Iterator[Finding]:
        """Selectors for pods of the release that fit none of them, alone or all of a rule."""
        wanted = [(peer.get("podSelector") or {}).get("matchLabels") or {} for peer in peers]
        releases = {pod.labels[_OF_RELEASE] for pod in self.subject.pods if _OF_RELEASE in pod.labels}
        if not wanted or not all(labels.get(_OF_RELEASE) in releases for labels in wanted):
            return
        if any(_OF_CONTROLLERS & labels.keys() for labels in wanted):
            return
        if any(self._peers(peer, self._place(policy)) for peer in peers) or any(
            selects(peer["podSelector"], target.selector) for peer in peers for target in self.targets
        ):
            return
        labels = "; ".join(_spelt(selector) for selector in wanted)
        yield self._finding(
            policy,
            f"The policy selects pods of the release by {labels}, and none has all of these labels: what is meant to "
            "be allowed is refused.",
            "Correct the labels, or take the rule away with the pods that it was for.",
            path,
        )

    def _ports(self, policy: Manifest, direction: str, position: int, pods: Sequence[PodUse]) -> Iterator[Finding]:
        """Ports of a rule that are those of a Service, not of its pods, or names that no container has."""
        rules = (policy.content.get("spec") or {})[direction]
        listening = {port.number for pod in pods for port in self._listening(pod)}
        names = {port.name for pod in pods for port in _declared(pod)}
        path = f"spec.{direction}.{position}.ports"
        entries = [entry for entry in rules[position].get("ports") or () if (entry.get("protocol") or "TCP") == "TCP"]
        for wanted in (entry.get("port") for entry in entries):
            if isinstance(wanted, str) and pods and wanted not in names:
                yield self._finding(
                    policy,
                    f"The policy allows port {wanted}, and no container of the pods declares one of this name: names "
                    "of a Service's ports do not count.",
                    "Name the port of the pods by its number, or declare it under ports of the container.",
                    path,
                )
            if not isinstance(wanted, int) or wanted in listening:
                continue
            for target, pod in ((target, pod) for target in self.targets for pod in pods if target.has(pod)):
                for number, port in target.ports_at(pod):
                    if number == wanted and not any(_allows_port(rule, port) for rule in rules):
                        yield self._finding(
                            policy,
                            f"The policy allows port {number}, which is that of Service {target.name}: its pods take "
                            f"connections on port {port.number}, which is the one that policies are about.",
                            f"Allow port {port.number}.",
                            path,
                        )

    def _addresses(
        self, policy: Manifest, rule: Fields, peer: Fields, pods: Sequence[PodUse], path: str
    ) -> Iterator[Finding]:
        """Pods that a peer allows, behind a Service whose address it does not allow.

        Pods that the policy is for are left out: members of one group know each other by their own addresses.
        """
        for pod in pods:
            behind = [
                (target, number)
                for target in self.targets
                if target.has(pod)
                for number, port in target.ports_at(pod)
                if _allows_port(rule, port)
            ]
            reached = any(
                target.headless
                or selects(peer.get("podSelector"), target.selector)
                or self._let_out(policy, target, number)
                for target, number in behind
            )
            if behind and not reached:
                target, _ = behind[0]
                chosen = _spelt(target.selector)
                yield self._finding(
                    policy,
                    f"The peer selects the pods behind Service {target.name} by labels that the Service does not "
                    f"select by: the VPC CNI compares a peer with the Service's selector ({chosen}), and refuses "
                    "connections to its name.",
                    "Select in the peer by labels that the selector of the Service has.",
                    path,
                )
                return

    def _let_out(self, policy: Manifest, service: Target, number: int) -> bool:
        """Whether another rule for the same pods allows a port of a Service."""
        spec = policy.content.get("spec") or {}
        for other in self.network.policies:
            same = (other.content.get("spec") or {}).get("podSelector") or {}
            if self._place(other) != self._place(policy) or same not in ({}, spec.get("podSelector") or {}):
                continue
            for rule in (other.content.get("spec") or {}).get("egress") or ():
                peers = rule.get("to") or ()
                by_address = not peers or any(peer.get("ipBlock") and may_hold_pods(peer["ipBlock"]) for peer in peers)
                by_labels = any(
                    not peer.get("ipBlock")
                    and selects(peer.get("podSelector"), service.selector)
                    and any(map(service.has, self._peers(peer, self._place(other))))
                    for peer in peers
                )
                inner = [port for pod in service.pods for outer, port in service.ports_at(pod) if outer == number]
                if (by_address and _allows_port(rule, Port(number))) or (
                    by_labels and any(_allows_port(rule, port) for port in inner)
                ):
                    return True
        return False

    def _listening(self, pod: PodUse) -> Iterator[Port]:
        yield from _declared(pod)
        yield from (port for target in self.targets if target.has(pod) for _, port in target.ports_at(pod))

    def _peers(self, peer: Fields, namespace: str) -> Sequence[PodUse]:
        return [
            pod
            for pod in self.subject.pods
            if not pod.spec.get("hostNetwork")
            and self.network.is_peer(peer, namespace, Endpoint(self._place(pod.manifest), pod.labels))
        ]

    def _services(self) -> Iterator[Target]:
        for service in self.subject.manifests:
            spec = service.content.get("spec") or {}
            if service.kind != "Service" or not spec.get("selector"):
                continue
            yield Target(
                service.name,
                spec["selector"],
                spec.get("clusterIP") == "None",
                [
                    (port["port"], port.get("targetPort", port["port"]))
                    for port in spec.get("ports") or ()
                    if (port.get("protocol") or "TCP") == "TCP"
                ],
                [
                    pod
                    for pod in self.subject.pods
                    if spec["selector"].items() <= pod.all_labels.items()
                    and self._place(pod.manifest) == self._place(service)
                ],
            )

    def _of_ray(self) -> Iterator[Target]:
        """Services that KubeRay makes for clients of Ray Serve."""
        for manifest in self.subject.manifests:
            if manifest.kind == "RayService":
                pods = [pod for pod in self.subject.pods if pod.manifest is manifest]
                ports = [(_PORT_OF_RAY_SERVE, _PORT_OF_RAY_SERVE)]
                yield Target(f"{manifest.name}-serve-svc", _OF_RAY_SERVE, False, ports, pods)

    def _place(self, manifest: Manifest) -> str:
        return manifest.namespace or self.release

    def _finding(self, policy: Manifest, reason: str, remedy: str, path: str) -> Finding:
        return self.subject.finding(CHECK, policy, reason, remedy, path=path, severity=Severity.WARNING)


def check(subject: Subject) -> Iterator[Finding]:
    """Policies whose labels or ports are not those of the pods and Services that they are for."""
    policies = _Policies(subject)
    for policy in policies.network.policies:
        yield from policies.findings(policy)


def _allows_port(rule: Fields, port: Port) -> bool:
    return not rule.get("ports") or any(covers(entry, port) for entry in rule["ports"])


def _spelt(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in labels.items())


def _declared(pod: PodUse) -> Iterator[Port]:
    for container in pod.containers:
        for port in container.get("ports") or ():
            if (port.get("protocol") or "TCP") == "TCP" and isinstance(port.get("containerPort"), int):
                yield Port(port["containerPort"], str(port.get("name") or ""))
