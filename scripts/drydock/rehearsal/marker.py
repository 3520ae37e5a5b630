"""A pod that no node can host, by which Karpenter's log shows what Karpenter knows (see `gate`)."""

from drydock.clusters.api import Api, collection
from drydock.outcome.decisions import MARKER_POD

POD = MARKER_POD
_NAMESPACE = "kube-system"
NAME = f"{_NAMESPACE}/{POD}"
_PODS = collection("v1", "pods", _NAMESPACE)


def create(api: Api) -> None:
    """Make it; Karpenter, which otherwise looks at pods again after ten seconds, then looks at all of them."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"drydock.dev/nudge": "true"},
            "containers": [{"name": "none", "image": "none"}],
        },
    }
    api.create(_PODS, pod)


def remove(api: Api) -> None:
    """Take it away, if it is there."""
    api.delete(f"{_PODS}/{POD}")
