"""ServiceAccounts that can become stronger ones, and what the network and values leave open."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.suite.manifests import Manifest

ESCALATION = "account-escalation"
ANY_NAMESPACE = "policy-any-namespace"
CREDENTIAL = "credential-in-values"
NAMESPACE = "namespace-open"

Fields = Mapping[str, Any]

_WORKLOADS = frozenset(
    {"pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs", "replicationcontrollers"}
)
_WRITES = frozenset({"create", "update", "patch", "*"})
_READS = frozenset({"get", "list", "watch", "*"})
_BINDINGS = frozenset({"rolebindings", "clusterrolebindings", "roles", "clusterroles"})
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY|CREDENTIALS?)$", re.IGNORECASE
)
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@", re.IGNORECASE)
_NO_SECRET = re.compile(r"|true|false|none|null|[0-9]+|/\S*|os\.environ/\S*|\$\(\w+\)|\$\{?\w+\}?", re.IGNORECASE)


def check(subject: Subject) -> Iterator[Finding]:
    """Rights, policies, namespaces and variables that give more than was meant."""
    for manifest in subject.manifests:
        if manifest.kind in ("Role", "ClusterRole"):
            yield from _escalations(subject, manifest)
        elif manifest.kind == "NetworkPolicy":
            yield from _any_namespace(subject, manifest)
        elif manifest.kind == "Namespace":
            yield from _open_namespace(subject, manifest)
    yield from _credentials(subject)


def _escalations(subject: Subject, role: Manifest) -> Iterator[Finding]:
    accounts = _holders(subject, role)
    if not accounts:
        return
    attacks = list(dict.fromkeys(attack for rule in role.content.get("rules") or () for attack in _attacks(rule)))
    if attacks:
        where = "any namespace" if role.kind == "ClusterRole" and _cluster_wide(subject, role) else "its namespace"
        yield subject.finding(
            ESCALATION,
            role,
            f"Code that gets the token of ServiceAccount {', '.join(accounts)} can {'; it can '.join(attacks)} (in "
            f"{where}).",
            "Narrow the rule by resourceNames, verbs or namespace, hold it to what its program does with an admission "
            "policy, or list it with the reason under `accepted` in the environment's file.",
            path="rules",
            severity=Severity.WARNING,
        )


def _attacks(rule: Fields) -> Iterator[str]:
    verbs, resources = set(rule.get("verbs") or ()), set(rule.get("resources") or ())
    named = bool(rule.get("resourceNames"))
    everything = "*" in resources
    if verbs & {"escalate", "bind", "impersonate"}:
        yield f"{' or '.join(sorted(verbs & {'escalate', 'bind', 'impersonate'}))} and so take any role"
    if (resources & _BINDINGS or everything) and verbs & _WRITES and not named:
        yield "write roles and bindings and so grant itself what it may bind"
    if (resources & _WORKLOADS or everything) and verbs & _WRITES and not named:
        yield "make or change pods that run as a stronger account, or on the host where admission lets them"
    if ("secrets" in resources or everything) and verbs & _READS and not named:
        yield "read Secrets, tokens and passwords of others among them"
    if resources & {"pods/exec", "pods/attach", "pods/ephemeralcontainers"} and verbs & (_WRITES | {"get"}):
        yield "run commands in other pods and take their tokens"
    if "serviceaccounts/token" in resources and verbs & _WRITES and not named:
        yield "make tokens of any account"
    if "nodes/proxy" in resources and verbs & (_WRITES | _READS):
        yield "reach kubelets by nodes/proxy and run commands in any pod of a node"


def _holders(subject: Subject, role: Manifest) -> list[str]:
    found = set()
    for binding in subject.manifests:
        if binding.kind not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        reference = binding.content.get("roleRef") or {}
        same_place = role.kind == "ClusterRole" or _place(subject, binding) == _place(subject, role)
        if (reference.get("kind"), reference.get("name")) == (role.kind, role.name) and same_place:
            found |= {str(each.get("name")) for each in binding.content.get("subjects") or ()}
    return sorted(found)


def _cluster_wide(subject: Subject, role: Manifest) -> bool:
    return any(
        each.kind == "ClusterRoleBinding" and (each.content.get("roleRef") or {}).get("name") == role.name
        for each in subject.manifests
    )


def _place(subject: Subject, manifest: Manifest) -> str:
    return manifest.namespace or subject.rendered.environment.namespace


def _any_namespace(subject: Subject, policy: Manifest) -> Iterator[Finding]:
    """Ingress from pods of every namespace, whoever makes them there."""
    for position, rule in enumerate((policy.content.get("spec") or {}).get("ingress") or ()):
        peers: Sequence[Fields] = rule.get("from") or ()
        opened = [each for each in peers if "namespaceSelector" in each and not _narrows(each["namespaceSelector"])]
        if opened or not peers:
            ports = ", ".join(str(each.get("port")) for each in rule.get("ports") or ()) or "every port"
            labelled = all((each.get("podSelector") or {}) for each in opened) and bool(opened)
            who = (
                "a pod of any namespace that gives itself the labels of the peer"
                if labelled
                else "a pod of any namespace"
            )
            yield subject.finding(
                ANY_NAMESPACE,
                policy,
                f"Who may run a pod anywhere in the cluster reaches {ports}: the policy lets in {who}.",
                "Select the namespace by kubernetes.io/metadata.name beside the pods, or list it with the reason under "
                "`accepted` in the environment's file.",
                path=f"spec.ingress.{position}.from",
                severity=Severity.WARNING,
            )


def _narrows(selector: Fields | None) -> bool:
    return bool(selector and (selector.get("matchLabels") or selector.get("matchExpressions")))


def _open_namespace(subject: Subject, namespace: Manifest) -> Iterator[Finding]:
    """Namespaces of the release that admit what the host may do, or let pods talk to everything."""
    labels = (namespace.content.get("metadata") or {}).get("labels") or {}
    enforced = labels.get("pod-security.kubernetes.io/enforce")
    if enforced not in ("baseline", "restricted"):
        yield subject.finding(
            NAMESPACE,
            namespace,
            "Who may make pods in the namespace can make one that is root on its node: nothing enforces a pod security "
            "standard.",
            "Label it pod-security.kubernetes.io/enforce: restricted (or baseline).",
            path="metadata.labels",
            severity=Severity.WARNING,
        )
    for direction in ("Ingress", "Egress"):
        if not any(_denies(each, namespace.name, direction) for each in subject.manifests):
            yield subject.finding(
                NAMESPACE,
                namespace,
                f"A pod that no NetworkPolicy selects {'takes' if direction == 'Ingress' else 'makes'} connections "
                f"{'from' if direction == 'Ingress' else 'to'} everywhere: the namespace has no policy for all pods.",
                f"Add a NetworkPolicy with an empty podSelector and policyTypes: [{direction}].",
                path=f"NetworkPolicy.{direction}",
                severity=Severity.WARNING,
            )


def _denies(policy: Manifest, namespace: str, direction: str) -> bool:
    spec = policy.content.get("spec") or {}
    return (
        policy.kind == "NetworkPolicy"
        and policy.namespace == namespace
        and not spec.get("podSelector")
        and direction in (spec.get("policyTypes") or ("Ingress",))
    )


def _credentials(subject: Subject) -> Iterator[Finding]:
    """Variables of containers that hold a credential in plain text, which every reader of values and pods sees."""
    for pod in subject.pods:
        for container in pod.containers:
            for variable in container.get("env") or ():
                value = str(variable.get("value") or "")
                name = str(variable.get("name"))
                secret = _SECRET_NAME.search(name) and not _NO_SECRET.fullmatch(value)
                if secret or _IN_URL.search(value):
                    yield subject.finding(
                        CREDENTIAL,
                        pod.manifest,
                        f"Variable {name} of container {container.get('name')} holds a credential in plain text: who "
                        "reads the values, the release or the pod has it.",
                        "Put it into a Secret and refer to it with valueFrom.secretKeyRef.",
                        path=f"{pod.path}.containers.{container.get('name')}.env.{name}",
                        keys=(name,),
                    )
