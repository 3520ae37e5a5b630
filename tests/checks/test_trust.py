"""Ways to become another account, through the network and to credentials, in anybody's charts."""

from typing import Any

import pytest

from drydock.checks.services import are_the_world
from drydock.suite.environments import Accepted
from tests.checks.helpers import findings
from tests.checks.test_checks import account, container, objects, policy, service
from tests.scheduling.builders import deployment, pod_spec


@pytest.mark.parametrize(
    ("verb", "resource", "attack"),
    [
        ("patch", "deployments", "make or change pods"),
        ("list", "secrets", "read Secrets"),
        ("escalate", "roles", "take any role"),
        ("impersonate", "users", "take any role"),
        ("create", "rolebindings", "grant itself"),
        ("get", "pods/exec", "run commands in other pods"),
        ("create", "serviceaccounts/token", "tokens of any account"),
        ("get", "nodes/proxy", "any pod of a node"),
        ("*", "*", "make or change pods"),
        ("create", "rayjobs", "make or change pods"),
        ("create", "workflows", "make or change pods"),
        ("patch", "validatingwebhookconfigurations", "policies and webhooks"),
        ("delete", "networkpolicies", "policies and webhooks"),
        ("update", "certificatesigningrequests/approval", "certificate for any user"),
        ("create", "persistentvolumes", "any path of a node"),
        ("create", "pods/proxy", "past NetworkPolicies"),
        ("create", "pods/portforward", "run commands in other pods"),
    ],
)
def test_the_attack_is_told_in_a_sentence(verb: str, resource: str, attack: str) -> None:
    (found,) = findings(account(verb, resource), "account-escalation")
    assert attack in found.reason
    assert "ServiceAccount runner" in found.reason


@pytest.mark.parametrize(
    ("verb", "resource", "rule"),
    [
        ("get", "secrets", {"resourceNames": ["own"]}),
        ("create", "deployments", {"resourceNames": ["model"]}),
        ("get", "pods", {}),
        ("create", "events", {}),
    ],
)
def test_rights_that_lead_nowhere(verb: str, resource: str, rule: dict[str, Any]) -> None:
    assert findings(account(verb, resource, **rule), "account-escalation") == []


def test_a_named_workload_is_changed_to_run_as_another_account() -> None:
    assert findings(account("patch", "deployments", resourceNames=["model"]), "account-escalation")


def binding(role: str, **subject: str) -> str:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    content = {"kind": "RoleBinding", "metadata": {"name": "own"}, "roleRef": reference, "subjects": [subject]}
    return objects({"apiVersion": "rbac.authorization.k8s.io/v1", **content})


@pytest.mark.parametrize(
    ("role", "subject", "found"),
    [
        ("cluster-admin", {"kind": "ServiceAccount", "name": "runner"}, True),
        ("edit", {"kind": "ServiceAccount", "name": "runner"}, True),
        ("view", {"kind": "ServiceAccount", "name": "runner"}, False),
        ("edit", {"kind": "Group", "name": "researchers"}, False),
        ("view", {"kind": "Group", "name": "system:authenticated"}, True),
        ("view", {"kind": "Group", "name": "system:serviceaccounts:genai"}, True),
        ("view", {"kind": "User", "name": "system:anonymous"}, True),
    ],
)
def test_roles_of_the_cluster_that_the_release_only_binds(role: str, subject: dict[str, str], found: bool) -> None:
    assert bool(findings(binding(role, **subject), "account-escalation")) is found


def test_a_role_that_nobody_holds_is_nobodys_way() -> None:
    role, *_ = account("create").split("\n---\n")
    assert findings(role, "account-escalation") == []


def test_what_the_environment_accepts_is_not_shown() -> None:
    accepted = (Accepted("account-escalation", "Role/own", "It makes pods."),)
    assert findings(account("create"), "account-escalation", environment={"accepted": accepted}) == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("OPENAI_API_KEY", "sk-1234", True),
        ("AWS_SECRET_ACCESS_KEY", "abcd", True),
        ("github_token", "ghp_1", True),
        ("DATABASE", "postgresql://user:word@db:5432/x", True),
        ("DATABASE", "postgresql://db:5432/x", False),
        ("API_KEY", "/keys/api", False),
        ("API_KEY", "$(OTHER)", False),
        ("MAX_TOKENS", "100", False),
        ("USE_TOKEN", "true", False),
    ],
)
def test_credentials_in_plain_text(name: str, value: str, found: bool) -> None:
    text = deployment(container(pod_spec(), env=[{"name": name, "value": value}]))
    assert bool(findings(text, "credential-in-values")) is found


