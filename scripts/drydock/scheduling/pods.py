"""Every pod that an environment's objects lead to, also those that a controller makes from a custom resource."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from drydock.documents import load_yaml_leniently
from drydock.scheduling.instance_types.quantity import Resources, add, amounts
from drydock.scheduling.serving_operators import TEMPLATES, operator_pods
from drydock.suite.manifests import Manifest

Fields = Mapping[str, Any]

ARGO_KINDS = {
    "Workflow": ("spec",),
    "WorkflowTemplate": ("spec",),
    "ClusterWorkflowTemplate": ("spec",),
    "CronWorkflow": ("spec", "workflowSpec"),
}
_ARGO_BODIES = ("container", "script", "containerSet")
_ARGO_INHERITED = ("nodeSelector", "tolerations", "affinity")
_COUNTS = ("replicas", "numOfHosts", "parallelism")
_RAY_NODES = {"headGroupSpec": "head", "workerGroupSpecs": "worker"}
POD_TEMPLATES = "drydock.dev/pod-templates"
"""Annotation of a ConfigMap: its key with templates of the pods that a server makes for its users.

Their namespace is there too if it is not that of the ConfigMap.
"""


@dataclass(frozen=True)
class PodUse:
    """A pod, or many alike, that an object brings about.

    Attributes:
        manifest: the object.
        path: where in the object the pod's spec stands, dotted.
        spec: the pod's spec as the API server would admit it but for what admission adds.
        labels, annotations: of the pod.
        replicas: how many pods alike, 0 when switched off.
        claims: specs by name of claims that come with the pod, where the object does not hold them as Kubernetes does.
        submitted: object that a step of a workflow submits and whose controller makes the pod; empty for other pods.
    """

    manifest: Manifest
    path: str
    spec: Fields
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    replicas: int
    claims: Mapping[str, Fields] = field(default_factory=dict)
    submitted: Fields = field(default_factory=dict)

    @property
    def maker(self) -> Fields:
        """Content of the object whose controller makes the pod."""
        return self.submitted or self.manifest.content

    @property
    def all_labels(self) -> Mapping[str, str]:
        """Labels of the pod, and those that its controller adds and that are known before it runs."""
        return {**_labels_of_controller(self.maker, self.path), **self.labels}

    @property
    def is_daemon(self) -> bool:
        """Whether a DaemonSet puts one on every node that admits it."""
        return self.manifest.kind == "DaemonSet"

    @property
    def name(self) -> str:
        """The object, and the part of it when it holds several pods."""
        part = _part(self.path)
        return f"{self.manifest.identity} ({part})" if part else self.manifest.identity

    @property
    def containers(self) -> Sequence[Fields]:
        """Containers and init containers."""
        return [*(self.spec.get("initContainers") or ()), *(self.spec.get("containers") or ())]

    @cached_property
    def requests(self) -> Resources:
        """What the scheduler counts for one of the pods, itself included as `pods`."""
        return pod_requests(self.spec)


def find_pods(manifests: Sequence[Manifest]) -> tuple[PodUse, ...]:
    """Every pod of the objects, in their order."""
    found: list[PodUse] = []
    contents = [manifest.content for manifest in manifests]
    for manifest in manifests:
        if manifest.kind in ARGO_KINDS:
            found.extend(_argo_pods(manifest))
        elif manifest.kind == "ConfigMap":
            found.extend(_promised_pods(manifest))
        elif manifest.kind in TEMPLATES:
            continue
        elif made := list(operator_pods(manifest.content, contents)):
            found.extend(_pod(manifest, (pod.path,), pod.spec, {}, pod.replicas) for pod in made)
        else:
            found.extend(_pods_below(manifest, manifest.content, (), 1))
    return tuple(found)


def pod_requests(spec: Fields) -> dict[str, int]:
    """Requests of a pod as kube-scheduler and Karpenter add them up.

    Source: k8s.io/component-helpers v0.36, resource/helpers.go, PodRequests: containers and sidecars together, at least
    what any init container needs beside the sidecars before it, pod-level requests in their place, and the overhead.
    """
    total = add(*(container_requests(pod_container) for pod_container in spec.get("containers") or ()))
    sidecars: dict[str, int] = {}
    largest: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        needed = container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = add(sidecars, needed)
            needed = sidecars
        else:
            needed = add(sidecars, needed)
        largest = _maximum(largest, needed)
    total = _maximum(add(total, sidecars), largest)
    of_pod = container_requests(spec)
    total |= {
        name: value for name, value in of_pod.items() if name in ("cpu", "memory") or name.startswith("hugepages-")
    }
    return add(total, amounts(spec.get("overhead")), {"pods": 1})


def container_requests(container: Fields) -> dict[str, int]:
    """Requests of one container; a limit without a request is one."""
    resources = container.get("resources") or {}
    return amounts(resources.get("limits")) | amounts(resources.get("requests"))


def is_extended(resource: str) -> bool:
    """Whether Kubernetes takes the name for an extended resource, such as a GPU."""
    return "/" in resource and "kubernetes.io/" not in resource


def _maximum(one: Resources, other: Resources) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def _pods_below(manifest: Manifest, node: Any, path: tuple[str, ...], replicas: int) -> Iterator[PodUse]:
    """Walk an object for anything in the shape of a pod's spec, and count copies on the way."""
    if isinstance(node, list):
        for position, each in enumerate(node):
            yield from _pods_below(manifest, each, (*path, str(position)), replicas)
    elif isinstance(node, dict):
        for key, value in node.items():
            copies = replicas * _copies(node, key)
            if isinstance(value, dict) and _is_pod_spec(value):
                yield _pod(manifest, (*path, key), value, _metadata(node, manifest, key), copies)
            elif key != "status":
                yield from _pods_below(manifest, value, (*path, key), copies)


