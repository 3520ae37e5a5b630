"""Stands in for the CSI drivers that the target has: makes a volume for each of their claims, where its pod goes."""

from collections.abc import Mapping
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import driver_of, full_name, labels_of
from drydock.clusters.watching import follow

STORAGE_CLASSES = collection("storage.k8s.io/v1", "storageclasses")
CSI_DRIVERS = collection("storage.k8s.io/v1", "csidrivers")
EFS = "efs.csi.aws.com"
_CLAIMS = collection("v1", "persistentvolumeclaims")
_VOLUMES = collection("v1", "persistentvolumes")
_NODES = collection("v1", "nodes")
_PODS = collection("v1", "pods")
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_ZONE = "topology.kubernetes.io/zone"


def provision_volumes(api: Api) -> None:
    """Make a volume for every claim as soon as it may be made; ends with the cluster.

    A claim whose class waits for a consumer gets its volume when the scheduler has chosen a node, and in that node's
    zone only. Other claims get theirs at once, reachable from everywhere.
    """
    made: set[str] = set()
    for kind, claim in follow(api, _CLAIMS):
        if kind != "DELETED" and claim["metadata"]["uid"] not in made and _provision(api, claim):
            made.add(claim["metadata"]["uid"])


def remove_volumes(api: Api) -> None:
    """Delete volumes whose claim is gone, as their reclaim policy says; ends with the cluster."""
    for kind, volume in follow(api, _VOLUMES):
        released = kind != "DELETED" and volume.get("status", {}).get("phase") == "Released"
        if released and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            api.delete(f"{_VOLUMES}/{volume['metadata']['name']}")


def _provision(api: Api, claim: Mapping[str, Any]) -> bool:
    spec = claim["spec"]
    if spec.get("volumeName") or not spec.get("storageClassName"):
        return False
    storage_class = api.find(f"{STORAGE_CLASSES}/{spec['storageClassName']}")
    if not storage_class or not has_driver(api, storage_class["provisioner"]):
        return False
    zone = None
    if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
        node = claim["metadata"].get("annotations", {}).get(_SELECTED_NODE)
        if not node:
            return False
        zone = _zone(api, node)
    return api.create(_VOLUMES, _volume(claim, storage_class, zone))


def has_driver(api: Api, provisioner: str) -> bool:
    """Whether the driver of a StorageClass is in the cluster."""
    return api.find(f"{CSI_DRIVERS}/{driver_of(provisioner)}") is not None


def bound_pods(api: Api) -> list[str]:
    """Pods, as `namespace/name`, that have claims, all of them bound to their volumes."""
    claims = {full_name(claim): claim["status"].get("phase") for claim in api.get(_CLAIMS)["items"]}
    pods = {full_name(pod): _claims_of(pod) for pod in api.get(_PODS)["items"]}
    return [pod for pod, names in pods.items() if names and all(claims.get(name) == "Bound" for name in names)]


def _claims_of(pod: Mapping[str, Any]) -> list[str]:
    metadata, volumes = pod["metadata"], pod["spec"].get("volumes", [])
    named = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    ephemeral = [f"{metadata['name']}-{volume['name']}" for volume in volumes if "ephemeral" in volume]
    return [f"{metadata['namespace']}/{claim}" for claim in (*named, *ephemeral)]


def _zone(api: Api, node: str) -> str | None:
    found = api.find(f"{_NODES}/{node}")
    return labels_of(found).get(_ZONE) if found else None


def _volume(claim: Mapping[str, Any], storage_class: Mapping[str, Any], zone: str | None) -> dict[str, Any]:
    metadata, spec = claim["metadata"], claim["spec"]
    driver = driver_of(storage_class["provisioner"])
    terms = [{"matchExpressions": [{"key": _ZONE, "operator": "In", "values": [zone]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{metadata['uid']}",
            "annotations": {"pv.kubernetes.io/provisioned-by": driver},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "storageClassName": spec["storageClassName"],
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "csi": {"driver": driver, "volumeHandle": f"vol-{metadata['uid'].replace('-', '')[:17]}"},
            **({"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if zone and driver != EFS else {}),
        },
    }


def csi_driver(name: str) -> dict[str, Any]:
    """The object by which a driver says that it is there; nothing attaches volumes here."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": name},
        "spec": {"attachRequired": False},
    }
