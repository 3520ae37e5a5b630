"""NetworkPolicies: what the pods of a whole environment may connect to."""

from ipaddress import ip_network

import pytest

from drydock.testing.pytest_plugin import RenderEnvironment


def test_pods_with_a_token_reach_the_api_wherever_it_listens(render_environment: RenderEnvironment) -> None:
    manifests = render_environment("prod").manifests
    policies = [each for each in manifests if each.kind == "NetworkPolicy"]
    seen = set()
    for workload in (each for each in manifests if each.kind in ("Deployment", "DaemonSet")):
        template = workload.content["spec"]["template"]
        if template["spec"].get("automountServiceAccountToken") is False or template["spec"].get("hostNetwork"):
            continue
        for policy in policies:
            selector = policy.content["spec"]["podSelector"].get("matchLabels", {}).items()
            if (
                policy.namespace != workload.namespace
                or not selector
                or not selector <= template["metadata"]["labels"].items()
            ):
                continue
            ports = {port["port"] for rule in policy.content["spec"]["egress"] for port in rule.get("ports", ())}
            assert {443, 6443} <= ports, f"{workload.name}: 443 on EKS, 6443 on kind"
            seen.add(workload.name)
    assert {"genai-argo-workflow-controller", "genai-kuberay-operator", "genai-jupyterhub-hub"} <= seen


ENVIRONMENTS = ("airgap", "auto-mode", "dev", "prod")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_namespace_of_pods_is_closed_and_each_of_our_pods_is_opened_by_a_policy_of_its_own(
    render_environment: RenderEnvironment, environment: str
) -> None:
    """A pod that is nobody's, such as one of a person, has no connections; one of ours has those of its chart."""
    manifests = render_environment(environment).manifests
    policies = [each for each in manifests if each.kind == "NetworkPolicy"]
    closed = {
        each.namespace
        for each in policies
        if not each.content["spec"]["podSelector"]
        and not any(each.content["spec"][way] for way in ("ingress", "egress"))
    }
    assert closed == {"genai"}
    for workload in manifests:
        template = workload.content.get("spec", {}).get("template") if workload.kind in WORKLOADS else None
        if template is None or workload.namespace not in closed:
            continue
        labels = template["metadata"]["labels"].items()
        selectors = [each.content["spec"]["podSelector"].get("matchLabels", {}).items() for each in policies]
        assert any(selector and selector <= labels for selector in selectors), workload.name


WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_dns_is_asked_of_the_cluster_alone(render_environment: RenderEnvironment, environment: str) -> None:
    """Port 53 of any host would be a way out: names carry data."""
    for policy in render_environment(environment).manifests:
        if policy.kind == "NetworkPolicy":
            for rule in policy.content["spec"].get("egress") or ():
                if 53 in {port.get("port") for port in rule.get("ports", ())}:
                    blocks = [ip_network(peer["ipBlock"]["cidr"]) for peer in rule["to"] if "ipBlock" in peer]
                    assert rule["to"]
                    assert all(block.is_private or block in SHARED for block in blocks), policy.name


SHARED = (ip_network("100.64.0.0/10"), ip_network("169.254.20.10/32"), ip_network("198.18.0.0/15"))
