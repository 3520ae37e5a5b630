"""Ways to become another account, through the network and to credentials, in anybody's charts."""

from typing import Any

import pytest

from drydock.checks.services import covers_everything
from drydock.suite.environments import Accepted
from tests.checks.helpers import findings
from tests.checks.test_checks import account, container, objects, service
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
        ("patch", "deployments", {"resourceNames": ["model"]}),
        ("get", "pods", {}),
        ("create", "events", {}),
    ],
)
def test_rights_that_lead_nowhere(verb: str, resource: str, rule: dict[str, Any]) -> None:
    assert findings(account(verb, resource, **rule), "account-escalation") == []


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
        (["0.0.0.0/1"], False),
        (["10.0.0.0/8", "a range"], False),
    ],
)
def test_ranges_that_are_everything(ranges: list[str], everything: bool) -> None:
    assert covers_everything(ranges) is everything


@pytest.mark.parametrize("spec", [{"type": "NodePort"}, {"externalIPs": ["203.0.113.1"]}])
def test_services_that_are_open_without_a_load_balancer(spec: dict[str, Any]) -> None:
    assert findings(objects(service(**spec)), "public-endpoint")
