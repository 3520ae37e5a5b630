"""What the API server adds to a pod when it is created, as far as scheduling depends on it.

EKS runs the admission plugins ExtendedResourceToleration and RuntimeClass. They see pods only, so the template inside
a Deployment or a RayCluster never shows what they add.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from drydock.scheduling.pods import PodUse, container_requests, is_extended

Fields = Mapping[str, Any]


def admitted(pod: PodUse, runtime_classes: Mapping[str, Fields]) -> PodUse:
    """The pod as it would be stored.

    Args:
        pod: as its template describes it.
        runtime_classes: RuntimeClass objects by name; one that is missing adds nothing here.
    """
    spec = dict(pod.spec)
    runtime = runtime_classes.get(spec.get("runtimeClassName") or "")
    if runtime:
        scheduling = runtime.get("scheduling") or {}
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **(scheduling.get("nodeSelector") or {})}
        spec["tolerations"] = [*(spec.get("tolerations") or ()), *(scheduling.get("tolerations") or ())]
        spec["overhead"] = (runtime.get("overhead") or {}).get("podFixed")
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *_extended_resource_tolerations(pod)]
    return replace(pod, spec=spec)


def tolerates(tolerations: Sequence[Fields], taint: Fields) -> bool:
    """Whether one of the tolerations covers the taint (k8s.io/api/core/v1, Toleration.ToleratesTaint)."""
    return any(_covers(toleration, taint) for toleration in tolerations)


def _extended_resource_tolerations(pod: PodUse) -> list[Fields]:
    """Source: kubernetes v1.36, plugin/pkg/admission/extendedresourcetoleration/admission.go."""
    resources = {name for container in pod.containers for name in container_requests(container) if is_extended(name)}
    return [{"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in sorted(resources)]


def _covers(toleration: Fields, taint: Fields) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    mine, other = str(toleration.get("value") or ""), str(taint.get("value") or "")
    if operator == "Equal":
        return mine == other
    try:
        return int(other) > int(mine) if operator == "Gt" else int(other) < int(mine)
    except ValueError:
        return False
