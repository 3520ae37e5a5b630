"""Stands in for the executor of Argo Workflows, which is in every pod of a Workflow: pods end well and report results.

The controller counts a stage as done when its pod has succeeded and a WorkflowTaskResult lists its outputs.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.watching import follow

CONTROLLER = "argoproj/workflow-controller"
"""Of runnable-images.yaml."""
API = "argoproj.io/v1alpha1"
WORKFLOW = "workflows.argoproj.io/workflow"
_REPORTED = "workflows.argoproj.io/report-outputs-completed"
_NODE = "workflows.argoproj.io/node-id"
_PODS = collection("v1", "pods")
_REFUSED = 64
"""Exit status of the executor for its own failures."""


def finish_workflow_pods(api: Api) -> None:
    """End every pod of a Workflow once it runs, until the cluster ends.

    One that makes another object (a template of kind `resource`, such as a RayJob) never ends: nothing makes it.
    """
    for kind, pod in follow(api, _PODS):
        if kind != "DELETED" and _is_running(pod):
            try:
                _finish(api, pod)
            except ApiError as error:
                print(f"{pod['metadata']['name']}: {error.message}", file=sys.stderr, flush=True)


def _is_running(pod: Mapping[str, Any]) -> bool:
    metadata = pod["metadata"]
    alive = "deletionTimestamp" not in metadata and pod["status"].get("phase") == "Running"
    return alive and WORKFLOW in metadata.get("labels", {}) and _NODE in metadata.get("annotations", {})


def _finish(api: Api, pod: Mapping[str, Any]) -> None:
    """Report as the pod's ServiceAccount does, which needs the right to, and end the pod."""
    template = _template(pod)
    if "resource" in template:
        return
    metadata, refusal = pod["metadata"], ""
    account = f"system:serviceaccount:{metadata['namespace']}:{pod['spec'].get('serviceAccountName', 'default')}"
    try:
        api.acting_as(account).create(
            collection(API, "workflowtaskresults", metadata["namespace"]), _result(pod, template)
        )
    except ApiError as error:
        refusal = error.message
    path = f"{collection('v1', 'pods', metadata['namespace'])}/{metadata['name']}/status"
    api.merge(path, {"status": _ended(pod, refusal)}, strategic=True)


def _template(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The template that the controller made the pod of."""
    containers = (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])
    variables = (variable for container in containers for variable in container.get("env") or ())
    text = next(
        (variable["value"] for variable in variables if variable["name"] == "ARGO_TEMPLATE" and variable.get("value")),
        "{}",
    )
    return dict(json.loads(text))


def _result(pod: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"]
    outputs = template.get("outputs") or {}
    reported: dict[str, Any] = {
        "parameters": [*_parameters(outputs.get("parameters") or ())],
        "artifacts": outputs.get("artifacts") or [],
        **({"result": ""} if "script" in template else {}),
    }
    return {
        "apiVersion": API,
        "kind": "WorkflowTaskResult",
        "metadata": {
            "name": metadata["annotations"][_NODE],
            "labels": {WORKFLOW: metadata["labels"][WORKFLOW], _REPORTED: "true"},
            "ownerReferences": [
                {key: owner_reference[key] for key in ("apiVersion", "kind", "name", "uid")}
                for owner_reference in metadata.get("ownerReferences") or ()
            ],
        },
        "outputs": {name: value for name, value in reported.items() if value or name == "result"},
    }


def _parameters(declared: Any) -> Iterator[dict[str, Any]]:
    """Each with its value or default; nothing was run that could have given another one."""
    for parameter in declared:
        yield {**parameter, "value": parameter.get("value", (parameter.get("valueFrom") or {}).get("default", ""))}


def _ended(pod: Mapping[str, Any], refusal: str) -> dict[str, Any]:
    """The status of the pod with all its containers ended; those that report have failed when they were refused."""

    def terminated(container: Mapping[str, Any]) -> dict[str, Any]:
        failed = refusal and container["name"] == "wait"
        moment = pod["status"]["startTime"]
        ended = {"startedAt": moment, "finishedAt": moment, "exitCode": _REFUSED if failed else 0}
        told = {"reason": "Error", "message": refusal} if failed else {"reason": "Completed"}
        return {**container, "ready": False, "started": False, "state": {"terminated": {**ended, **told}}}

    gone = {"status": "False", "reason": "PodCompleted"}
    return {
        "phase": "Failed" if refusal else "Succeeded",
        "message": refusal,
        "conditions": [{"type": "Ready", **gone}, {"type": "ContainersReady", **gone}],
        "containerStatuses": [terminated(container_status) for container_status in pod["status"]["containerStatuses"]],
    }
