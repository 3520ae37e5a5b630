"""A chart and manifests that are not the suite's, from nothing to a verdict, upgraded and removed."""

import base64
import re
import uuid
from pathlib import Path

import pytest

from drydock.clusters.api import Api, collection
from drydock.errors import ClusterError
from drydock.project import Project
from drydock.rehearsal.absent_servers import sentences
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.prerequisites import create_prerequisites
from drydock.rehearsal.release import Release
from drydock.suite.ad_hoc import environment_around, read_brought
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import Environment, load_environment
from tests.conftest import Drydock
from tests.suite.brought import CONVERSION, CRD, DEPLOYMENT, ENGINE, STACK, write

_ABSENT = ("webhook.yaml", "crds/engine.yaml", "aggregated.yaml", "older.yaml")
"""Of the chart, what would have a cluster of one's own call a server that is not there."""
ENVIRONMENT = """description: Ours
suite: nodes
install:
  - crds: operator
  - manifests: k8s
    namespace: shop
    wait: true
  - chart: stack
    namespace: serving
"""


def _password(api: Api) -> str:
    secret = api.get(f"{collection('v1', 'secrets', 'serving')}/stack-key")
    return base64.b64decode(secret["data"]["key"]).decode()


def test_a_chart_of_others_is_installed_upgraded_and_removed(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], drydock_project: Project, tmp_path: Path
) -> None:
    write(tmp_path / "stack", STACK)
    write(
        tmp_path / "k8s", {"a-engine.yaml": ENGINE.replace("big", "small"), "b-crd.yaml": CRD, "web.yaml": DEPLOYMENT}
    )
    helm = rehearsal_tools["helm4"]

    def environment(*set_values: str) -> Environment:
        brought = read_brought(
            drydock_project,
            chart=str(tmp_path / "stack"),
            namespace="serving",
            manifests=[tmp_path / "k8s"],
            set_values=set_values,
        )
        return environment_around(drydock_project, helm, brought)

    release = Release(shared_cluster, helm, assemble_charts(drydock_project))
    release.seed(environment())
    release.install()
    outcome = release.wait()
    assert outcome.ready, outcome.verdict
    api = shared_cluster.await_api()
    pods = {each["metadata"]["name"].rsplit("-", 2)[0] for each in release.scene.of("Pod")}
    assert {"stack-small", "web", "genai-nvidia-device-plugin"} <= {*pods, "genai-nvidia-device-plugin"}
    assert [each["spec"]["nodeName"] for each in release.scene.of("Pod") if "stack-small" in each["metadata"]["name"]]
    for name in ("big", "small"):
        assert api.find(f"{collection('example.com/v1', 'engines', 'serving')}/{name}")
    assert api.find(f"{collection('example.com/v1', 'engines', 'serving')}/older"), (
        "written in a version that is not stored"
    )
    assert api.find("/apis/apiregistration.k8s.io/v1/apiservices/v1.metrics.example.com") is None
    told = " ".join((*release.prerequisites.told(), *sentences(release.callers)))
    assert re.search(r"Engine.example.com (\w+, ){2}\w+: nothing acted on them", told)
    assert "ValidatingWebhookConfiguration stack-pods of stack was bypassed" in told
    assert "CustomResourceDefinition engines.example.com of stack converts nothing" in told
    assert "APIService v1.metrics.example.com of stack was removed" in told

    password = _password(api)
    release.seed(environment("engines[0].name=small", "engines[0].gpus=1", "engines[0].replicas=2"))
    release.upgrade()
    assert release.wait().ready
    assert _password(api) == password, "lookup found nothing"
    small = [each for each in release.scene.of("Pod") if each["metadata"]["name"].startswith("stack-small")]
    assert len(small) == 2

    release.uninstall()
    release.wait_gone()
    assert api.find(f"{collection('apps/v1', 'deployments', 'serving')}/web") is None


