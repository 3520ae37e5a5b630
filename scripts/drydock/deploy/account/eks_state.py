"""EKS's part of a snapshot: the control plane and its add-ons."""

from functools import partial

from drydock.deploy.eks.caller import call, client
from drydock.deploy.eks.leftovers import cluster_of
from drydock.suite.account_snapshot import ControlPlane


def control_plane(region: str, cluster: str) -> ControlPlane | None:
    """The EKS cluster of a name; None when there is none."""
    found = cluster_of(cluster, region)
    if found is None:
        return None
    eks = client("eks", region)
    pages = call(lambda: list(eks.get_paginator("list_addons").paginate(clusterName=cluster)))
    names = [name for page in pages for name in page["addons"]]
    addons = (call(partial(eks.describe_addon, clusterName=cluster, addonName=name))["addon"] for name in names)
    described = {addon["addonName"]: str(addon["addonVersion"]) for addon in addons}
    return ControlPlane(str(found["version"]), str(found["status"]), described)
