"""CRD upgrades on a real API server: what Helm never does."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.crds import read_crds, upgrade_crds
from drydock.errors import ClusterError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.rehearse import suite_cluster
from drydock.rehearsal.runs import new_run_folder
from drydock.tools.crd_files import ensure_older_crds
from drydock.tools.setup import set_up
from tests.conftest import Drydock

GROUP = "karpenter.k8s.aws"
PLURAL = "ec2nodeclasses"
CRD = f"{PLURAL}.{GROUP}"
NODE_CLASS: dict[str, Any] = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "EC2NodeClass",
    "metadata": {"name": "kept"},
    "spec": {
        "role": "nodes",
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "subnetSelectorTerms": [{"tags": {"team": "a"}}],
        "securityGroupSelectorTerms": [{"tags": {"team": "a"}}],
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "100Gi", "encrypted": True}}],
    },
}


@pytest.fixture(scope="module")
def older_cluster(drydock_project: Project) -> Iterator[RehearsalCluster]:
    """An API server that has the CRDs of an older Karpenter."""
    equipment = set_up(drydock_project, "rehearse", SilentProgress())
    older = ensure_older_crds(drydock_project, "karpenter", SilentProgress())
    folder = new_run_folder(drydock_project, "crds")
    with suite_cluster(drydock_project, equipment.tools, folder, crds=sorted(older.iterdir())) as cluster:
        cluster.await_api()
        config.load_kube_config(config_file=str(cluster.kubeconfig))
        yield cluster


def test_an_older_karpenter_is_brought_to_the_pinned_one_and_no_object_loses_a_field(
    older_cluster: RehearsalCluster, drydock_project: Project, drydock: Drydock
) -> None:
    objects, crds = client.CustomObjectsApi(), client.ApiextensionsV1Api()
    before = _fields(crds.read_custom_resource_definition(CRD))
    assert "spec.placementGroupSelector" not in before
    objects.create_cluster_custom_object(GROUP, "v1", PLURAL, NODE_CLASS)
    created = objects.get_cluster_custom_object(GROUP, "v1", PLURAL, "kept")

    done = drydock("crds", "upgrade", "--kubeconfig", older_cluster.kubeconfig, "--owner", "karpenter")
    assert done.returncode == 0, done.stderr
    assert "updated" in done.stdout

    after = crds.read_custom_resource_definition(CRD)
    assert _fields(after) > before
    assert "spec.placementGroupSelector" in _fields(after)
    assert after.status.stored_versions == ["v1"]
    assert objects.get_cluster_custom_object(GROUP, "v1", PLURAL, "kept")["spec"] == created["spec"]
    new_field = {"spec": {"placementGroupSelector": {"name": "close"}}}
    # The API server takes a moment to prune by the new schema.
    for attempt in Retrying(
        retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(60), wait=wait_fixed(0.2), reraise=True
    ):
        with attempt:
            patched = objects.patch_cluster_custom_object(GROUP, "v1", PLURAL, "kept", new_field)
            assert patched["spec"].get("placementGroupSelector") == {"name": "close"}
    again = upgrade_crds(older_cluster.kubeconfig, read_crds(drydock_project, ["karpenter"]), SilentProgress())
    assert {each.action for each in again} == {"unchanged"}


def test_objects_in_an_older_version_are_rewritten_before_that_version_can_go(older_cluster: RehearsalCluster) -> None:
    kubeconfig, objects = older_cluster.kubeconfig, client.CustomObjectsApi()
    upgrade_crds(kubeconfig, [_crd({"v1alpha1": True})], SilentProgress())
    for index in range(3):
        thing = {"apiVersion": "test.drydock.dev/v1alpha1", "kind": "Thing", "metadata": {"name": f"t{index}"}}
        objects.create_namespaced_custom_object(
            "test.drydock.dev", "v1alpha1", "default", "things", {**thing, "spec": {"size": index}}
        )
    with pytest.raises(ClusterError, match=r"still stores objects as v1alpha1(?s:.*)Upgrade first"):
        upgrade_crds(kubeconfig, [_crd({"v1": True})], SilentProgress())

    (upgraded,) = upgrade_crds(kubeconfig, [_crd({"v1alpha1": False, "v1": True})], SilentProgress())
    assert (upgraded.action, upgraded.storage_version, upgraded.migrated_objects) == ("updated", "v1", 3)
    upgrade_crds(kubeconfig, [_crd({"v1": True})], SilentProgress())
    things = objects.list_cluster_custom_object("test.drydock.dev", "v1", "things")["items"]
    assert [each["spec"]["size"] for each in things] == [0, 1, 2]


def test_crds_are_printed_for_kubectl(drydock: Drydock) -> None:
    done = drydock("crds", "print", "--owner", "karpenter")
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(done.stdout)}
    assert {"nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws"} <= names
    assert not any(name.endswith("ray.io") for name in names)


def test_an_unknown_owner_is_told_with_the_known_ones(drydock: Drydock) -> None:
    done = drydock("crds", "print", "--owner", "karpentre")
    assert done.returncode == 2
    known = "Known owners: argo, argo-cd, karpenter, keda, kuberay, lws, prometheus."
    assert f"no CRDs of karpentre\n  {known}" in done.stderr


def test_a_cluster_that_does_not_answer_is_told_without_a_traceback(drydock: Drydock, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:9"}}],
                "users": [{"name": "a", "user": {}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
        )
    )
    done = drydock("crds", "upgrade", "--kubeconfig", kubeconfig)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "127.0.0.1:9" in done.stderr.replace("host='127.0.0.1', port=9", "127.0.0.1:9")
    assert "Traceback" not in done.stderr


def _fields(crd: Any) -> set[str]:
    """Dotted paths of every field in the schema of a CRD's first version."""
    content = client.ApiClient().sanitize_for_serialization(crd)

    def below(schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            yield f"{path}{name}"
            yield from below(part, f"{path}{name}.")
        if isinstance(schema.get("items"), dict):
            yield from below(schema["items"], f"{path}[].")

    return set(below(content["spec"]["versions"][0]["schema"]["openAPIV3Schema"], ""))


def _crd(versions: Mapping[str, bool]) -> dict[str, Any]:
    """A CRD with these versions; the true one is stored."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.test.drydock.dev"},
        "spec": {
            "group": "test.drydock.dev",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
            "versions": [
                {"name": name, "served": True, "storage": stored, "schema": {"openAPIV3Schema": schema}}
                for name, stored in versions.items()
            ],
        },
    }
