"""The server-side dry run, on a real API server."""

import json
from pathlib import Path

from drydock.checks.findings import Severity
from drydock.clusters.dry_run_findings import server_findings
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.suite.environments import Environment
from drydock.suite.render import RenderedEnvironment
from tests.checks.helpers import manifests_of
from tests.scheduling.builders import deployment, pod_spec, pool

PRIVILEGED = pod_spec()
PRIVILEGED["containers"][0]["securityContext"] = {"privileged": True}
TYPO = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "typo"}, "date": {"a": "b"}})
UNKNOWN = json.dumps({"apiVersion": "example.com/v1", "kind": "Nope", "metadata": {"name": "nope"}})
UNEVEN = pool("uneven", [("karpenter.sh/capacity-type", "In", [])])


def test_a_real_api_server_tells_what_it_would_refuse(rehearsal_cluster: RehearsalCluster) -> None:
    text = "\n---\n".join(
        [pool("fine"), UNEVEN, deployment(PRIVILEGED, "privileged"), TYPO, UNKNOWN, deployment(pod_spec(), "9" * 70)]
    )
    environment = Environment("test", Path("test.yaml"), "", (), namespace="genai")
    rehearsal_cluster.await_api()
    found = server_findings(rehearsal_cluster.kubeconfig, RenderedEnvironment(environment, manifests_of(text)))
    by_object: dict[str, list[str]] = {}
    for each in found:
        by_object.setdefault(each.object, []).append(f"{each.severity} {each.path} {each.reason}")
    assert "NodePool/fine" not in by_object
    assert any(
        "requirements with operator 'In' must have a value defined" in each for each in by_object["NodePool/uneven"]
    )
    (privileged,) = by_object["Deployment/privileged"]
    assert privileged.startswith("warning  would violate PodSecurity")
    assert any('unknown field "date"' in each or "date" in each for each in by_object["ConfigMap/typo"])
    assert by_object["Nope/nope"] == ["error  the API server serves no example.com/v1 Nope"]
    assert any(
        each.startswith("error metadata.labels") or "must be no more than 63" in each
        for each in by_object[f"Deployment/{'9' * 70}"]
    )
    assert {each.severity for each in found} == {Severity.ERROR, Severity.WARNING}
    assert rehearsal_cluster.await_api().find("/apis/karpenter.sh/v1/nodepools/fine") is None