def _pod(manifest: Manifest, path: tuple[str, ...], spec: Fields, metadata: Fields, replicas: int) -> PodUse:
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return PodUse(manifest, ".".join(path), spec, labels, annotations, replicas)


def _metadata(parent: Fields, manifest: Manifest, key: str) -> Fields:
    if key != "spec":
        return {}
    metadata = manifest.content.get("metadata") if manifest.kind == "Pod" else parent.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _labels_of_controller(maker: Fields, path: str) -> dict[str, str]:
    """Labels that a controller adds.

    Sources: kubernetes, pkg/apis/batch/types.go; KubeRay, controllers/ray/common/pod.go, labelPod.
    """
    group, kind = str(maker.get("apiVersion", "")).partition("/")[0], maker.get("kind")
    name = str((maker.get("metadata") or {}).get("name") or "")
    if kind == "Job" and group == "batch" and name:
        return {"job-name": name, "batch.kubernetes.io/job-name": name}
    node = next((node for part, node in _RAY_NODES.items() if part in path), "")
    if group == "ray.io" and node:
        return {
            "ray.io/is-ray-node": "yes",
            "ray.io/node-type": node,
            "app.kubernetes.io/name": "kuberay",
            "app.kubernetes.io/created-by": "kuberay-operator",
            **({"ray.io/cluster": name} if kind == "RayCluster" else {}),
        }
    return {}


def _is_pod_spec(node: Fields) -> bool:
    containers = node.get("containers")
    if not isinstance(containers, list) or not containers:
        return False
    return all(
        isinstance(container, dict) and "name" in container and ("image" in container or "command" in container)
        for container in containers
    )


def _copies(node: Fields, key: str) -> int:
    """How many pods one part of an object stands for, as far as this level of it says."""
    factor = 1
    for name in _COUNTS:
        value = node.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            factor *= value
    if "groupName" in node and "replicas" not in node:
        factor *= int(node.get("minReplicas") or 0)  # a group of Ray's workers, whose number is its autoscaler's
    if isinstance(node.get("size"), int) and "workerTemplate" in node and key == "workerTemplate":
        factor *= node["size"] - ("leaderTemplate" in node)  # a LeaderWorkerSet's size counts its leader
    return factor


