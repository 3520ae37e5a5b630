"""A chart and manifests that are not the suite's, from nothing to a verdict, upgraded and removed."""

import base64
from pathlib import Path

import pytest

from drydock.clusters.api import Api, collection
from drydock.errors import ClusterError
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.ad_hoc import environment_around, read_brought
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import Environment
from tests.suite.brought import CRD, DEPLOYMENT, ENGINE, STACK, write


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
    told = " ".join((*release.prerequisites.told(), *(each.name for each in release.webhooks)))
    assert "Engine.example.com big, small: nothing acted on them" in told.replace("small, big", "big, small")
    assert "stack-pods" in told

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
