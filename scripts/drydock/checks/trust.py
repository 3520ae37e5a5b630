"""ServiceAccounts that can become stronger ones, and what the network and values leave open."""

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.network_reach import directions, may_hold_pods, selects
from drydock.checks.subject import Subject
from drydock.suite.manifests import Manifest

ESCALATION = "account-escalation"
ANY_NAMESPACE = "policy-any-namespace"
CREDENTIAL = "credential-in-values"
NAMESPACE = "namespace-open"

Fields = Mapping[str, Any]

_WORKLOADS = frozenset(
    {
        *("pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs"),
        *("replicationcontrollers", "leaderworkersets", "rayclusters", "rayjobs", "rayservices", "raycronjobs"),
        *("workflows", "workflowtemplates", "clusterworkflowtemplates", "cronworkflows", "scaledjobs", "notebooks"),
        *("pytorchjobs", "mpijobs", "tfjobs", "trainjobs", "sparkapplications", "scheduledsparkapplications"),
    }
)
"""What becomes pods, as the account that the object names."""
_GUARDS = frozenset(
    {
        *("networkpolicies", "validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        *("validatingwebhookconfigurations", "mutatingwebhookconfigurations"),
        *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    }
)
_WORKLOAD_GROUPS = frozenset(
    {
        *("", "apps", "batch", "leaderworkerset.x-k8s.io", "ray.io", "argoproj.io", "keda.sh", "kubeflow.org"),
        *("trainer.kubeflow.org", "sparkoperator.k8s.io"),
    }
)
_GUARD_GROUPS = frozenset({"networking.k8s.io", "admissionregistration.k8s.io"})
_IDENTITIES = frozenset({"serviceaccounts", "users", "groups"})
_STRONG = frozenset({"cluster-admin", "admin", "edit"})
"""ClusterRoles of every cluster that make pods and read Secrets."""
_AGGREGATED = {"view": ("view",), "edit": ("view", "edit"), "admin": ("view", "edit", "admin")}
"""ClusterRoles of every cluster that take over those of a label."""
_OF_KUBERNETES = frozenset({"kube-system", "kube-public", "kube-node-lease"})
_EVERY_ACCOUNT = ("system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts")
_WRITES = frozenset({"create", "update", "patch", "*"})
_READS = frozenset({"get", "list", "watch", "*"})
_BINDINGS = frozenset({"rolebindings", "clusterrolebindings", "roles", "clusterroles"})
_BY_SUBRESOURCE = (
    ({"certificatesigningrequests/approval"}, _WRITES, "approve a certificate for any user"),
    ({"pods/proxy", "services/proxy"}, _WRITES | _READS, "reach ports of pods past NetworkPolicies, by the API server"),
    (
        {"pods/exec", "pods/attach", "pods/ephemeralcontainers", "pods/portforward"},
        _WRITES | {"get"},
        "run commands in other pods and take their tokens",
    ),
    ({"nodes/proxy"}, _WRITES | _READS, "reach kubelets by nodes/proxy and run commands in any pod of a node"),
)
"""Subresources, the verbs that are enough, and the attack."""
_SECRET_NAME = re.compile(
    r"(?:^|[_.-]|(?<=[a-z0-9])(?=[A-Z]))(?i:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|API[_-]?KEY"
    r"|(?:ACCESS|PRIVATE|MASTER|SECRET|SIGNING|ENCRYPTION|SALT)[_-]?KEY|CREDENTIALS?)$|^PGPASSWORD$"
)
_PASSWORD = re.compile(r"pass(?:word|wd|phrase)$|requirepass$", re.IGNORECASE)
"""Names of what is a credential even if it is a number."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:(?![$<{*])[^/\s@]+@", re.IGNORECASE)
_PROVIDERS = (
    r"\b(?:hf_[A-Za-z0-9]{30,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|xox[abprs]-[\w-]{20,}|nvapi-[\w-]{30,}|A(?:KI|SI)A[0-9A-Z]{16}|AIza[\w-]{35}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})\b|hooks\.slack\.com/services/T\w+/B\w+/\w{16,}"
)
"""Forms that providers give their tokens, so that scanners find them."""
_TOKEN = re.compile(_PROVIDERS + r"|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCODED = re.compile(_PROVIDERS)
"""Of what a Secret holds in base64, where charts keep the keys of certificates that they make themselves."""
_FLAG = re.compile(
    r"--?[\w-]*(?:token|secret|password|passwd|passphrase|requirepass|api[-_]?key|access[-_]key|private[-_]key)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"\W*|true|false|yes|no|on|off|enabled|disabled|none|null|[0-9]+|/\S*|<[^>]*>|arn:\S+|alias/\S+|os\.environ\b.*|[$`].*",
    re.IGNORECASE,
)
"""What holds no credential: nothing, switches, numbers, paths, special tokens, names at AWS, references."""


def check(subject: Subject) -> Iterator[Finding]:
    """Rights, policies, namespaces and variables that give more than was meant."""
    for manifest in subject.manifests:
        if manifest.kind in ("Role", "ClusterRole"):
            yield from _escalations(subject, manifest)
        elif manifest.kind == "NetworkPolicy":
            yield from _any_namespace(subject, manifest)
        elif manifest.kind == "Namespace":
            yield from _unenforced(subject, manifest)
        elif manifest.kind in ("RoleBinding", "ClusterRoleBinding"):
            yield from _strong_binding(subject, manifest)
        yield from _tokens(subject, manifest)
    yield from _open_namespaces(subject)
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
    verbs, resources = set(rule.get("verbs") or ()), _resources(rule)
    named = bool(rule.get("resourceNames"))
    groups = set(rule.get("apiGroups") or ())
    if groups == {"metrics.k8s.io"}:  # whose pods and nodes are measurements
        return

    def has(names: Collection[str], of: Collection[str]) -> bool:
        return bool(resources & {*names}) or ("*" in resources and bool(groups & {"*", *of}))

    if verbs & {"escalate", "bind", "impersonate"}:
        yield f"{' or '.join(sorted(verbs & {'escalate', 'bind', 'impersonate'}))} and so take any role"
    if "*" in verbs and has(_IDENTITIES, {""}) and not named:
        yield "impersonate other accounts and so take their roles"
    if has(_BINDINGS, {"rbac.authorization.k8s.io"}) and verbs & _WRITES and not named:
        yield "write roles and bindings and so grant itself what it may bind"
    if has(_WORKLOADS, _WORKLOAD_GROUPS) and verbs & (_WRITES - {"create"} if named else _WRITES):
        yield "make or change pods that run as a stronger account, or on the host where admission lets them"
    if has({"secrets"}, {""}) and verbs & _READS and not named:
        yield "read Secrets, tokens and passwords of others among them"
    if has(_GUARDS, _GUARD_GROUPS) and verbs & (_WRITES | {"delete", "deletecollection"}) and not named:
        yield "remove or replace policies and webhooks that protect others"
    if has({"persistentvolumes"}, {""}) and verbs & _WRITES and not named:
        yield "make volumes of any path of a node"
    if "serviceaccounts/token" in resources and verbs & _WRITES and not named:
        yield "make tokens of any account"
    for subresources, needed, attack in _BY_SUBRESOURCE:
        if resources & subresources and verbs & needed:
            yield attack


def _resources(rule: Fields) -> set[str]:
    """Resources of a rule, those of `*/SUBRESOURCE` one by one."""
    found = set(rule.get("resources") or ())
    every = [resource.removeprefix("*/") for resource in found if resource.startswith("*/")]
    kinds = ("pods", "services", "nodes", "serviceaccounts", "certificatesigningrequests")
    return found | {f"{kind}/{subresource}" for subresource in every for kind in kinds}


def _accounts(binding: Manifest) -> list[str]:
    """ServiceAccounts among the subjects of a binding, by their names or by their groups; people are left out."""
    found = set()
    for subject in binding.content.get("subjects") or ():
        name = str(subject.get("name"))
        if subject.get("kind") == "ServiceAccount":
            found.add(name)
        elif subject.get("kind") == "User" and name.startswith("system:serviceaccount:"):
            found.add(name.rpartition(":")[2])
        elif name.startswith(_EVERY_ACCOUNT):
            found.add(name)
    return sorted(found)


def _holders(subject: Subject, role: Manifest) -> list[str]:
    """Accounts with the rights of a role, by its own name or by that of a ClusterRole that takes them over."""
    names = {(role.kind, name) for name in (role.name, *_aggregates(subject, role))}
    found = set()
    for binding in subject.manifests:
        if binding.kind not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        reference = binding.content.get("roleRef") or {}
        same_place = role.kind == "ClusterRole" or _place(subject, binding) == _place(subject, role)
        if (reference.get("kind"), reference.get("name")) in names and same_place:
            found.update(_accounts(binding))
    return sorted(found)


def _aggregates(subject: Subject, role: Manifest) -> Iterator[str]:
    """Names of ClusterRoles that take over the rights of a ClusterRole by its labels."""
    labels = (role.content.get("metadata") or {}).get("labels") or {}
    if role.kind != "ClusterRole":
        return
    for stronger, taken in _AGGREGATED.items():
        if any(labels.get(f"rbac.authorization.k8s.io/aggregate-to-{weaker}") == "true" for weaker in taken):
            yield stronger
    for other in subject.manifests:
        if other.kind == "ClusterRole":
            selectors = (other.content.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
            if any(selects(selector, labels) for selector in selectors):
                yield other.name


def _strong_binding(subject: Subject, binding: Manifest) -> Iterator[Finding]:
    """Bindings to every account, and of a ServiceAccount to a role of Kubernetes that makes pods or reads Secrets."""
    reference = binding.content.get("roleRef") or {}
    role = str(reference.get("name"))
    subjects: Sequence[Fields] = binding.content.get("subjects") or ()
    every = sorted(str(member.get("name")) for member in subjects if str(member.get("name")).startswith(_EVERY_ACCOUNT))
    accounts = _accounts(binding)
    if every:
        reason = f"Every account in {', '.join(every)} has the rights of {role}: any pod with a token can use them."
    elif role in _STRONG and reference.get("kind") == "ClusterRole" and accounts:
        reason = (
            f"Code that gets the token of ServiceAccount {', '.join(accounts)} has the rights of {role}: it can make "
            "pods that run as a stronger account, and read Secrets."
        )
    else:
        return
    yield subject.finding(
        ESCALATION,
        binding,
        reason,
        "Bind a Role of its own, with the verbs and resources that its program uses, to one ServiceAccount.",
        path="roleRef",
        severity=Severity.WARNING,
    )


def _cluster_wide(subject: Subject, role: Manifest) -> bool:
    names = {role.name, *_aggregates(subject, role)}
    return any(
        manifest.kind == "ClusterRoleBinding" and (manifest.content.get("roleRef") or {}).get("name") in names
        for manifest in subject.manifests
    )


def _place(subject: Subject, manifest: Manifest) -> str:
    return manifest.namespace or subject.rendered.environment.namespace


def _any_namespace(subject: Subject, policy: Manifest) -> Iterator[Finding]:
    """Ingress from pods of every namespace, by labels that they can give themselves or by their addresses."""
    for position, rule in enumerate((policy.content.get("spec") or {}).get("ingress") or ()):
        peers: Sequence[Fields] = rule.get("from") or ()
        opened = [
            peer
            for peer in peers
            if peer.get("namespaceSelector") is not None and not _narrows(peer["namespaceSelector"])
        ]
        blocks = [peer["ipBlock"]["cidr"] for peer in peers if peer.get("ipBlock") and may_hold_pods(peer["ipBlock"])]
        if opened or blocks or not peers:
            ports = ", ".join(str(entry.get("port")) for entry in rule.get("ports") or ()) or "every port"
            if blocks and not opened:
                who = f"addresses that pods have ({', '.join(blocks)})"
            elif opened and all(peer.get("podSelector") for peer in opened):
                who = "a pod of any namespace that gives itself the labels of the peer"
            else:
                who = "a pod of any namespace"
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
    """Whether a selector of namespaces names some: all have names, and most lack any other label."""
    chosen = selector or {}
    return bool(chosen.get("matchLabels")) or any(
        expression.get("operator") == "In"
        or (expression.get("operator") == "Exists" and expression.get("key") != "kubernetes.io/metadata.name")
        for expression in chosen.get("matchExpressions") or ()
    )


def _unenforced(subject: Subject, namespace: Manifest) -> Iterator[Finding]:
    """Namespaces of the release that admit what the host may do."""
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


def _open_namespaces(subject: Subject) -> Iterator[Finding]:
    """Namespaces of the release's own, or with its pods, in which a pod without a policy talks to everything."""
    own = {manifest.name: manifest for manifest in subject.manifests if manifest.kind == "Namespace"}
    named = {_place(subject, pod.manifest): pod.manifest for pod in reversed(subject.pods)}
    for name, manifest in sorted({**named, **own}.items()):
        if name in _OF_KUBERNETES:
            continue
        for direction in ("Ingress", "Egress"):
            every = [policy for policy in subject.manifests if _is_for_all(subject, policy, name, direction)]
            opened = [policy.name for policy in every if _allows_all(policy, direction)]
            if opened or not every:
                yield subject.finding(
                    NAMESPACE,
                    manifest,
                    f"A pod in namespace {name} that no NetworkPolicy selects "
                    f"{'takes connections from' if direction == 'Ingress' else 'connects to'} everywhere: the "
                    f"namespace has {f'policy {opened[0]}, which allows all' if opened else 'no policy for all pods'}.",
                    f"Take the rule that allows all out of policy {opened[0]}."
                    if opened
                    else f"Add a NetworkPolicy with an empty podSelector and policyTypes: [{direction}].",
                    path=f"NetworkPolicy.{direction}",
                    severity=Severity.WARNING,
                )


def _is_for_all(subject: Subject, policy: Manifest, namespace: str, direction: str) -> bool:
    spec = policy.content.get("spec") or {}
    return (
        policy.kind == "NetworkPolicy"
        and _place(subject, policy) == namespace
        and selects(spec.get("podSelector"), None, certain=True)
        and direction in directions(spec)
    )


def _allows_all(policy: Manifest, direction: str) -> bool:
    """Whether a rule of a policy has every peer on every port, so that no other policy keeps anything out."""
    for rule in (policy.content.get("spec") or {}).get(direction.lower()) or ():
        peers = rule.get("from" if direction == "Ingress" else "to") or ()
        blocks = [peer["ipBlock"] for peer in peers if peer.get("ipBlock")]
        whole = any(str(block.get("cidr")).endswith("/0") and not block.get("except") for block in blocks)
        if not rule.get("ports") and (not peers or whole):
            return True
    return False


def _credentials(subject: Subject) -> Iterator[Finding]:
    """Variables and arguments of containers that hold a credential in plain text, for every reader of pods."""
    names = _names_of_secrets(subject)
    config_maps = [manifest for manifest in subject.manifests if manifest.kind == "ConfigMap"]
    for pod in subject.pods:
        maps = {
            config_map.name: config_map
            for config_map in config_maps
            if _place(subject, config_map) == _place(subject, pod.manifest)
        }
        for container in pod.containers:
            place = f"{pod.path}.containers.{container.get('name')}"
            for name, value in _variables(container, maps):
                if (_SECRET_NAME.search(name) and _is_secret(name, value, names)) or _IN_URL.search(value):
                    yield subject.finding(
                        CREDENTIAL,
                        pod.manifest,
                        f"Variable {name} of container {container.get('name')} holds a credential in plain text: "
                        "anyone who can read the values, the release or the pod can use it.",
                        "Put it into a Secret and refer to it with valueFrom.secretKeyRef.",
                        path=f"{place}.env.{name}",
                        keys=(name,),
                    )
            for flag, value in _flags(container):
                named = _FLAG.fullmatch(flag) or (_VARIABLE.fullmatch(flag) and _SECRET_NAME.search(flag))
                if (named and _is_secret(flag, value, names)) or _IN_URL.search(value):
                    yield subject.finding(
                        CREDENTIAL,
                        pod.manifest,
                        f"Argument {flag or 'of the command line'} of container {container.get('name')} holds a "
                        "credential in plain text: anyone who can read the values, the release, the pod or its "
                        "node's processes can use it.",
                        "Put it into a Secret and refer to it with valueFrom.secretKeyRef and $(NAME).",
                        path=f"{place}.args",
                        keys=("args",),
                    )


def _variables(container: Fields, config_maps: Mapping[str, Manifest]) -> Iterator[tuple[str, str]]:
    """Variables of a container with their values, those of ConfigMaps among them."""

    def data(reference: Fields) -> Mapping[str, Any]:
        found = config_maps.get(str(reference.get("name")))
        return (found.content.get("data") or {}) if found else {}

    for source in container.get("envFrom") or ():
        for name, value in data(source.get("configMapRef") or {}).items():
            yield f"{source.get('prefix') or ''}{name}", str(value)
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("configMapKeyRef") or {}
        value = data(reference).get(str(reference.get("key"))) if reference else variable.get("value")
        yield str(variable.get("name")), str(value or "")


def _is_secret(name: str, value: str, names: Collection[str]) -> bool:
    if re.fullmatch("[0-9]{4,}", value) and _PASSWORD.search(name):
        return True
    return not _NO_SECRET.fullmatch(value) and value not in names


def _names_of_secrets(subject: Subject) -> set[str]:
    """Secrets that the environment knows: programs are given their names, which are no secrets."""
    found = {manifest.name for manifest in subject.manifests if manifest.kind == "Secret"} | {
        *subject.rendered.environment.secrets
    }
    for pod in subject.pods:
        found |= {str(value) for path, value in _strings(pod.spec, ()) if path[-1] == "secretName"}
        found |= {str(value) for path, value in _strings(pod.spec, ()) if path[-2:] == ("secretKeyRef", "name")}
    return found


def _flags(container: Fields) -> Iterator[tuple[str, str]]:
    """Words of commands, those of scripts among them, each with its value: `--key=VALUE`, `--key VALUE`, `KEY=VALUE`.

    A word that is no flag has no name, for a message must not show what it holds.
    """
    hooks = [container.get(probe) or {} for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    hooks += [hook or {} for hook in (container.get("lifecycle") or {}).values() if not isinstance(hook, str)]
    commands = [(hook.get("exec") or {}).get("command") or () for hook in hooks]
    for command in ((*(container.get("command") or ()), *(container.get("args") or ())), *commands):
        words = [word.strip("\"'") for text in map(str, command) for word in text.split() or [""]]
        for word, following in zip_longest(words, words[1:], fillvalue=""):
            name, equals, value = word.partition("=")
            if equals and (word.startswith("-") or _VARIABLE.fullmatch(name)):
                yield name, value.rstrip(";").strip("\"'")
            elif not word.startswith("-"):
                yield "", word
            elif not following.startswith("-"):
                yield word, following


def _tokens(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    """Tokens in the form that their providers give them, anywhere in an object, Secrets of the release included."""
    for path, text in _strings(manifest.content, ()):
        encoded = manifest.kind == "Secret" and path[0] == "data" and _ENCODED.search(_decoded(text))
        if encoded or _TOKEN.search(text):
            yield subject.finding(
                CREDENTIAL,
                manifest,
                "The object holds a token in plain text, in the form that its provider gives tokens: anyone who "
                "can read the values or the release can use it.",
                "Revoke it, keep the new one in a Secret that the release does not make, and refer to that.",
                path=".".join(path),
            )
            return


def _decoded(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return ""


def _strings(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, (*path, str(key)))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _strings(item, (*path, str(position)))
