"""Ways to become another account, through the network and to credentials, in anybody's charts."""

import base64
from typing import Any

import pytest

from drydock.checks.findings import Severity
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
        ("create", "*/exec", "run commands in other pods"),
        ("*", "serviceaccounts", "impersonate other accounts"),
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
        ("*", "*", {"apiGroups": ["monitoring.coreos.com"]}),
        ("get", "*", {"apiGroups": ["rbac.authorization.k8s.io"]}),
        ("*", "pods", {"apiGroups": ["metrics.k8s.io"]}),
    ],
)
def test_rights_that_lead_nowhere(verb: str, resource: str, rule: dict[str, Any]) -> None:
    assert findings(account(verb, resource, **rule), "account-escalation") == []


@pytest.mark.parametrize(("group", "attacks"), [("apps", 1), ("keda.sh", 1), ("", 4), ("*", 6)])
def test_all_resources_are_those_of_their_group(group: str, attacks: int) -> None:
    (found,) = findings(account("*", "*", apiGroups=[group]), "account-escalation")
    assert found.reason.count("; it can ") == attacks - 1


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ({"kind": "Group", "name": "researchers"}, False),
        ({"kind": "User", "name": "ada"}, False),
        ({"kind": "User", "name": "system:serviceaccount:genai:runner"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts:genai"}, True),
    ],
)
def test_people_are_no_accounts_of_code(subject: dict[str, str], found: bool) -> None:
    role, _ = account("create").split("\n---\n", 1)
    own = binding("own", **subject).replace('"ClusterRole"', '"Role"')
    reasons = [finding.reason for finding in findings(f"{role}\n---\n{own}", "account-escalation")]
    assert any("make or change pods" in reason for reason in reasons) is found


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
    assert findings(account("create"), "accepted-unused", environment={"accepted": accepted}) == []


def test_an_accepted_entry_that_matches_nothing_says_what_is_there_instead() -> None:
    entries = (
        Accepted("account-escalation", "Role/other", "It makes pods."),
        Accepted("image-tag-mutable", "Role/own", "It makes pods."),
    )
    other, own = findings(account("create"), "accepted-unused", environment={"accepted": entries})
    assert "account-escalation on Role/other matches no finding: that check has findings on Role/own" in other.reason
    assert "Role/own has no finding of that check, but account-escalation" in own.reason
    altered = {"accepted": entries, "altered": True}
    assert findings(account("create"), "accepted-unused", environment=altered) == []


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("OPENAI_API_KEY", "sk-1234", True),
        ("AWS_SECRET_ACCESS_KEY", "abcd", True),
        ("github_token", "ghp_1", True),
        ("DATABASE", "postgresql://user:word@db:5432/x", True),
        ("DATABASE", "postgresql://db:5432/x", False),
        ("CACHE", "redis://:word@redis:6379/0", True),
        ("DB_PASSWORD", "12345678", True),
        ("USE_PASSWORD", "1", False),
        ("BOS_TOKEN", "128000", False),
        ("spring.datasource.password", "word", True),
        ("dbPassword", "word", True),
        ("maxTokens", "word", False),
        ("API_KEY", "/keys/api", False),
        ("API_KEY", "$(OTHER)", False),
        ("MAX_TOKENS", "100", False),
        ("USE_TOKEN", "true", False),
        ("PGPASSWORD", "word", True),
        ("LITELLM_MASTER_KEY", "word", True),
        ("SECRET_KEY", "word", True),
        ("DB_PASS", "word", True),
        ("DATABASE", "postgresql://user:$(PASSWORD)@db:5432/x", False),
        ("DATABASE", "postgresql://user:${PASSWORD}@db:5432/x", False),
        ("EOS_TOKEN", "</s>", False),
        ("USE_TOKEN", "yes", False),
        ("ENCRYPTION_KEY", "arn:aws:kms:us-west-2:111122223333:key/1", False),
        ("TLS_SECRET", "webhook-cert", False),
    ],
)
def test_credentials_in_plain_text(name: str, value: str, found: bool) -> None:
    spec = container(pod_spec(), env=[{"name": name, "value": value}])
    text = deployment({**spec, "volumes": [{"name": "tls", "secret": {"secretName": "webhook-cert"}}]})
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
        (["--database=postgresql://user:word@db/x"], True),
        (["postgresql://user:word@db/x"], True),
        (["sh", "-c", "exec serve --api-key=abc"], True),
        (["sh", "-c", 'exec serve --api-key="$API_KEY" --hf-token $(cat /tokens/hf)'], False),
        (["redis-server", "--requirepass", "abc"], True),
        (["redis-server", "--requirepass", "123456"], True),
        (["sh", "-c", "export HF_TOKEN=abc; exec serve"], True),
        (["env", "API_KEY=abc", "serve"], True),
        (["sh", "-c", 'HF_TOKEN="$(cat /tokens/hf)" KEY_API_KEY=`cat /key` exec serve'], False),
        (["python", "-c", "connect(password=password)"], False),
    ],
)
def test_credentials_among_arguments(words: list[str], found: bool) -> None:
    wrong = findings(deployment(container(pod_spec(), args=words)), "credential-in-values")
    assert bool(wrong) is found
    assert not any(secret in finding.reason for finding in wrong for secret in ("1234", "abc", "word"))


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
@pytest.mark.parametrize("token", ["hf_" + "a1" * 17, "AKIA" + "A1" * 8, "-----BEGIN RSA PRIVATE " + "KEY-----"])
def test_tokens_in_the_form_of_their_provider(kind: str, token: str) -> None:
    wrong = objects({"kind": kind, "metadata": {"name": "own"}, "stringData": {"note": f"it is {token}"}})
    assert findings(wrong, "credential-in-values")


