"""Pain 9: Argo CD finds a difference that nobody made, and syncs for ever.

Argo CD compares what a server-side apply would make of an object with the object as it is. Here the same is done on a
real API server, after the real controllers have had their way with the objects. The cluster is that of the one
rehearsal of `prod` in these tests, so what else is asked of it is asked here.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, dynamic

from drydock.deploy.argo_cd import Repository, applications
from drydock.project import Project
from drydock.rehearsal.runs import RunFolder, down, list_clusters
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import load_environment
from drydock.testing.pytest_plugin import RenderEnvironment
from tests.conftest import Drydock
from tests.rehearsal.ready_report import assert_ready

pytestmark = pytest.mark.cluster
SECRET_LIMIT = 1 << 20
"""Bytes that a Secret may hold (Kubernetes: MaxSecretSize)."""
MANAGER = "argocd-controller"
VOLATILE = ("managedFields", "resourceVersion", "generation")
Rules = Mapping[tuple[str, str], list[tuple[str, ...]]]
#: Steps of a path into every element of a list.
EACH = "[]"


@pytest.fixture(scope="module")
def prod(drydock: Drydock, drydock_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """The cluster of `drydock rehearse prod --keep`, which became ready."""
    output = tmp_path_factory.mktemp("prod")
    done = drydock("rehearse", "prod", "--keep", "-o", output)
    kept = [each for each in list_clusters(drydock_project) if each.state and str(output) in each.state.owner.line]
    try:
        assert done.returncode == 0, done.stderr
        (cluster,) = kept
        assert_ready(json.loads((output / "report.json").read_text()))
        yield cluster.folder
    finally:
        for each in kept:
            down(drydock_project, each.name)


def test_with_every_crd_the_release_fits_into_its_secret(prod: RunFolder) -> None:
    api = config.new_client_from_config(config_file=str(prod.kubeconfig))
    crds = {each.metadata.name for each in client.ApiextensionsV1Api(api).list_custom_resource_definition().items}
    assert {"rayclusters.ray.io", "workflows.argoproj.io", "nodepools.karpenter.sh"} <= crds
    (secret,) = client.CoreV1Api(api).list_namespaced_secret("genai", label_selector="owner=helm").items
    assert len(base64.b64decode(secret.data["release"])) < 0.75 * SECRET_LIMIT


def test_after_the_controllers_have_run_a_sync_would_change_nothing(
    prod: RunFolder,
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    render_environment: RenderEnvironment,
) -> None:
    environment = load_environment(drydock_project, "prod")
    brought = applications(
        drydock_tool("helm4"), drydock_charts, environment, Repository("https://example.com/a", "main")
    )
    rules: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for application in brought:
        for rule in application.content["spec"].get("ignoreDifferences", ()):
            assert set(rule) <= {"group", "kind", "jqPathExpressions"}, "teach this test to ignore as Argo CD does"
            paths = [_path(each) for each in rule["jqPathExpressions"]]
            rules.setdefault((rule.get("group", ""), rule["kind"]), []).extend(paths)
    cluster = dynamic.DynamicClient(config.new_client_from_config(config_file=str(prod.kubeconfig)))
    manifests = render_environment("prod").manifests
    _scale_as_ray_does(cluster, environment.namespace)
    changed = [
        f"{each.identity}: {difference}"
        for each in manifests
        for difference in _differences(cluster, dict(each.content), environment.namespace, rules)
    ]
    assert not changed


def _scale_as_ray_does(cluster: Any, namespace: str) -> None:
    """What the autoscaler in the head of a cluster asks for; a rehearsal starts none."""
    resource = cluster.resources.get(api_version="ray.io/v1", kind="RayCluster")
    own = resource.get(name="genai-kuberay-research", namespace=namespace).to_dict()
    change = [
        patch
        for position, _ in enumerate(own["spec"]["workerGroupSpecs"])
        for patch in (
            {"op": "replace", "path": f"/spec/workerGroupSpecs/{position}/replicas", "value": 1},
            {"op": "add", "path": f"/spec/workerGroupSpecs/{position}/scaleStrategy", "value": {"workersToDelete": []}},
        )
    ]
    resource.patch(
        name="genai-kuberay-research", namespace=namespace, body=change, content_type="application/json-patch+json"
    )


def _path(expression: str) -> tuple[str, ...]:
    """Steps of such jq paths as `.spec.list[]?.field`."""
    return tuple(expression.removeprefix(".").replace("[]?", f".{EACH}").split("."))


def _differences(cluster: Any, content: dict[str, Any], namespace: str, rules: Rules) -> Iterator[str]:
    resource = cluster.resources.get(api_version=content["apiVersion"], kind=content["kind"])
    name = content["metadata"]["name"]
    place = {"namespace": content["metadata"].get("namespace", namespace)} if resource.namespaced else {}
    live = resource.get(name=name, **place).to_dict()
    wanted = resource.server_side_apply(
        body=content, name=name, field_manager=MANAGER, force_conflicts=True, dry_run="All", **place
    ).to_dict()
    group = content["apiVersion"].rpartition("/")[0]
    paths = rules.get((group, content["kind"]), [])
    yield from _compare(_settled(live, paths), _settled(wanted, paths), "")


def _settled(content: dict[str, Any], paths: list[tuple[str, ...]]) -> dict[str, Any]:
    """An object without what changes with every write, and without what a rule leaves alone."""
    settled = deepcopy(content)
    for key in VOLATILE:
        settled["metadata"].pop(key, None)
    for path in paths:
        _remove(settled, path)
    return settled


def _remove(part: Any, path: tuple[str, ...]) -> None:
    step, *rest = path
    if step == EACH:
        for each in part:
            _remove(each, tuple(rest))
    elif not rest:
        part.pop(step, None)
    elif step in part:
        _remove(part[step], tuple(rest))


def _compare(live: Any, wanted: Any, path: str) -> Iterator[str]:
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in sorted({*live, *wanted}):
            yield from _compare(live.get(key), wanted.get(key), f"{path}.{key}")
    elif isinstance(live, list) and isinstance(wanted, list) and len(live) == len(wanted):
        for position, pair in enumerate(zip(live, wanted, strict=True)):
            yield from _compare(*pair, f"{path}[{position}]")
    elif live != wanted:
        yield f"{path}: {live!r} would become {wanted!r}"
