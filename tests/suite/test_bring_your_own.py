"""Charts and manifests that are not the suite's: read, rendered and checked, with the real Helm and Kustomize."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drydock.checks.findings_error import refuse_errors
from drydock.errors import DrydockError, UsageError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.suite.ad_hoc import environment_around, read_brought
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import load_environment
from drydock.suite.render import install_commands, render
from drydock.tools import process
from drydock.tools.setup import set_up
from tests.conftest import Drydock
from tests.suite.brought import CRD, DEPLOYMENT, ENGINE, SECRET, STACK, SUBCHART, write

MakeProject = Callable[[Mapping[str, str]], Project]
Tool = Callable[[str], Path]


def findings(drydock: Drydock, *arguments: str | Path, status: int) -> dict[str, Any]:
    """Findings of `validate` by check and object."""
    done = drydock("validate", *arguments, "--format", "json")
    assert done.returncode == status, done.stdout + done.stderr
    return {f"{each['check']} {each.get('object', '')}".rstrip(): each for each in json.loads(done.stdout)}


def test_a_chart_is_checked_with_its_subchart_and_crds_and_without_its_tests(drydock: Drydock, tmp_path: Path) -> None:
    chart = write(tmp_path / "stack", STACK)
    found = findings(drydock, "--chart", chart, status=0)
    assert found["render-differs Secret/default/stack-key"]["severity"] == "warning"
    assert found["render-differs Secret/default/stack-key"]["file"] == f"{chart}/templates/secret.yaml"
    assert not [key for key in found if "stack-test" in key or key.startswith("object-schema")]
    assert {each["release"] for each in found.values()} == {"stack"}


def test_values_of_the_command_line_are_the_chart_s_and_a_pod_without_a_node_is_found(
    drydock: Drydock, tmp_path: Path
) -> None:
    chart = write(tmp_path / "stack", STACK)
    values = write(tmp_path, {"ours.yaml": "engines:\n  - name: huge\n    gpus: 64\n"}) / "ours.yaml"
    found = findings(drydock, "--chart", chart, "-f", values, "--set", "cache.memory=9000Gi", status=1)
    huge = found["pod-feasibility Deployment/default/stack-huge"]
    assert huge["severity"] == "error"
    assert (huge["file"], huge["line"]) == (str(values), 3)
    assert "9000 GiB" in found["pod-feasibility StatefulSet/default/stack-cache"]["reason"]


def test_custom_resources_are_held_against_the_crds_that_are_brought(drydock: Drydock, tmp_path: Path) -> None:
    wrong = ENGINE.replace("size: 3", "size: large")
    without = findings(drydock, "--manifests", write(tmp_path / "a", {"engine.yaml": ENGINE}), status=1)
    assert without["object-schema Engine/default/big"]["remedy"].startswith("Bring the CRD")
    both = write(tmp_path / "b", {"engine.yaml": wrong, "crd.yaml": CRD})
    assert findings(drydock, "--manifests", both, status=1)["object-schema Engine/default/big"]["path"] == "spec.size"
    right = write(tmp_path / "c", {"engine.yaml": ENGINE, "crd.yaml": CRD})
    assert "object-schema Engine/default/big" not in findings(drydock, "--manifests", right, status=0)


def test_a_definition_without_a_specification_is_a_finding(drydock: Drydock, tmp_path: Path) -> None:
    empty = CRD[: CRD.index("spec:")]
    chart = write(tmp_path / "stack", {"Chart.yaml": STACK["Chart.yaml"], "templates/crd.yaml": empty})
    manifests = write(tmp_path / "k8s", {"crd.yaml": empty})
    for what in (("--chart", chart), ("--manifests", manifests)):
        found = findings(drydock, *what, status=1)
        assert "spec" in found["object-schema CustomResourceDefinition/engines.example.com"]["reason"]


def test_an_object_without_the_specification_that_it_needs_is_a_finding(drydock: Drydock, tmp_path: Path) -> None:
    cron = "{schedule: '@daily', jobTemplate: {spec: {template: {metadata: {labels: {app: a}}}}}}"
    texts = {
        "Deployment/default/empty": "apiVersion: apps/v1\nkind: Deployment\nspec:\n",
        "CronJob/default/empty": f"apiVersion: batch/v1\nkind: CronJob\nspec: {cron}\n",
        "PersistentVolumeClaim/default/empty": "apiVersion: v1\nkind: PersistentVolumeClaim\n",
        "Service/default/empty": "apiVersion: v1\nkind: Service\n",
        "LimitRange/default/empty": "apiVersion: v1\nkind: LimitRange\n",
    }
    files = {f"{number}.yaml": f"{text}metadata: {{name: empty}}\n" for number, text in enumerate(texts.values())}
    found = findings(drydock, "--manifests", write(tmp_path / "k8s", files), status=1)
    refused = {key.partition(" ")[2]: each for key, each in found.items() if key.startswith("object-schema")}
    assert refused.keys() == texts.keys() - {"LimitRange/default/empty"}
    assert refused["CronJob/default/empty"]["path"] == "spec.jobTemplate.spec.template"


def test_a_comment_or_annotation_with_a_reason_accepts_a_finding_and_one_without_does_not(
    drydock: Drydock, tmp_path: Path
) -> None:
    latest = DEPLOYMENT.replace(":1.4.2", ":latest")
    before = findings(drydock, "--manifests", write(tmp_path / "a", {"web.yaml": latest}), status=1)
    check = next(key.partition(" ")[0] for key, each in before.items() if "latest" in each["reason"])
    reason = "The tag is moved by our registry's rules."
    comment = f"# drydock:accept {check} {reason}\n{latest}"
    annotation = latest.replace(
        "  name: web\n", f"  name: web\n  annotations: {{accept.drydock.dev/{check}: {reason}}}\n", 1
    )
    base = {"kustomization.yaml": "resources: [web.yaml]\n", "web.yaml": annotation}
    write(tmp_path, {"b/web.yaml": comment, "c/web.yaml": f"# drydock:accept {check}\n{latest}"})
    write(tmp_path / "d", base)
    found = f"{check} Deployment/default/web"
    assert before[found]["severity"] == "error"
    for call in (("--manifests", tmp_path / "b"), ("--kustomize", tmp_path / "d")):
        accepted = findings(drydock, *call, status=0)
        assert (accepted[found]["severity"], accepted[found]["accepted"]) == ("accepted", reason)
    assert "accepted" not in findings(drydock, "--manifests", tmp_path / "c", status=1)[found]
    shown = drydock("validate", "--manifests", tmp_path / "b")
    assert f"accepted: {reason}" in shown.stdout
    assert "1 accepted with a reason" in shown.stdout
    sarif = json.loads(drydock("validate", "--manifests", tmp_path / "b", "--format", "sarif").stdout)
    (result,) = [each for each in sarif["runs"][0]["results"] if each["ruleId"] == check]
    assert result["suppressions"][0]["justification"] == reason


def test_an_environment_accepts_what_renders_differently(small_project: MakeProject, drydock: Drydock) -> None:
    entry = "{check: render-differs, object: Secret/default/stack-key, reason: Helm keeps the first password.}"
    text = f"description: ours\nsuite: false\ninstall: [{{chart: stack}}]\naccepted: [{entry}]\n"
    files = {"Chart.yaml": STACK["Chart.yaml"], "templates/secret.yaml": SECRET}
    project = small_project(
        {"values/environments/ours.yaml": text, **{f"stack/{key}": each for key, each in files.items()}}
    )
    done = drydock("validate", "ours", "--format", "json", env={"DRYDOCK_PROJECT": str(project.root)})
    found = {each["check"]: each["severity"] for each in json.loads(done.stdout)}
    assert found["render-differs"] == "accepted"
    assert "accepted-unused" not in found


def test_a_kustomize_folder_is_built(drydock: Drydock, tmp_path: Path) -> None:
    write(tmp_path, {"base/kustomization.yaml": "resources: [web.yaml]\n", "base/web.yaml": DEPLOYMENT})
    images = "[{name: registry.example.com/web, newTag: 1.5.0}]"
    overlay = f"namespace: shop\nnamePrefix: prod-\nresources: [../base]\nimages: {images}\n"
    write(tmp_path, {"prod/kustomization.yaml": overlay})
    done = drydock("images", "--kustomize", tmp_path / "prod", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "registry.example.com/web:1.5.0" in {each["image"] for each in json.loads(done.stdout)}
    found = findings(drydock, "--kustomize", tmp_path / "prod", status=0)
    assert "namespace-open Deployment/shop/prod-web" in found


def test_a_chart_that_does_not_render_is_a_finding_at_its_line(drydock: Drydock, tmp_path: Path) -> None:
    files = {**STACK, "templates/broken.yaml": 'a: 1\n{{ fail "no model is set" }}\n'}
    chart = write(tmp_path / "stack", files)
    found = findings(drydock, "--chart", chart, status=1)["render"]
    assert (found["file"], found["line"]) == (f"{chart}/templates/broken.yaml", 2)
    assert "no model is set" in found["reason"]
    rehearsed = drydock("rehearse", "--chart", chart)
    assert rehearsed.returncode == 1
    assert "nothing was started" in rehearsed.stderr
    missing = write(
        tmp_path / "other",
        {
            "Chart.yaml": STACK["Chart.yaml"]
            + "dependencies: [{name: db, version: 1.0.0, repository: 'https://x.test'}]\n"
        },
    )
    assert "helm dependency update" in findings(drydock, "--chart", missing, status=1)["render"]["remedy"]


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({}, ["--chart", "absent"], "--chart: no such file or folder"),
        ({"x/web.yaml": DEPLOYMENT}, ["--chart", "x"], "is no Helm chart"),
        ({"x.txt": ""}, ["--chart", "x.txt"], "is no Helm chart"),
        ({"c/Chart.yaml": "name: c\n"}, ["--chart", "c", "-f", "absent.yaml"], "--chart: values: no such file"),
        ({"c/Chart.yaml": "name: c\n"}, ["--chart", "c", "--release", "Up"], "Up is no name of a release"),
        ({}, ["--chart", "x", "--repository", "http://127.0.0.1:9"], "x has no version"),
        ({}, ["dev", "--chart", "x"], "dev and --chart together"),
        ({}, ["dev", "--release", "x"], "--release is for what"),
        ({"k/web.yaml": DEPLOYMENT}, ["--manifests", "k", "--set", "a=b"], "values of a chart, and there is none"),
        ({"k/values.yaml": "a: 1\n"}, ["--manifests", "k"], "apiVersion or kind is missing"),
        ({"k/web.yaml": "a: [\n"}, ["--manifests", "k"], "k/web.yaml: document 1 is not YAML"),
        (
            {"k/a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a}\n"},
            ["--manifests", "k"],
            "no metadata.name",
        ),
        ({"k/kustomization.yaml": "resources: []\n"}, ["--manifests", "k"], "is for Kustomize"),
        ({"k/readme.md": ""}, ["--manifests", "k"], "holds no .yaml"),
        ({"k/web.yaml": DEPLOYMENT}, ["--kustomize", "k"], "has no kustomization.yaml"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    files: Mapping[str, str], arguments: list[str], said: str, drydock: Drydock, tmp_path: Path
) -> None:
    write(tmp_path, files)
    done = drydock("validate", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr.replace("\n", " ")


def test_rehearse_and_images_need_something_to_work_on(drydock: Drydock) -> None:
    for verb in ("rehearse", "images"):
        done = drydock(verb)
        assert done.returncode == 2
        assert "Name an environment" in done.stderr


@pytest.fixture
def chart_repository(tmp_path: Path, drydock_tool: Tool) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """The address of a chart repository with `stack` 1.2.3, and its server."""
    folder = tmp_path / "repository"
    helm = drydock_tool("helm4")
    process.run([helm, "package", write(tmp_path / "stack", STACK), "--destination", folder])
    process.run([helm, "repo", "index", folder])
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", server
        server.shutdown()


def test_a_chart_of_a_repository_is_fetched_once(
    chart_repository: tuple[str, ThreadingHTTPServer], drydock_project: Project
) -> None:
    address, server = chart_repository
    (first,) = read_brought(drydock_project, chart="stack", repository=address, version="1.2.3").releases
    server.shutdown()
    server.server_close()
    (second,) = read_brought(drydock_project, chart="stack", repository=address, version="1.2.3").releases
    assert first == second
    assert (first.name, first.chart.name) == ("stack", "stack-1.2.3.tgz")
    with pytest.raises(DrydockError, match=r"stack 9.9.9 cannot be fetched"):
        read_brought(drydock_project, chart="stack", repository=address, version="9.9.9")


@pytest.fixture
def registry(tmp_path: Path, drydock_tool: Tool) -> Iterator[tuple[str, str, ThreadingHTTPServer]]:
    """Reference and digest of `stack` 1.2.3 in a registry of this machine, and its server."""
    process.run([drydock_tool("helm4"), "package", write(tmp_path / "stack", STACK), "--destination", tmp_path])
    package = (tmp_path / "stack-1.2.3.tgz").read_bytes()

    def described(content: bytes, kind: str) -> dict[str, Any]:
        media = f"application/vnd.cncf.helm.{kind}"
        return {"mediaType": media, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}

    config = json.dumps({"name": "stack", "version": "1.2.3", "apiVersion": "v2"}).encode()
    layers: dict[str, Any] = {
        "config": described(config, "config.v1+json"),
        "layers": [described(package, "chart.content.v1.tar+gzip")],
    }
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, **layers}).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    blobs: dict[str, bytes] = {layers["config"]["digest"]: config, layers["layers"][0]["digest"]: package}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            content = manifest if name in ("1.2.3", digest) else blobs.get(name, b"")
            self.send_response(200 if content or self.path == "/v2/" else 404)
            self.send_header("Content-Type", media_type if content is manifest else "application/octet-stream")
            self.send_header("Docker-Content-Digest", digest if content is manifest else name)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"oci://127.0.0.1:{server.server_address[1]}/charts/stack", digest, server
        server.shutdown()


def test_a_chart_of_a_registry_is_fetched_once_by_version_or_digest(
    registry: tuple[str, str, ThreadingHTTPServer], drydock_project: Project
) -> None:
    reference, digest, server = registry
    by_digest = f"{reference}@{digest}"
    first = read_brought(drydock_project, chart=by_digest).releases
    second = read_brought(drydock_project, chart=reference, version="1.2.3").releases
    assert [each.name for each in (*first, *second)] == ["stack", "stack"]
    with pytest.raises(UsageError, match="has no version"):
        read_brought(drydock_project, chart=reference)
    server.shutdown()
    server.server_close()
    assert read_brought(drydock_project, chart=by_digest).releases == first
    with pytest.raises(DrydockError, match="cannot be fetched"):
        read_brought(drydock_project, chart=f"{reference}@sha256:{'0' * 64}")


def test_an_environment_may_bring_charts_and_manifests(small_project: MakeProject, drydock_tool: Tool) -> None:
    entry = "{chart: theirs/stack, namespace: serving, values: [ours.yaml], set: [cache.memory=1Gi], wait: true}"
    project = small_project(
        {
            "values/environments/ours.yaml": "description: ours\nsuite: false\n"
            f"manifests: [{{path: k8s, namespace: shop}}]\nreleases: [{entry}]\n",
            "ours.yaml": "engines: [{name: ours, gpus: 1}]\n",
            "k8s/web.yaml": f"{DEPLOYMENT}---\n{ENGINE}---\n{CRD}",
        }
    )
    write(project.root / "theirs/stack", STACK)
    environment = load_environment(project, "ours")
    rendered = render(drydock_tool("helm4"), assemble_charts(project), environment)
    names = {each.identity for each in rendered.manifests}
    assert {
        "Deployment/shop/web",
        "Engine/shop/big",
        "Deployment/serving/stack-ours",
        "StatefulSet/serving/stack-cache",
    } <= names
    assert "CustomResourceDefinition/engines.example.com" in names
    files = {each.identity: each.file for each in rendered.manifests}
    assert files["Deployment/shop/web"] == "k8s/web.yaml"
    assert files["StatefulSet/serving/stack-cache"] == "theirs/stack/charts/cache/templates/cache.yaml"
    apply, install = install_commands(project, environment)
    assert apply == "kubectl apply --server-side --recursive -f k8s --namespace shop"
    assert install.startswith("helm upgrade --install stack theirs/stack --namespace serving --create-namespace -f ")
    assert install.endswith("--set cache.memory=1Gi --wait")


def test_releases_of_one_name_and_namespace_are_refused(small_project: MakeProject) -> None:
    text = "description: ours\nsuite: false\nreleases: [{chart: stack}, {chart: stack}]\n"
    project = small_project(
        {
            "values/environments/ours.yaml": text,
            **{f"stack/{key}": SUBCHART[f"charts/cache/{key}"] for key in ("Chart.yaml",)},
        }
    )
    with pytest.raises(UsageError, match="two releases are called cache"):
        load_environment(project, "ours")


def test_argo_cd_s_root_refuses_what_it_would_leave_out(small_project: MakeProject, drydock: Drydock) -> None:
    text = "description: ours\nstack: [empty.yaml]\nmanifests: [{path: web.yaml}]\n"
    project = small_project({"values/environments/ours.yaml": text, "web.yaml": DEPLOYMENT})
    call = ("bootstrap-argocd", "ours", "--repository", "https://git.example.com/platform.git")
    done = drydock(*call, env={"DRYDOCK_PROJECT": str(project.root)})
    assert done.returncode == 2, done.stderr
    assert "--show-command" in done.stderr


def test_one_list_gives_the_order_with_crds_alone_from_their_folder(
    small_project: MakeProject, drydock_tool: Tool
) -> None:
    install = "[{chart: theirs/stack}, {crds: bundle, wait: true}, {manifests: web.yaml, namespace: shop}]"
    text = f"description: ours\nsuite: false\ninstall: {install}\n"
    bundle = f"{CRD}---\n{DEPLOYMENT}"
    project = small_project(
        {"values/environments/ours.yaml": text, "web.yaml": DEPLOYMENT, "bundle/operator.yaml": bundle}
    )
    write(project.root / "theirs/stack", {"Chart.yaml": STACK["Chart.yaml"], "templates/secret.yaml": SECRET})
    environment = load_environment(project, "ours")
    rendered = render(drydock_tool("helm4"), assemble_charts(project), environment)
    assert [each.identity for each in rendered.manifests] == [
        "Secret/default/stack-key",
        "CustomResourceDefinition/engines.example.com",
        "Deployment/shop/web",
    ]
    assert [command.split()[0] for command in install_commands(project, environment)] == ["helm", "kubectl", "kubectl"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("install: [{chart: a}]\nreleases: [{chart: a}]\n", "install and releases together"),
        ("install: [{manifests: a, version: 1.0.0}]\n", "'chart' is a dependency of 'version'"),
        ("install: [{manifests: a, chart: b}]\n", "install.0"),
        ("install: [{crds: web.yaml}]\n", "holds no CustomResourceDefinition"),
    ],
)
def test_a_list_that_leaves_something_open_is_refused(keys: str, said: str, small_project: MakeProject) -> None:
    text = f"description: ours\nsuite: false\n{keys}"
    project = small_project({"values/environments/ours.yaml": text, "web.yaml": DEPLOYMENT})
    with pytest.raises(UsageError, match=said):
        load_environment(project, "ours")


def test_nodes_are_the_suite_s_unless_node_pools_are_brought(
    drydock_project: Project, drydock_tool: Tool, tmp_path: Path
) -> None:
    helm = drydock_tool("helm4")
    web = write(tmp_path / "web", {"web.yaml": DEPLOYMENT})
    without = environment_around(drydock_project, helm, read_brought(drydock_project, manifests=[web]))
    charts = assemble_charts(drydock_project)
    pools = {each.name for each in render(helm, charts, without).of_kind("NodePool")}
    assert pools == {"system-cpu", "general-cpu", "gpu", "neuron"}
    own = "apiVersion: karpenter.sh/v1\nkind: NodePool\nmetadata: {name: theirs}\n"
    with_own = environment_around(
        drydock_project, helm, read_brought(drydock_project, manifests=[write(tmp_path / "own", {"pool.yaml": own})])
    )
    assert [each.name for each in render(helm, charts, with_own).of_kind("NodePool")] == ["theirs"]


def test_what_a_cluster_would_take_does_not_end_a_rehearsal_before_it_begins(
    drydock_project: Project, drydock_tool: Tool, tmp_path: Path
) -> None:
    equipment = set_up(drydock_project, "validate", SilentProgress())
    manifests = write(tmp_path / "a", {"engine.yaml": ENGINE})
    brought = read_brought(drydock_project, manifests=[manifests])
    environment = environment_around(drydock_project, equipment.tools["helm4"], brought)
    refuse_errors(drydock_project, equipment, environment, SilentProgress(), message="refused", remedy="Correct it.")