@pytest.mark.parametrize(
    ("ranges", "everything"),
    [
        (["0.0.0.0/0"], True),
        (["::/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["0.0.0.0/1"], True),
        (["0.0.0.0/2", "64.0.0.0/3", "8000::/1"], True),
        (["::/1", "8000::/1"], True),
        (["2000::/3"], True),
        (["52.0.0.0/8", "54.0.0.0/8"], True),
        (["52.0.0.0/8", "2600::/19"], False),
        (["10.0.0.0/8", "172.16.0.0/12", "fc00::/7", "a range"], False),
    ],
)
def test_ranges_that_are_the_world(ranges: list[str], everything: bool) -> None:
    assert are_the_world(ranges) is everything


@pytest.mark.parametrize("spec", [{"type": "NodePort"}, {"externalIPs": ["203.0.113.1"]}])
def test_services_that_are_open_without_a_load_balancer(spec: dict[str, Any]) -> None:
    assert findings(objects(service(**spec)), "public-endpoint")


@pytest.mark.parametrize(
    ("kind", "spec", "found"),
    [
        ("IngressClassParams", {"scheme": "internet-facing"}, True),
        ("IngressClassParams", {"scheme": "internet-facing", "inboundCIDRs": ["::/1", "8000::/1"]}, True),
        ("IngressClassParams", {"scheme": "internet-facing", "inboundCIDRs": ["203.0.113.0/24"]}, False),
        ("LoadBalancerConfiguration", {"scheme": "internet-facing"}, True),
        ("LoadBalancerConfiguration", {"scheme": "internet-facing", "sourceRanges": ["203.0.113.0/24"]}, False),
        ("LoadBalancerConfiguration", {"scheme": "internal"}, False),
    ],
)
def test_load_balancers_that_a_class_or_a_gateway_opens(kind: str, spec: dict[str, Any], found: bool) -> None:
    assert (
        bool(findings(objects({"kind": kind, "metadata": {"name": "own"}, "spec": spec}), "public-endpoint")) is found
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--api-key=sk-1234"], True),
        (["serve", "--hf-token", "abc"], True),
        (["--api-key=$(API_KEY)"], False),
        (["--api-key-file", "/keys/api"], False),
        (["--max-tokens=100", "--password-policy", "strict"], False),
    ],
)
def test_credentials_among_arguments(words: list[str], found: bool) -> None:
    assert bool(findings(deployment(container(pod_spec(), args=words)), "credential-in-values")) is found


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
@pytest.mark.parametrize("token", ["hf_" + "a1" * 17, "AKIA" + "A1" * 8, "-----BEGIN RSA PRIVATE " + "KEY-----"])
def test_tokens_in_the_form_of_their_provider(kind: str, token: str) -> None:
    wrong = objects({"kind": kind, "metadata": {"name": "own"}, "stringData": {"note": f"it is {token}"}})
    assert findings(wrong, "credential-in-values")


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}},
            True,
        ),
        ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}}, True),
        ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]}}, False),
        ({"ipBlock": {"cidr": "0.0.0.0/0"}}, True),
        ({"ipBlock": {"cidr": "10.20.0.0/16"}}, True),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9", "10.128.0.0/9"]}}, False),
        ({"ipBlock": {"cidr": "203.0.113.0/24"}}, False),
        ({"podSelector": {}}, False),
    ],
)
def test_peers_that_pods_of_any_namespace_are(peer: dict[str, Any], found: bool) -> None:
    assert bool(findings(policy({"from": [peer]}), "policy-any-namespace")) is found


def test_a_namespace_of_pods_that_the_release_does_not_make_is_closed_too() -> None:
    assert len(findings(deployment(pod_spec()), "namespace-open")) == 2
    assert findings(deployment(pod_spec()) + policy(selector={}), "namespace-open") == []
