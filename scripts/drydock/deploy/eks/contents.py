"""What a target has besides what Terraform makes: objects and controllers that `deploy` puts into the cluster."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from drydock.deploy.eks.leftovers import CLUSTER_TAG
from drydock.suite.cluster_description import ClusterDescription
from drydock.suite.feature_gates import helm_settings
from drydock.suite.manifests import Manifest

SYSTEM = "kube-system"
KARPENTER_CHART = "oci://public.ecr.aws/karpenter/karpenter"
LOAD_BALANCER_CHART = ("aws-load-balancer-controller", "3.5.0", "https://aws.github.io/eks-charts")
"""Chart, version and repository; ci/eks/load-balancers.tf has the rights of this version."""
_BALANCER_CLASS = "service.k8s.aws/nlb"
_EFS = "efs.csi.aws.com"
_RESOURCES = ("requests.cpu=1", "requests.memory=1Gi", "limits.cpu=1", "limits.memory=1Gi")
"""Of Karpenter, as in upstream's own installation; its chart has none, so that it would be evicted first."""


def values_of(outputs: Mapping[str, Any], *, auto_mode: bool) -> dict[str, Any]:
    """Helm values of the suite that only the cluster knows.

    Nothing among them changes from one deployment to the next: Karpenter replaces every node of a class whose tags have
    changed.

    Args:
        outputs: of ci/eks.
        auto_mode: whether EKS runs the nodes.
    """
    place = {
        "clusterName": outputs["cluster_name"],
        "region": outputs["region"],
        "tags": {CLUSTER_TAG: outputs["cluster_name"]},
        "autoMode": {"enabled": auto_mode},
    }
    return {"global": {**place, **({"zones": outputs["zones"]} if outputs["zones"] else {})}}


def objects_of(target: ClusterDescription, outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Objects that neither EKS nor an add-on makes.

    Args:
        target: of the environment.
        outputs: of ci/eks.
    """
    for class_ in target.storage_classes:
        if class_.made_by == "deploy":
            content = class_.manifest()
            if class_.provisioner == _EFS:
                content["parameters"] = {
                    "provisioningMode": "efs-ap",
                    "fileSystemId": outputs["file_system"],
                    "directoryPerms": "700",
                }
            yield content
    if target.auto_mode:
        # Without it Auto Mode's nodes keep NetworkPolicies and enforce none.
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "amazon-vpc-cni", "namespace": SYSTEM},
            "data": {"enable-network-policy-controller": "true"},
        }
        for name in target.ingress_classes:
            yield {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": name},
                "spec": {"controller": "eks.amazonaws.com/alb"},
            }


def karpenter(cluster: str, version: str, gates: Mapping[str, bool]) -> list[str]:
    """Helm's arguments for Karpenter; its CRDs are ours.

    Args:
        cluster: its name; the queue of interruptions has it as well.
        version: of chart and program.
        gates: feature gates by their names in the chart.
    """
    settings = [
        f"settings.clusterName={cluster}",
        f"settings.interruptionQueue={cluster}-interruptions",
        helm_settings(gates),
        *(f"controller.resources.{amount}" for amount in _RESOURCES),
    ]
    return [*_upgrade("karpenter", KARPENTER_CHART, version), "--skip-crds", "--set", ",".join(settings)]


def load_balancer_controller(cluster: str, region: str, vpc: str, tags: Mapping[str, str]) -> list[str]:
    """Helm's arguments for the AWS Load Balancer Controller.

    Region and VPC are set, since instance metadata ends at the node. Two pods on the managed nodes.
    """
    chart, version, repository = LOAD_BALANCER_CHART
    settings = [
        f"clusterName={cluster}",
        f"region={region}",
        f"vpcId={vpc}",
        "serviceAccount.name=aws-load-balancer-controller",
        # A Service without a class stays with EKS: the webhook would take over those of every namespace.
        "enableServiceMutatorWebhook=false",
        # What no chart of the suite asks for, its role may not.
        *(f"{feature}=false" for feature in ("enableShield", "enableWaf", "enableWafv2")),
        *(f"defaultTags.{_escaped(key)}={_escaped(value)}" for key, value in tags.items()),
    ]
    return [*_upgrade(chart, chart, version), "--repo", repository, "--set-string", ",".join(settings)]


def needs_load_balancers(manifests: Iterable[Manifest], target: ClusterDescription) -> bool:
    """Whether an object asks for what the AWS Load Balancer Controller serves on this target."""
    return not target.auto_mode and any(
        (manifest.kind == "Service" and manifest.content["spec"].get("loadBalancerClass") == _BALANCER_CLASS)
        or (manifest.kind == "Ingress" and manifest.content["spec"].get("ingressClassName") in target.ingress_classes)
        for manifest in manifests
    )


def _upgrade(release: str, chart: str, version: str) -> Sequence[str]:
    wait = ("--namespace", SYSTEM, "--wait", "--rollback-on-failure")
    return ("upgrade", "--install", release, chart, "--version", version, *wait)


def _escaped(text: str) -> str:
    """As `--set` takes it: a dot or comma in a name is not Helm's syntax."""
    return text.replace(",", "\\,").replace(".", "\\.")
