"""The root Application on a real API server."""

from kubernetes import client

from drydock.clusters.kube import api_client
from drydock.rehearsal.cluster import RehearsalCluster
from tests.conftest import Drydock

REPOSITORY = "https://git.example.com/platform.git"


def test_the_root_application_is_applied_where_argo_cd_is_and_refused_elsewhere(
    rehearsal_cluster: RehearsalCluster, drydock: Drydock
) -> None:
    rehearsal_cluster.await_api()
    access = ("--kubeconfig", rehearsal_cluster.kubeconfig)
    apply = ("bootstrap-argocd", "prod", "--repository", REPOSITORY, "--namespace", "default", "--apply", *access)
    without = drydock(*apply)
    assert without.returncode == 1
    assert "the API server answered 404" in without.stderr
    assert "Is Argo CD installed there" in without.stderr

    upgraded = drydock("crds", "upgrade", "--owner", "argo-cd", *access)
    assert upgraded.returncode == 0, upgraded.stderr
    objects = client.CustomObjectsApi(api_client(rehearsal_cluster.kubeconfig))
    for revision in ("v1.2.0", "v1.3.0"):
        done = drydock(*apply, "--revision", revision)
        assert done.returncode == 0, done.stderr
        assert "Application default/prod applied." in done.stderr
        found = objects.get_namespaced_custom_object("argoproj.io", "v1alpha1", "default", "applications", "prod")
        assert found["spec"]["source"]["targetRevision"] == revision
        assert found["spec"]["source"]["repoURL"] == REPOSITORY