def _part(path: str) -> str:
    """The telling part of a path: nothing for a plain workload, `workerGroupSpecs.0` and the like for others."""
    if path in ("spec", "spec.template.spec", "spec.jobTemplate.spec.template.spec"):
        return ""
    return path.removeprefix("spec.").removesuffix(".spec").removesuffix(".template")


def _promised_pods(manifest: Manifest) -> Iterator[PodUse]:
    """Pods that a server, such as a notebook hub, makes from templates in its ConfigMap, each counted once."""
    key = (manifest.content["metadata"].get("annotations") or {}).get(POD_TEMPLATES)
    text = (manifest.content.get("data") or {}).get(key)
    document = load_yaml_leniently(text) if text else None
    if not isinstance(document, dict):
        return
    claims = {template["metadata"]["name"]: template["spec"] for template in document.get("volumeClaimTemplates") or ()}
    if namespace := document.get("namespace"):
        metadata = {**manifest.content["metadata"], "namespace": namespace}
        manifest = replace(manifest, content={**manifest.content, "metadata": metadata})
    for pod in _pods_below(manifest, document, ("data", str(key)), 1):
        yield replace(pod, claims=claims)


def _argo_pods(manifest: Manifest) -> Iterator[PodUse]:
    """Pods of a workflow: each template with a body runs as one, with what the workflow sets for all of them.

    Source: argo-workflows v3.7, workflow/controller/workflowpod.go, createWorkflowPod and addSchedulingConstraints.
    """
    base = ARGO_KINDS[manifest.kind]
    workflow: Any = manifest.content
    for key in base:
        workflow = (workflow or {}).get(key) or {}
    defaults = workflow.get("templateDefaults") or {}
    for position, template in enumerate(workflow.get("templates") or ()):
        merged = {**defaults, **template}
        path = (*base, "templates", str(position))
        yield from _submitted_pods(manifest, merged, path)
        containers = _argo_containers(merged)
        if not containers:
            continue
        spec = {key: merged.get(key) or workflow.get(key) for key in _ARGO_INHERITED}
        spec |= {
            "containers": [*containers, *(merged.get("sidecars") or ())],
            "initContainers": merged.get("initContainers") or (),
            "volumes": [*(workflow.get("volumes") or ()), *(merged.get("volumes") or ())],
            "serviceAccountName": merged.get("serviceAccountName") or workflow.get("serviceAccountName"),
        }
        spec |= {**_argo_patch(workflow), **_argo_patch(template)}
        yield _pod(manifest, path, spec, _argo_metadata(workflow, merged), 1)


def _argo_metadata(workflow: Fields, template: Fields) -> Fields:
    """Labels and annotations of all pods of a workflow, and those of a template over them."""
    every = [source.get(key) or {} for source, key in ((workflow, "podMetadata"), (template, "metadata"))]
    return {
        key: {name: value for metadata in every for name, value in (metadata.get(key) or {}).items()}
        for key in ("labels", "annotations")
    }


def _argo_containers(template: Fields) -> list[Fields]:
    if template.get("containerSet"):
        return list(template["containerSet"].get("containers") or ())
    return [{"name": "main", **template[body]} for body in _ARGO_BODIES if template.get(body)]


def _argo_patch(node: Fields) -> Fields:
    """What a podSpecPatch sets of a pod beside its containers; one that Argo fills in when it runs is left out."""
    text = str(node.get("podSpecPatch") or "")
    patch = load_yaml_leniently(text) if text and "{{" not in text else {}
    return {key: value for key, value in (patch or {}).items() if key not in ("containers", "initContainers")}


def _submitted_pods(manifest: Manifest, template: Fields, path: tuple[str, ...]) -> Iterator[PodUse]:
    """Pods of an object that a template submits, such as a RayJob."""
    text = str((template.get("resource") or {}).get("manifest") or "")
    content = load_yaml_leniently(text)  # which may be YAML only when Argo has filled it in
    for pod in _pods_below(manifest, content, (*path, "resource", "manifest"), 1):
        yield replace(pod, submitted=content)
