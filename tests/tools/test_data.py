"""CRDs, schemas and stages from pinned modules."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from drydock.documents import load_yaml
from drydock.errors import ToolchainError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.tools.build import ensure
from drydock.tools.crd_files import ensure_crds, ensure_older_crds
from drydock.tools.pins import Toolchain
from drydock.tools.schemas import ensure_schemas
from drydock.tools.stages import ensure_kwok_stages

MakeProject = Callable[[Mapping[str, str]], Project]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def suite(small_project: MakeProject, drydock_project: Project) -> MakeProject:
    """Makes suites of the given files that share the cache of the suite under test."""
    return lambda files: Project(small_project(files).root, drydock_project.cache_dir)


def test_crds_come_by_owner_with_the_same_bytes_each_time(suite: MakeProject, tmp_path: Path) -> None:
    project = suite({})
    first = {owner: contents(folder) for owner, folder in ensure_crds(project, SilentProgress()).items()}
    again = ensure_crds(Project(project.root, tmp_path / "another cache"), SilentProgress())
    assert {owner: contents(folder) for owner, folder in again.items()} == first
    assert {"nodepools.karpenter.sh.yaml", "ec2nodeclasses.karpenter.k8s.aws.yaml"} <= first["karpenter"].keys()
    assert "rayservices.ray.io.yaml" in first["kuberay"]
    assert "workflowtemplates.argoproj.io.yaml" in first["argo"]
    assert first["argo-cd"].keys() == {"applications.argoproj.io.yaml", "appprojects.argoproj.io.yaml"}


def test_a_lone_equals_sign_is_a_string_as_for_kubernetes() -> None:
    assert load_yaml("matchType: =") == {"matchType": "="}


def test_crds_lie_in_their_owners_sub_chart_and_nothing_else_does(suite: MakeProject) -> None:
    project = suite({"charts/crds/charts/karpenter/Chart.yaml": "name: karpenter\n"})
    wanted = contents(ensure_crds(project, SilentProgress())["karpenter"])
    folder = project.charts_dir / "crds" / "charts" / "karpenter" / "crds"
    assert contents(folder) == wanted
    (folder / "nodepools.karpenter.sh.yaml").write_text("edited\n")
    (folder / "nodeclaims.karpenter.sh.yaml").unlink()
    (folder / "of-an-older-version.yaml").write_text("{}\n")
    ensure_crds(project, SilentProgress())
    assert contents(folder) == wanted


def test_nothing_of_a_crd_is_lost(suite: MakeProject) -> None:
    crd = yaml.safe_load(contents(ensure_crds(suite({}), SilentProgress())["karpenter"])["nodepools.karpenter.sh.yaml"])
    assert "NodePool is the Schema" in crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]


def test_older_crds_are_another_version_of_the_same(suite: MakeProject) -> None:
    project = suite({})
    older = contents(ensure_older_crds(project, "karpenter", SilentProgress()))
    newer = contents(ensure_crds(project, SilentProgress())["karpenter"])
    assert older["nodepools.karpenter.sh.yaml"] != newer["nodepools.karpenter.sh.yaml"]
    with pytest.raises(ToolchainError, match="no older CRDs are pinned for 'argo'"):
        ensure_older_crds(project, "argo", SilentProgress())


def test_a_module_that_is_not_what_go_sum_says_is_refused(small_project: MakeProject) -> None:
    pinned = Toolchain.load(small_project({})).folder
    project = small_project({})
    shutil.copytree(pinned, project.toolchain_dir)
    locked = project.toolchain_dir / "karpenter-older" / "go.sum"
    right = Toolchain.load(project).older_crds["karpenter"].checksum
    locked.write_text(locked.read_text().replace(right, f"h1:{'A' * 43}="))
    with pytest.raises(ToolchainError, match="checksum mismatch"):
        ensure_older_crds(project, "karpenter", SilentProgress())
    assert not (project.cache_dir / "crds").exists()


@pytest.mark.parametrize(
    ("pinned", "wrong", "reason"),
    [
        ("scaledobjects.keda.sh", "scaledobject.keda.sh", r"lacks scaledobject\.keda\.sh"),
        ("rayclusters.ray.io:", "raycluster.ray.io:", r"lacks raycluster\.ray\.io"),
        ("workerGroupSpecs: groupName", "headGroupSpec: groupName", r"spec\.headGroupSpec is no list whose items must"),
        ("workerGroupSpecs: groupName", "workerGroupSpecs: replicas", r"spec\.workerGroupSpecs is no list whose items"),
    ],
)
def test_what_a_pin_names_and_its_module_lacks_is_reported(
    small_project: MakeProject, drydock_project: Project, pinned: str, wrong: str, reason: str
) -> None:
    project = Project(small_project({}).root, drydock_project.cache_dir)
    shutil.copytree(Toolchain.load(project).folder, project.toolchain_dir)
    file = project.toolchain_dir / "toolchain.yaml"
    file.write_text(file.read_text().replace(pinned, wrong))
    with pytest.raises(ToolchainError, match=reason) as failure:
        ensure_crds(project, SilentProgress())
    assert "toolchain.yaml" in str(failure.value.remedy)


def test_kwoks_fast_stages_are_there(small_project: MakeProject) -> None:
    stages = ensure_kwok_stages(small_project({}), SilentProgress())
    documents = [yaml.safe_load(file.read_text()) for file in sorted(stages.glob("*/fast/[!k]*.yaml"))]
    names = {document["metadata"]["name"] for document in documents if document["kind"] == "Stage"}
    assert names >= {"node-initialize", "pod-ready", "pod-complete", "pod-delete"}


GOOD = {
    "deployment": """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: a, creationTimestamp: null}
        spec:
          selector: {matchLabels: {a: b}}
          strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 50%}}
          template:
            metadata: {labels: {a: b}}
            spec:
              affinity: null
              containers:
                - {name: a, image: b, resources: {limits: {cpu: 1.5, memory: 1Gi, nvidia.com/gpu: 1}}}
        """,
    "node pool": """
        apiVersion: karpenter.sh/v1
        kind: NodePool
        metadata: {name: a, annotations: {a: b}}
        spec:
          limits: {cpu: 10, nvidia.com/gpu: "8"}
          template:
            spec:
              nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: a}
              requirements: [{key: kubernetes.io/arch, operator: In, values: [amd64]}]
        """,
    "auto mode": """
        apiVersion: eks.amazonaws.com/v1
        kind: NodeClass
        metadata: {name: a}
        spec: {role: a, subnetSelectorTerms: [{tags: {a: b}}], securityGroupSelectorTerms: [{tags: {a: b}}]}
        """,
    "ray": """
        apiVersion: ray.io/v1
        kind: RayCluster
        metadata: {name: a}
        spec:
          headGroupSpec:
            rayStartParams: {}
            template: {spec: {containers: [{name: a, image: b, ports: [{containerPort: 80}]}]}}
        """,
    "workflow": """
        apiVersion: argoproj.io/v1alpha1
        kind: WorkflowTemplate
        metadata: {name: a}
        spec: {entrypoint: a, templates: [{name: a, container: {image: b}, retryStrategy: {limit: 3}}]}
        """,
}
BAD = {
    "a misspelt field": ("deployment", "affinity: null", "afinity: null", "afinity"),
    "a misspelt field in metadata": ("node pool", "annotations:", "anotations:", "anotations"),
    "a misspelt field of a CRD": ("node pool", "nodeClassRef: {group", "nodeClassRef: {grupp", "grupp"),
    "a misspelt field of our own CRD": ("auto mode", "role: a", "rolle: a", "rolle"),
    "a misspelt field of a pod in a CRD": ("ray", "{name: a, image", "{name: a, imige", "imige"),
    "a wrong type": ("deployment", "maxSurge: 0", "maxSurge: 0.5", "maxSurge"),
    "a missing field": ("deployment", "{name: a, image: b, resources", "{image: b, resources", "'name'"),
    "an unknown group": ("deployment", "apps/v1", "apps.example.test/v1", "apps/v1"),
    "an unknown kind": ("deployment", "kind: Deployment", "kind: Deploymint", "could not find schema"),
    "an alpha API": ("deployment", "apps/v1", "apps/v1alpha1", "could not find schema"),
}


@pytest.fixture(scope="module")
def conform(drydock_project: Project) -> Callable[[str], list[dict[str, str]]]:
    """Runs kubeconform over a document, without network, and gives what it says of each object."""
    schemas = ensure_schemas(drydock_project, SilentProgress())
    program = ensure(drydock_project, ["kubeconform"], SilentProgress())["kubeconform"]
    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command: list[str | Path] = [program, "-strict", "-verbose", "-output=json", "-schema-location", location, "-"]

    def run(document: str) -> list[dict[str, str]]:
        done = subprocess.run(command, input=document, capture_output=True, text=True, check=False)
        resources: list[dict[str, str]] = json.loads(done.stdout)["resources"]
        return resources

    return run


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_a_good_object_conforms(conform: Callable[[str], list[dict[str, str]]], document: str) -> None:
    assert [(each["status"], each["msg"]) for each in conform(document)] == [("statusValid", "")]


@pytest.mark.parametrize(("good", "old", "new", "told"), BAD.values(), ids=BAD)
def test_a_bad_object_does_not(
    conform: Callable[[str], list[dict[str, str]]], good: str, old: str, new: str, told: str
) -> None:
    assert old in GOOD[good]
    (result,) = conform(GOOD[good].replace(old, new))
    assert result["status"] in ("statusInvalid", "statusError")
    assert told in result["msg"]
