"""Events of pods, as the kubelet writes them: `kubectl get events` and the report's warnings show them."""

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any

from drydock.clusters.api import Api, collection


def warn(api: Api, pod: Mapping[str, Any], reason: str, message: str) -> None:
    """Write a warning; the same one again changes nothing.

    Raises:
        ApiError: the API server refused, or does not answer.
    """
    metadata = pod["metadata"]
    digest = hashlib.sha256(f"{metadata['uid']} {reason} {message}".encode()).hexdigest()[:16]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    content = {
        "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": "Warning",
        "reason": reason,
        "message": message[:1000],
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "kubelet"},
    }
    api.create(collection("v1", "events", metadata["namespace"]), content)