@pytest.mark.parametrize(("token", "found"), [("hf_" + "a1" * 17, True), ("-----BEGIN PRIVATE " + "KEY-----", False)])
def test_tokens_of_a_secret_in_base64(token: str, found: bool) -> None:
    """Charts make certificates with their keys, as those of webhooks."""
    data = {"note": base64.b64encode(token.encode()).decode()}
    own = objects({"kind": "Secret", "metadata": {"name": "own"}, "data": data})
    assert bool(findings(own, "credential-in-values")) is found


@pytest.mark.parametrize("key", ["security-groups", "security-group-prefix-lists"])
def test_who_reaches_a_load_balancer_with_groups_of_the_account_is_not_known(key: str) -> None:
    alb = {"alb.ingress.kubernetes.io/scheme": "internet-facing", f"alb.ingress.kubernetes.io/{key}": "one"}
    nlb = {f"service.beta.kubernetes.io/aws-load-balancer-{name}": "one" for name in ("scheme", key)}
    nlb["service.beta.kubernetes.io/aws-load-balancer-scheme"] = "internet-facing"
    for endpoint in (
        {"kind": "Ingress", "metadata": {"name": "own", "annotations": alb}},
        service(type="LoadBalancer", annotations=nlb),
    ):
        (found,) = findings(objects(endpoint), "public-endpoint")
        assert found.severity is Severity.NOTE


@pytest.mark.parametrize(("internal", "found"), [("true", False), ("false", True), (None, False)])
def test_the_older_annotation_counts_for_the_controller_too(internal: str | None, found: bool) -> None:
    annotations = {"service.beta.kubernetes.io/aws-load-balancer-type": "external"}
    if internal:
        annotations["service.beta.kubernetes.io/aws-load-balancer-internal"] = internal
    own = objects(service(type="LoadBalancer", annotations=annotations))
    assert bool(findings(own, "public-endpoint")) is found


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


CLOSED = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
EVERYWHERE = {"ipBlock": {"cidr": "0.0.0.0/0"}}


