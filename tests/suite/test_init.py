"""`drydock init`: an environment of what a repository holds, which the other verbs then read."""

import json
from pathlib import Path

import pytest
import yaml

from drydock.project import Project
from drydock.suite.environments import load_environment
from drydock.suite.proposal import propose
from drydock.suite.repository_scan import scan
from tests.conftest import Drydock
from tests.suite.brought import CRD, DEPLOYMENT, STACK, write

APPLICATIONS = """apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: engines
  annotations: {argocd.argoproj.io/sync-wave: "-1"}
spec:
  destination: {namespace: serving}
  source:
    repoURL: https://charts.example.com
    chart: vllm-stack
    targetRevision: 0.1.8
    helm:
      valuesObject: {replicas: 2}
      parameters: [{name: args, value: "a,b"}]
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: router
spec:
  destination: {namespace: serving}
  sources:
    - repoURL: registry.example.com/charts
      chart: router
      targetRevision: 2.*
      helm: {valueFiles: [$here/charts/stack/values-gpu.yaml, $here/absent.yaml]}
    - {repoURL: https://git.example.com/here.git, ref: here}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: elsewhere
spec:
  source: {repoURL: https://git.example.com/other.git, path: deploy}
"""
REPOSITORY = {
    **{f"charts/stack/{path}": text for path, text in STACK.items()},
    "charts/stack/values-prod.yaml": "engines: [{name: prod, gpus: 1}]\n",
    "charts/stack/values-dev.yaml": "engines: []\n",
    "charts/stack/values-gpu.yaml": "{}\n",
    "charts/shared/Chart.yaml": "apiVersion: v2\nname: shared\nversion: 1.0.0\ntype: library\n",
    "k8s/crds/engine.yaml": CRD,
    "k8s/common/web.yaml": DEPLOYMENT,
    "k8s/prod/shop.yaml": DEPLOYMENT.replace("web", "shop"),
    "k8s/dev/shop.yaml": DEPLOYMENT.replace("web", "shop"),
    "base/kustomization.yaml": "resources: [api.yaml]\n",
    "base/api.yaml": DEPLOYMENT.replace("web", "api"),
    "overlays/prod/kustomization.yaml": "resources: [../../base]\n",
    "overlays/dev/kustomization.yaml": "resources: [../../base]\n",
    "jobs/seed.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: seed-}\n",
    "helmfile.yaml": "releases: []\n",
    "kind.yaml": "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\n",
    ".github/workflows/test.yaml": "on: push\n",
    "template/web.yaml": "kind: {{ .kind }}\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write(tmp_path / "platform", REPOSITORY)


def test_a_repository_becomes_an_environment_for_its_first_variant(repository: Path) -> None:
    write(repository, {"argo/apps.yaml": APPLICATIONS})
    proposal = propose(scan(repository))
    assert proposal.file == Path("drydock/environments/prod.yaml")
    content = yaml.safe_load(proposal.files[proposal.file])
    assert content["suite"] == "nodes"
    assert content["install"] == [
        {"crds": "k8s/crds"},
        {
            **{"chart": "vllm-stack", "repository": "https://charts.example.com", "version": "0.1.8"},
            **{"name": "engines", "namespace": "serving"},
            **{"values": ["drydock/values/engines.yaml"], "set": ["args=a\\,b"], "wait": True},
        },
        {"manifests": "k8s/common"},
        {"manifests": "k8s/prod"},
        {"kustomize": "overlays/prod"},
        {
            **{"chart": "oci://registry.example.com/charts/router", "version": "2.*"},
            **{"name": "router", "namespace": "serving", "values": ["charts/stack/values-gpu.yaml"]},
        },
        {"chart": "charts/stack", "namespace": "default", "values": ["charts/stack/values-prod.yaml"]},
    ]
    assert yaml.safe_load(proposal.files[Path("drydock/values/engines.yaml")]) == {"replicas": 2}
    notes = " ".join(proposal.notes)
    for said in ("dev", "absent.yaml", "elsewhere", "helmfile.yaml", "jobs/seed.yaml", "template/web.yaml"):
        assert said in notes
        assert said in proposal.files[proposal.file]


def test_what_is_written_is_read_by_the_other_verbs_and_never_overwritten(
    repository: Path, drydock: Drydock, drydock_project: Project
) -> None:
    shown = drydock("init", "dev", "--format", "json", cwd=repository)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["written"] is False
    unasked = drydock("init", "dev", cwd=repository)
    assert unasked.returncode == 0
    assert "pass --yes" in unasked.stderr
    assert not (repository / "drydock").exists()

    written = drydock("init", "dev", "--yes", "--format", "json", cwd=repository)
    assert written.returncode == 0, written.stderr
    file = repository / json.loads(written.stdout)["file"]
    assert file.read_text() == json.loads(shown.stdout)["files"]["drydock/environments/dev.yaml"]
    environment = load_environment(Project(drydock_project.root, drydock_project.cache_dir, repository), "dev")
    assert [each.name for each in environment.brought.releases] == ["stack"]
    assert {each.name for each in environment.brought.manifests} == {"engines.example.com", "web", "shop", "api"}
    listed = drydock("environments", "--format", "json", cwd=repository / "k8s")
    assert [each["name"] for each in json.loads(listed.stdout)] == ["dev"]

    file.write_text(f"{file.read_text()}# ours\n")
    again = drydock("init", "dev", "--yes", cwd=repository)
    assert again.returncode == 2
    assert "dev.yaml exists" in again.stderr
    assert file.read_text().endswith("# ours\n")


def test_node_pools_of_the_repository_take_the_place_of_drydock_s(tmp_path: Path) -> None:
    pool = "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: gpu}\n"
    proposal = propose(scan(write(tmp_path / "My Repo", {"nodes/gpu.yaml": pool})))
    assert proposal.name == "my-repo"
    content = yaml.safe_load(proposal.files[proposal.file])
    assert (content["suite"], content["install"]) == (False, [{"manifests": "nodes"}])


def test_wrong_places_are_refused(drydock: Drydock, tmp_path: Path) -> None:
    empty = drydock("init", cwd=tmp_path)
    assert (empty.returncode, "holds no chart" in empty.stderr) == (2, True)
    own = drydock("init")
    assert (own.returncode, "checkout of Drydock" in own.stderr) == (2, True)
    name = drydock("init", "../x", cwd=write(tmp_path / "a", {"web.yaml": DEPLOYMENT}))
    assert (name.returncode, "not a name of an environment" in name.stderr) == (2, True)
