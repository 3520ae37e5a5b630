"""Others write fields of the release's objects, and no upgrade or rollback conflicts with that or takes it back."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config, dynamic

from drydock.clusters.crds import crd_files
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.rehearse import suite_cluster, suite_crds
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import Environment, load_environment
from tests.charts.pipeline.conftest import Script, script

__all__ = ["script"]  # a fixture
NAMESPACE = "genai"
SCALED, ASLEEP, GROUPS = "genai-vllm-llama-3-8b", "genai-vllm-asleep", "genai-vllm-deepseek-r1-nodes"
RAY, POOL = "genai-kuberay-research", "gpu"
APPS, LWS, KEDA, RAY_API, KARPENTER = (
    "apps/v1",
    "leaderworkerset.x-k8s.io/v1",
    "keda.sh/v1alpha1",
    "ray.io/v1",
    "karpenter.sh/v1",
)
TRACKING, RESTARTED = "argocd.argoproj.io/tracking-id", "kubectl.kubernetes.io/restartedAt"
SMALL = {"source": {"size": "4Gi", "huggingFace": {"id": "Qwen/Qwen3-1.7B"}}, "engine": {"maxModelLen": 4096}}
BY_KEDA = {"enabled": True, "kind": "ScaledObject", "minReplicas": 0}
VALUES: Mapping[str, Any] = {
    "vllm": {
        "models": {
            "llama-3-8b": {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 9}},
            "asleep": {**SMALL, "autoscaling": BY_KEDA},
            "deepseek-r1": {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 9}},
        }
    }
}
#: Every object that others write changes with it, its pods too.
CHANGED: Mapping[str, Any] = {
    "global": {"tags": {"release": "next"}},
    "kuberay": {"clusterDefaults": {"env": {"RELEASE": "next"}}},
    "vllm": {"modelDefaults": {"any": {"extraEnv": {"RELEASE": "next"}}}},
    "karpenter-nodepools": {"nodePools": {"gpu": {"limits": {"nvidia.com/gpu": 32}}}},
}


@dataclass(frozen=True)
class Objects:
    """Objects of the release, on an API server on which no controller of theirs runs but Karpenter."""

    cluster: Any

    def get(self, version: str, kind: str, name: str) -> dict[str, Any]:
        """One of them as it is."""
        found: dict[str, Any] = self._resource(version, kind).get(name=name, namespace=NAMESPACE).to_dict()
        return found

    def merge(self, version: str, kind: str, name: str, manager: str, change: Mapping[str, Any]) -> None:
        """Change it by a merge patch."""
        self._patch(version, kind, name, manager, change, "merge-patch")

    def scale_as_ray(self, replicas: int, ended: str) -> None:
        """As the autoscaler in a head does: KubeRayProvider._submit_scale_request of Ray's cloud_provider.py."""
        path = "/spec/workerGroupSpecs/0"
        change = [
            {"op": "replace", "path": f"{path}/replicas", "value": replicas},
            {"op": "replace", "path": f"{path}/scaleStrategy", "value": {"workersToDelete": [ended]}},
        ]
        self._patch(RAY_API, "RayCluster", RAY, "python-requests", change, "json-patch")

    def scale(self, version: str, kind: str, name: str, manager: str, replicas: int) -> None:
        """As an autoscaler of Kubernetes does, through the subresource."""
        scale = self._resource(version, kind).subresources["scale"]
        found = scale.get(name=name, namespace=NAMESPACE).to_dict()
        del found["metadata"]["resourceVersion"]  # a controller may write meanwhile
        scale.replace(
            name=name, namespace=NAMESPACE, body={**found, "spec": {"replicas": replicas}}, field_manager=manager
        )

    def _patch(self, version: str, kind: str, name: str, manager: str, change: object, form: str) -> None:
        options = {"content_type": f"application/{form}+json", "field_manager": manager}
        self._resource(version, kind).patch(name=name, namespace=NAMESPACE, body=change, **options)

    def _resource(self, version: str, kind: str) -> Any:
        return self.cluster.resources.get(api_version=version, kind=kind)


def theirs(objects: Objects) -> dict[str, Any]:
    """What others have written."""
    scaled = objects.get(APPS, "Deployment", SCALED)
    group = objects.get(RAY_API, "RayCluster", RAY)["spec"]["workerGroupSpecs"][0]
    template = scaled["spec"]["template"]["metadata"]["annotations"]
    keda = objects.get(KEDA, "ScaledObject", ASLEEP)["metadata"]
    return {
        "HPA": scaled["spec"]["replicas"],
        "KEDA": objects.get(APPS, "Deployment", ASLEEP)["spec"]["replicas"],
        "KEDA's label and finalizer": (keda["labels"].get("scaledobject.keda.sh/name"), keda.get("finalizers")),
        "HPA of groups": objects.get(LWS, "LeaderWorkerSet", GROUPS)["spec"]["replicas"],
        "Ray's autoscaler": (group["replicas"], group.get("scaleStrategy")),
        "the pipeline": template.get("drydock.dev/model-folder"),
        "kubectl rollout restart": template.get(RESTARTED),
        "Argo CD": scaled["metadata"]["annotations"].get(TRACKING),
        "Karpenter": objects.get(KARPENTER, "NodePool", POOL)["metadata"]["annotations"].get("example.com/seen"),
    }


