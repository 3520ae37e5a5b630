"""One look at a cluster through its API, with the rights of the user who deploys."""

from collections.abc import Collection, Iterator
from typing import Any

from drydock.clusters.kube import list_objects
from drydock.outcome.observe import COLLECTIONS, Scene

_FORBIDDEN = 403
_NOT_FOUND = 404
_OF_THE_CLUSTER = ("Node", "StorageClass", "CSIDriver", "NodePool", "NodeClaim", "EC2NodeClass")


def read_scene(cluster: Any, namespaces: Collection[str], unread: set[str] | None = None) -> Scene:
    """The objects of some namespaces, and those of the cluster.

    Args:
        cluster: see `kube.any_path`.
        namespaces: to read.
        unread: gets the kinds that may not be read; without it they are an error.

    Raises:
        kubernetes.client.exceptions.ApiException: the API server refused.
    """
    from kubernetes.client.exceptions import ApiException

    scene = Scene()
    for kind, path in COLLECTIONS.items():
        try:
            for content in _objects(cluster, kind, path, namespaces):
                scene.objects[kind][content["metadata"]["uid"]] = content
        except ApiException as error:
            if unread is None or error.status != _FORBIDDEN:
                raise
            unread.add(kind)
    return scene


def _objects(cluster: Any, kind: str, path: str, namespaces: Collection[str]) -> Iterator[Any]:
    """The objects of a kind; none where the cluster does not serve it."""
    from kubernetes.client.exceptions import ApiException

    root, _, plural = path.rpartition("/")
    paths = (
        [path] if kind in _OF_THE_CLUSTER else [f"{root}/namespaces/{namespace}/{plural}" for namespace in namespaces]
    )
    for path_of_one in paths:
        try:
            items, _ = list_objects(cluster, path_of_one)
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise
            return
        yield from ({"kind": kind, **content} for content in items)