def test_an_environment_of_others_is_deployed_in_its_order_and_removed(
    shared_cluster: RehearsalCluster,
    rehearsal_tools: dict[str, Path],
    drydock_project: Project,
    drydock: Drydock,
    tmp_path: Path,
) -> None:
    repository = write(
        tmp_path / "ours",
        {
            "drydock/environments/ours.yaml": ENVIRONMENT,
            "k8s/web.yaml": f"{DEPLOYMENT}---\n{ENGINE}",
            "operator/crd.yaml": CRD.replace(CONVERSION, ""),
            "operator/web.yaml": DEPLOYMENT.replace("name: web", "name: operator"),
            **{f"stack/{path}": text for path, text in STACK.items() if not path.endswith(_ABSENT)},
        },
    )
    project = Project(drydock_project.root, drydock_project.cache_dir, repository)
    release = Release(shared_cluster, rehearsal_tools["helm4"], assemble_charts(project))
    release.seed(load_environment(project, "ours"))
    helm, api = shared_cluster.helm(rehearsal_tools["helm4"]), shared_cluster.await_api()
    create_prerequisites(api, release.prerequisites)
    helm.install(assemble_charts(project).umbrella, release.environment)  # the nodes of a cluster of one's own
    name = f"test-{uuid.uuid4().hex[:8]}"
    call = ("deploy", "ours", "--kubeconfig", shared_cluster.kubeconfig, "--name", name, "--timeout", "300")
    first = drydock(*call, cwd=repository)
    assert first.returncode == 0, first.stderr
    steps = [line for line in first.stderr.splitlines() if "✓ Apply" in line or "✓ Install" in line]
    assert [line.split()[2] for line in steps] == ["operator", "k8s", "stack"]
    assert api.find(f"{collection('apps/v1', 'deployments')}/operator") is None, "only CRDs of that folder"
    web = f"{collection('apps/v1', 'deployments', 'shop')}/web"
    assert api.get(web)["status"]["readyReplicas"] == 1
    password = _password(api)

    missing = drydock("diff", "ours", "--live", "--kubeconfig", shared_cluster.kubeconfig, cwd=repository)
    assert missing.returncode == 0, missing.stderr
    assert "Deployment/shop/web" not in missing.stdout
    api.merge(f"{web}?fieldManager=kubectl-scale", {"spec": {"revisionHistoryLimit": 3}})
    (repository / "k8s/web.yaml").write_text(DEPLOYMENT.replace("spec:\n", "spec:\n  revisionHistoryLimit: 4\n", 1))
    conflict = drydock(*call, cwd=repository)
    assert conflict.returncode == 1
    assert "Deployment/shop/web: spec.revisionHistoryLimit, written by kubectl-scale" in conflict.stderr
    forced = drydock(*call, "--force-conflicts", cwd=repository)
    assert forced.returncode == 0, forced.stderr
    assert api.get(web)["spec"]["revisionHistoryLimit"] == 4
    assert _password(api) == password

    gone = drydock("destroy", name, "--timeout", "300", cwd=repository)
    assert gone.returncode == 0, gone.stderr
    assert "CustomResourceDefinition/engines.example.com" in gone.stderr
    assert api.find(web) is None
    assert api.find(f"{collection('example.com/v1', 'engines', 'shop')}/big") is None, "it left k8s/ meanwhile"
    assert api.find(f"{collection('apps/v1', 'deployments', 'serving')}/stack-small") is None
    assert api.find(f"{collection('apps/v1', 'daemonsets', 'kube-system')}/genai-nvidia-device-plugin"), "not ours"
    api.delete(f"{collection('apiextensions.k8s.io/v1', 'customresourcedefinitions')}/engines.example.com")
    helm.uninstall(release.environment.namespace)
    release.wait_gone()


def test_a_kind_that_nothing_defines_is_refused_by_name(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], drydock_project: Project, tmp_path: Path
) -> None:
    manifests = write(tmp_path / "k8s", {"tuner.yaml": ENGINE.replace("Engine", "Tuner").replace("example", "nothing")})
    helm = rehearsal_tools["helm4"]
    release = Release(shared_cluster, helm, assemble_charts(drydock_project))
    brought = read_brought(drydock_project, manifests=[manifests])
    release.seed(environment_around(drydock_project, helm, brought))
    with pytest.raises(
        ClusterError, match=r"tuner.yaml: Tuner/default/big: the cluster serves no nothing.com/v1 Tuner"
    ):
        release.install()