def write(objects: Objects, script: Script, number: int) -> dict[str, Any]:
    """Let every other writer act, with numbers and names of its own; what there is then."""
    objects.scale_as_ray(number, f"worker-{number}")
    objects.scale(APPS, "Deployment", SCALED, "kube-controller-manager", number)
    objects.scale(APPS, "Deployment", ASLEEP, "keda", number - 2)
    objects.scale(LWS, "LeaderWorkerSet", GROUPS, "kube-controller-manager", number)
    found = {"labels": {"scaledobject.keda.sh/name": ASLEEP}, "finalizers": ["finalizer.keda.sh"]}
    objects.merge(KEDA, "ScaledObject", ASLEEP, "keda", {"metadata": found})
    current = objects.get(APPS, "Deployment", SCALED)
    choice = script("deployment").change_to(current, f"/workflow-{number}/llama", "")
    objects.merge(APPS, "Deployment", SCALED, "model-pipeline", {"spec": choice["spec"]})
    restart = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: f"2026-11-0{number}T00:00:00Z"}}}}}
    objects.merge(APPS, "Deployment", SCALED, "kubectl-rollout", restart)
    tracking = {"metadata": {"annotations": {TRACKING: f"prod-vllm:{number}"}}}
    objects.merge(APPS, "Deployment", SCALED, "argocd-controller", tracking)
    seen = {"metadata": {"annotations": {"example.com/seen": str(number)}}}
    objects.merge(KARPENTER, "NodePool", POOL, "karpenter", seen)
    written = theirs(objects)
    assert None not in written.values(), written
    return written


@pytest.fixture(scope="module")
def cluster(rehearsal_tools: dict[str, Path], drydock_project: Project) -> Iterator[RehearsalCluster]:
    """With every owner's CRDs."""
    folder = new_run_folder(drydock_project, "test")
    crds = {file.name: file for file in (*suite_crds(drydock_project), *crd_files(drydock_project))}.values()
    with suite_cluster(drydock_project, rehearsal_tools, folder, crds=crds) as started:
        started.await_api()
        yield started


@pytest.fixture(scope="module")
def objects(cluster: RehearsalCluster) -> Objects:
    return Objects(dynamic.DynamicClient(config.new_client_from_config(config_file=str(cluster.kubeconfig))))


@pytest.fixture(scope="module")
def environments(drydock_project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Environment]:
    """`prod` with models that each kind of autoscaler scales, and the same with changes to each object."""
    folder = tmp_path_factory.mktemp("values")
    files = []
    for name, values in (("scaled", VALUES), ("changed", CHANGED)):
        files.append(folder / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(dict(values)))
    prod = load_environment(drydock_project, "prod")
    layers = [drydock_project.root / "values/models/deepseek-r1-multi-node.yaml", files[0]]
    return prod.stacked(layers, ()), prod.stacked([*layers, files[1]], ())


@pytest.fixture(scope="module")
def umbrella(drydock_project: Project) -> Path:
    return assemble_charts(drydock_project).umbrella


def release_of(objects: Objects) -> str:
    """What the values set of a worker of Ray, which stands beside what its autoscaler writes."""
    group = objects.get(RAY_API, "RayCluster", RAY)["spec"]["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    return next((variable["value"] for variable in container["env"] if variable["name"] == "RELEASE"), "")


def test_helm_4_neither_conflicts_with_other_writers_nor_undoes_their_work(
    cluster: RehearsalCluster,
    objects: Objects,
    environments: tuple[Environment, Environment],
    rehearsal_tools: dict[str, Path],
    umbrella: Path,
    script: Script,
) -> None:
    installed, changed = environments
    helm = cluster.helm(rehearsal_tools["helm4"])
    helm.install(umbrella, installed)
    written = write(objects, script, 2)
    helm.upgrade(umbrella, changed)
    assert (release_of(objects), theirs(objects)) == ("next", written)
    written = write(objects, script, 3)
    helm.rollback(NAMESPACE)
    assert (release_of(objects), theirs(objects)) == ("", written)


def test_helm_3_neither_conflicts_with_other_writers_nor_undoes_their_work(
    cluster: RehearsalCluster,
    objects: Objects,
    environments: tuple[Environment, Environment],
    drydock_tool: Callable[[str], Path],
    umbrella: Path,
    script: Script,
) -> None:
    """But for the workers of Ray: Helm 3 merges lists of custom resources as a whole, so they start again from none."""
    _, changed = environments
    helm = cluster.helm(drydock_tool("helm3"))
    written = write(objects, script, 4)
    helm.upgrade(umbrella, changed)
    assert (release_of(objects), theirs(objects)) == ("next", {**written, "Ray's autoscaler": (0, None)})
    helm.rollback(NAMESPACE)
    assert (release_of(objects), theirs(objects)) == ("", {**written, "Ray's autoscaler": (0, None)})
