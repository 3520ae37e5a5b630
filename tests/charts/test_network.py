"""NetworkPolicies: what the pods of a whole environment may connect to."""

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
            if policy.namespace != workload.namespace or not selector <= template["metadata"]["labels"].items():
                continue
            ports = {port["port"] for rule in policy.content["spec"]["egress"] for port in rule.get("ports", ())}
            assert {443, 6443} <= ports, f"{workload.name}: 443 on EKS, 6443 on kind"
            seen.add(workload.name)
    assert {"genai-argo-workflow-controller", "genai-kuberay-operator", "genai-jupyterhub-hub"} <= seen