@pytest.mark.parametrize(
    ("specs", "open_ways"),
    [
        ([CLOSED], 0),
        ([{**CLOSED, "podSelector": {"matchLabels": {}, "matchExpressions": []}}], 0),
        ([{"policyTypes": ["Ingress", "Egress"]}], 0),
        ([{"podSelector": {}}], 1),
        # Without policyTypes, a policy with rules of egress is about it.
        ([{"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}], 0),
        ([{**CLOSED, "ingress": [{}], "egress": [{}]}], 2),
        ([{**CLOSED, "egress": [{"to": [EVERYWHERE]}]}], 1),
        ([{**CLOSED, "egress": [{"to": [EVERYWHERE], "ports": [{"port": 443}]}]}], 0),
        ([{**CLOSED, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}]}], 0),
        # Policies add up: one that allows all opens what another closed.
        ([CLOSED, {**CLOSED, "egress": [{}]}], 1),
    ],
)
def test_a_namespace_is_closed_by_what_its_policies_are_together(specs: list[dict[str, Any]], open_ways: int) -> None:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    policies = [{**kind, "metadata": {"name": f"own-{number}"}, "spec": spec} for number, spec in enumerate(specs)]
    assert len(findings(deployment(pod_spec()) + objects(*policies), "namespace-open")) == open_ways


def cluster_role(name: str, labels: dict[str, str] | None = None, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, **content}


@pytest.mark.parametrize(
    ("labels", "bound", "found"),
    [
        ({"part-of": "whole"}, "whole", True),
        ({"part-of": "other"}, "whole", False),
        ({"rbac.authorization.k8s.io/aggregate-to-view": "true"}, "view", True),
        ({"rbac.authorization.k8s.io/aggregate-to-admin": "true"}, "view", False),
    ],
)
def test_rights_that_another_cluster_role_takes_over(labels: dict[str, str], bound: str, found: bool) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    rule = {"clusterRoleSelectors": [{"matchLabels": {"part-of": "whole"}}]}
    roles = objects(cluster_role("part", labels, rules=rules), cluster_role("whole", aggregationRule=rule))
    text = roles + binding(bound, kind="ServiceAccount", name="runner")
    assert [finding.object for finding in findings(text, "account-escalation")] == ["ClusterRole/part"] * found


def test_a_role_of_the_release_may_have_the_name_of_a_strong_one() -> None:
    own = binding("edit", kind="ServiceAccount", name="runner").replace('"ClusterRole"', '"Role"')
    assert findings(own, "account-escalation") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"envFrom": [{"configMapRef": {"name": "own"}}]},
        {"env": [{"name": "DB_PASSWORD", "valueFrom": {"configMapKeyRef": {"name": "own", "key": "DB_PASSWORD"}}}]},
        {"livenessProbe": {"exec": {"command": ["ping", "--password=word"]}}},
        {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "DB_PASSWORD=word leave"]}}}},
    ],
)
def test_credentials_that_reach_a_container_on_other_ways(fields: dict[str, Any]) -> None:
    own = objects({"kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"DB_PASSWORD": "word"}})
    (found,) = findings(own + deployment(container(pod_spec(), **fields)), "credential-in-values")
    assert "word " not in found.reason.replace("--password ", "")


def test_base64_may_be_wrapped() -> None:
    data = base64.b64encode(("hf_" + "a1" * 17).encode()).decode()
    own = objects({"kind": "Secret", "metadata": {"name": "own"}, "data": {"note": f"{data[:20]}\n{data[20:]}\n"}})
    assert findings(own, "credential-in-values")


@pytest.mark.parametrize(
    ("annotations", "found"),
    [
        ({"type": "external", "internal": "False"}, True),
        ({"type": "external", "internal": "0"}, True),
        ({"internal": ""}, True),
        ({"internal": "0.0.0.0/0"}, False),
        ({"scheme": "internal", "internal": "false"}, False),
    ],
)
def test_annotations_are_read_as_the_controllers_do(annotations: dict[str, str], found: bool) -> None:
    prefixed = {f"service.beta.kubernetes.io/aws-load-balancer-{key}": value for key, value in annotations.items()}
    assert bool(findings(objects(service(type="LoadBalancer", annotations=prefixed)), "public-endpoint")) is found


@pytest.mark.parametrize(
    ("kind", "spec", "path"),
    [
        ("RayCluster", {"headGroupSpec": {"serviceType": "LoadBalancer"}}, "spec.headGroupSpec."),
        ("RayJob", {"rayClusterSpec": {"headGroupSpec": {"serviceType": "NodePort"}}}, "rayClusterSpec.headGroupSpec."),
        ("RayService", {"serveService": {"spec": {"type": "LoadBalancer"}}}, "spec.serveService."),
        ("RayService", {"serveService": {"spec": {"type": "ClusterIP"}}}, ""),
    ],
)
def test_services_that_kuberay_makes(kind: str, spec: dict[str, Any], path: str) -> None:
    own = objects({"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": "own"}, "spec": spec})
    assert [path in finding.path for finding in findings(own, "public-endpoint")] == [True] * bool(path)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("LoadBalancerConfiguration", "securityGroups"), ("IngressClassParams", "prefixListsIDs")],
)
def test_groups_of_a_class_or_a_gateway_are_a_note_too(kind: str, field: str) -> None:
    spec = {"scheme": "internet-facing", field: ["one"]}
    (found,) = findings(objects({"kind": kind, "metadata": {"name": "own"}, "spec": spec}), "public-endpoint")
    assert found.severity is Severity.NOTE
