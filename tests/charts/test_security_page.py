"""docs/security.md against what is rendered: every account with rights, and what keeps it to its own objects."""

import re
from collections.abc import Iterable

from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderEnvironment
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "security.md"
ROW = re.compile(r"^\| `(?P<name>[\w-]+)` \| (?P<namespace>[\w-]+) \| [^|]*\| (?P<policies>[^|]*)\|$", re.MULTILINE)
ON_CONDITION = {
    ("genai-argo-deployment", "deployment"),
    ("genai-argo-server", "server"),
    ("genai-argo-training", "training"),
}
"""Policies that `prod` has neither pipelines nor single sign-on for: tests/rehearsal/test_admission.py has both."""


def _bound(manifests: Iterable[Manifest]) -> set[tuple[str, str]]:
    bindings = (each.content for each in manifests if each.kind in ("RoleBinding", "ClusterRoleBinding"))
    return {(subject["name"], subject["namespace"]) for binding in bindings for subject in binding["subjects"]}


def _kept(manifests: Iterable[Manifest], name: str, namespace: str) -> set[str]:
    found = set()
    for policy in manifests:
        if policy.kind == "ValidatingAdmissionPolicy":
            conditions = " ".join(each["expression"] for each in policy.content["spec"]["matchConditions"])
            if f'"system:serviceaccount:{namespace}:{name}"' in conditions or f'"{name}"' in conditions:
                found.add(policy.name.rpartition("-")[2])
    return found


def test_the_page_has_every_account_with_rights_and_what_keeps_it(render_environment: RenderEnvironment) -> None:
    manifests = render_environment("prod").manifests
    rows = {
        (row["name"], row["namespace"]): set(re.findall(r"`(\w+)`", row["policies"]))
        for row in ROW.finditer(PAGE.read_text())
    }
    assert rows.keys() == _bound(manifests)
    for (name, namespace), policies in rows.items():
        expected = {each for each in policies if (name, each) not in ON_CONDITION}
        assert _kept(manifests, name, namespace) == expected, name


def test_pods_that_run_code_of_people_have_no_token(render_environment: RenderEnvironment) -> None:
    for manifest in render_environment("prod").manifests:
        if manifest.kind in ("RayCluster", "RayService"):
            spec = manifest.content["spec"].get("rayClusterConfig", manifest.content["spec"])
            groups = (spec["headGroupSpec"], *spec.get("workerGroupSpecs", ()))
            assert {group["template"]["spec"]["automountServiceAccountToken"] for group in groups} == {False}
