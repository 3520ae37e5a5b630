"""What Argo CD would apply is what the umbrella installs."""

import copy
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.checks.schema_conformance import nonconforming
from drydock.clusters.crds import crd_owners
from drydock.deploy.argo_cd import Repository, applications, resolve, root_application, sources, waves
from drydock.errors import RenderError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.suite.charts import AssembledCharts, assemble_charts
from drydock.suite.environments import environment_names, load_environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import render_chart
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools.crd_files import ensure_crds
from drydock.tools.pins import Toolchain
from drydock.tools.process import run
from drydock.tools.schemas import ensure_schemas
from tests.conftest import ROOT, Drydock

REPOSITORY = Repository("https://git.example.com/platform.git", "v1.2.0")
ENVIRONMENTS = environment_names(Project(ROOT, ROOT))
NAMESPACED_BY_NATURE = ("Role", "RoleBinding")


@pytest.fixture(scope="module")
def charts(drydock_project: Project) -> AssembledCharts:
    return assemble_charts(drydock_project)


@pytest.fixture
def brought(
    drydock_project: Project, charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> Callable[..., tuple[Manifest, ...]]:
    def of(name: str, repository: Repository = REPOSITORY) -> tuple[Manifest, ...]:
        return applications(drydock_tool("helm4"), charts, load_environment(drydock_project, name), repository)

    return of


Brought = Callable[..., tuple[Manifest, ...]]


def by_identity(manifests: tuple[Manifest, ...]) -> Mapping[tuple[str, str], Any]:
    return {(each.api_version, each.identity): each.content for each in manifests}


@pytest.mark.parametrize("folder", ["", "platform"])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_applications_apply_what_the_umbrella_installs(
    drydock_project: Project,
    charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    brought: Brought,
    render_environment: RenderEnvironment,
    name: str,
    folder: str,
) -> None:
    found = brought(name, Repository(REPOSITORY.url, REPOSITORY.revision, folder))
    resolved = {
        each.name: resolve(drydock_project, drydock_tool("helm4"), charts, each)
        for each in found
        if each.kind == "Application"
    }
    everything = tuple(itertools.chain.from_iterable(resolved.values()))
    installed = by_identity(render_environment(name).manifests)
    assert by_identity(everything) == installed
    assert len(everything) == len(installed), "two Applications own the same object"
    for application, manifests in resolved.items():
        assert {each.chart for each in manifests} <= {application.removeprefix(f"{name}-")}


def test_every_key_of_an_environment_may_stand_in_the_values_of_the_chart() -> None:
    environment = yaml.safe_load((ROOT / "scripts/drydock/data/environment.schema.yaml").read_text())
    chart = json.loads((ROOT / "charts/app-of-apps/values.schema.json").read_text())
    assert set(environment["properties"]) <= set(chart["properties"])


def test_there_is_an_application_for_each_chart_of_the_umbrella(charts: AssembledCharts) -> None:
    metadata = yaml.safe_load((charts.umbrella / "Chart.yaml").read_text())
    values = yaml.safe_load((charts.chart("app-of-apps") / "values.yaml").read_text())
    dependencies = {each["name"] for each in metadata["dependencies"]} - {"common", "crds"}
    assert set(values["argoCd"]["applications"]) == dependencies


def test_crds_come_from_the_tags_that_the_suite_is_tested_with(
    drydock_project: Project, charts: AssembledCharts
) -> None:
    values = yaml.safe_load((charts.chart("app-of-apps") / "values.yaml").read_text())["argoCd"]["crds"]
    pinned = Toolchain.load(drydock_project).crds
    assert set(values) == set(pinned) - {"argo-cd"}, "Argo CD brings its own"
    for owner, crds in values.items():
        assert crds["revision"] == pinned[owner].version
        assert pinned[owner].path.removesuffix("/bases" if "patches" in crds else "") in crds["path"]
        assert crds["repository"].partition("://")[2] in (pinned[owner].go_module, _repository(pinned[owner].go_module))


def test_argo_cd_patches_crds_as_set_up_does(drydock_project: Project, brought: Brought) -> None:
    folder = ensure_crds(drydock_project, SilentProgress())["kuberay"]
    (application,) = (each.content["spec"]["source"] for each in brought("prod") if each.name == "prod-crds-kuberay")
    assert "directory" not in application
    for patch in application["kustomize"]["patches"]:
        ours = json.loads((folder / f"{patch['target']['name']}.yaml").read_text())
        upstream = copy.deepcopy(ours)
        for version in upstream["spec"]["versions"]:
            groups = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["workerGroupSpecs"]
            assert (groups.pop("x-kubernetes-list-type"), groups.pop("x-kubernetes-list-map-keys")) == (
                "map",
                ["groupName"],
            )
        for change in yaml.safe_load(patch["patch"]):
            *steps, last = change["path"].split("/")[1:]
            place = upstream
            for step in steps:
                place = place[int(step) if isinstance(place, list) else step]
            place[last] = change["value"]
        assert upstream == ours


def _repository(go_module: str) -> str:
    """Where a Go module is developed, for a path with a version or a folder in it, or with a name of its own."""
    if go_module == "sigs.k8s.io/lws":
        return "github.com/kubernetes-sigs/lws"
    return "/".join(go_module.split("/")[:3])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_custom_resource_has_the_crds_of_its_owner(
    drydock_project: Project, brought: Brought, render_environment: RenderEnvironment, name: str
) -> None:
    owners = crd_owners(drydock_project)
    needed = {
        owners[each.api_version.partition("/")[0], each.kind]
        for each in render_environment(name).manifests
        if (each.api_version.partition("/")[0], each.kind) in owners
    }
    installed = {each.name.removeprefix(f"{name}-crds-") for each in brought(name) if "-crds-" in each.name}
    assert needed - ({"karpenter"} if name == "auto-mode" else set()) <= installed, "EKS brings them in Auto Mode"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_argo_cd_takes_every_object_and_the_project_allows_what_is_installed(
    drydock_project: Project,
    drydock_tool: Callable[[str], Path],
    brought: Brought,
    render_environment: RenderEnvironment,
    name: str,
) -> None:
    found = brought(name)
    schemas = ensure_schemas(drydock_project, SilentProgress())
    assert not nonconforming(drydock_tool("kubeconform"), schemas, [each.text for each in found])
    (project,) = [each.content["spec"] for each in found if each.kind == "AppProject"]
    allowed = {(each["group"], each["kind"]) for each in project["clusterResourceWhitelist"]}
    namespaces = {each["namespace"] for each in project["destinations"]}
    assert "*" not in str(project)
    for each in render_environment(name).manifests:
        group = each.api_version.rpartition("/")[0]
        assert (group, each.kind) in allowed or (each.namespace or "genai") in namespaces, each.identity
        if each.namespace:
            assert each.namespace in namespaces, each.identity
    repositories = {source["repoURL"] for each in found if each.kind == "Application" for source in _of(each)}
    assert repositories == set(project["sourceRepos"])


def _of(application: Manifest) -> Any:
    return sources(application.content["spec"])


def test_crds_come_before_controllers_before_pools_before_models(brought: Brought) -> None:
    order = [manifest.name for _, manifest in waves(brought("prod"))]
    places = [
        order.index(each)
        for each in (
            "prod",
            "prod-crds-karpenter",
            "prod-nvidia-device-plugin",
            "prod-karpenter-nodepools",
            "prod-vllm",
        )
    ]
    assert places == sorted(places)


def test_crds_are_never_pruned_and_everything_is_applied_server_side(brought: Brought) -> None:
    for each in brought("prod"):
        if each.kind == "Application":
            policy = each.content["spec"]["syncPolicy"]
            assert "ServerSideApply=true" in policy["syncOptions"]
            if "-crds-" in each.name:
                assert "Prune=false" in policy["syncOptions"]
                assert policy["automated"]["prune"] is False
                assert "finalizers" not in each.content["metadata"]
            else:
                assert policy["automated"] == {"enabled": True, "prune": True, "selfHeal": True, "allowEmpty": False}


def test_git_decides_on_what_no_autoscaler_does(
    brought: Brought,
    drydock_project: Project,
    charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """The replicas of a model are Git's. Argo CD cannot leave part of a custom resource's list alone in a sync."""
    specs = {each.name: each.content["spec"] for each in brought("prod") if each.kind == "Application"}
    rules = [(name, rule) for name, spec in specs.items() for rule in spec.get("ignoreDifferences", ())]
    ray = {("prod-kuberay", "ray.io", kind) for kind in ("RayCluster", "RayService")}
    assert {(name, rule["group"], rule["kind"]) for name, rule in rules} == ray
    respect = "RespectIgnoreDifferences=true"
    assert not [name for name, spec in specs.items() if respect in spec["syncPolicy"]["syncOptions"]]
    environment = load_environment(drydock_project, "prod")
    content = yaml.safe_load(environment.file.read_text())
    content["argoCd"]["applications"] = {"vllm": {"respectIgnoreDifferences": True}}
    (tmp_path / "prod.yaml").write_text(yaml.safe_dump(content))
    own = replace(environment, file=tmp_path / "prod.yaml")
    left = applications(drydock_tool("helm4"), charts, own, REPOSITORY)
    respecting = [
        each.name
        for each in left
        if each.kind == "Application" and respect in each.content["spec"]["syncPolicy"]["syncOptions"]
    ]
    assert respecting == ["prod-vllm"]


def test_a_production_cluster_heals_itself_and_a_development_one_lets_people_try_things(brought: Brought) -> None:
    def automated(name: str) -> Any:
        return next(each for each in brought(name) if each.name == f"{name}-vllm").content["spec"]["syncPolicy"]

    assert automated("prod")["automated"]["selfHeal"] is True
    assert automated("dev")["automated"]["selfHeal"] is False


def test_the_root_application_brings_the_same_applications(
    drydock_project: Project, charts: AssembledCharts, drydock_tool: Callable[[str], Path], brought: Brought
) -> None:
    """Its path, values file and parameters, resolved as Argo CD does."""
    root = root_application(load_environment(drydock_project, "prod"), REPOSITORY)
    source = root["spec"]["source"]
    folder = drydock_project.root / source["path"]
    assert folder.is_dir()
    (file,) = source["helm"]["valueFiles"]
    settings = [f"{each['name']}={each['value']}" for each in source["helm"]["parameters"]]
    command = [str(drydock_tool("helm4")), "template", "prod", str(charts.chart(folder.name))]
    command += ["-f", str((folder / file).resolve()), *(part for each in settings for part in ("--set-string", each))]
    rendered = list(yaml.load_all(run(command).stdout, yaml.CSafeLoader))
    wanted = sorted((each.content for each in brought("prod")), key=str)
    assert sorted((each for each in rendered if each), key=str) == wanted


@pytest.mark.parametrize("example", sorted((ROOT / "charts" / "app-of-apps" / "examples").glob("*.yaml")), ids=str)
def test_an_upstream_chart_takes_the_place_of_our_controller(
    drydock_project: Project,
    charts: AssembledCharts,
    drydock_tool: Callable[[str], Path],
    tmp_path: Path,
    example: Path,
) -> None:
    """The worked examples: the upstream chart comes a wave earlier, and ours gives up its Deployments and RBAC."""
    environment = load_environment(drydock_project, "prod")
    helm = drydock_tool("helm4")
    merged = tmp_path / example.name
    content = yaml.safe_load(environment.file.read_text())
    (chart, application), *none = yaml.safe_load(example.read_text())["argoCd"]["applications"].items()
    assert not none
    content["argoCd"].setdefault("applications", {})[chart] = application
    merged.write_text(yaml.safe_dump(content))
    settings = [part for pair in REPOSITORY.parameters("prod").items() for part in ("--set-string", "=".join(pair))]
    command = [str(helm), "template", "prod", str(charts.chart("app-of-apps")), "-f", str(merged), *settings]
    found = {each["metadata"]["name"]: each for each in yaml.load_all(run(command).stdout, yaml.CSafeLoader) if each}
    upstream, ours = found[f"prod-{chart}-upstream"], found[f"prod-{chart}"]
    assert upstream["spec"]["source"]["chart"] == application["upstream"]["chart"]
    assert upstream["spec"]["source"]["repoURL"] in found["prod"]["spec"]["sourceRepos"]
    assert upstream["spec"]["destination"]["namespace"] in {
        each["namespace"] for each in found["prod"]["spec"]["destinations"]
    }
    restricted = ours["spec"]["syncPolicy"]["managedNamespaceMetadata"]["labels"]
    assert restricted == {"pod-security.kubernetes.io/enforce": "restricted"}
    elsewhere = upstream["spec"]["destination"]["namespace"] != environment.namespace
    assert ("managedNamespaceMetadata" in upstream["spec"]["syncPolicy"]) is not elsewhere, "kube-system is not ours"
    wave = "argocd.argoproj.io/sync-wave"
    assert int(upstream["metadata"]["annotations"][wave]) < int(ours["metadata"]["annotations"][wave])
    left = resolve(drydock_project, helm, charts, Manifest("", ours, yaml.safe_dump(ours)))
    controller = {each.kind for each in left} & {"Deployment", "DaemonSet", "ClusterRole", "ClusterRoleBinding"}
    assert not controller


def test_upstream_charts_bring_the_versions_that_the_suite_is_tested_with(drydock_project: Project) -> None:
    def upstream(chart: str) -> Any:
        example = yaml.safe_load((ROOT / "charts" / "app-of-apps" / "examples" / f"{chart}.yaml").read_text())
        return example["argoCd"]["applications"][chart]["upstream"]

    pinned = Toolchain.load(drydock_project)
    assert upstream("karpenter-nodepools")["version"] == pinned.tools["karpenter"].version
    assert upstream("argo")["values"]["images"]["tag"] == pinned.crds["argo"].version


def test_an_upstream_plugin_shares_gpus_as_ours_does(
    charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    example = yaml.safe_load((ROOT / "charts" / "app-of-apps" / "examples" / "nvidia-device-plugin.yaml").read_text())
    upstream = example["argoCd"]["applications"]["nvidia-device-plugin"]["upstream"]["values"]["config"]
    (ours,) = (
        each.content["data"]
        for each in render_chart(drydock_tool("helm4"), charts.chart("nvidia-device-plugin"))
        if each.kind == "ConfigMap"
    )
    assert {name: yaml.safe_load(text) for name, text in upstream["map"].items()} == {
        name: yaml.safe_load(text) for name, text in ours.items()
    }
    assert upstream["default"] in ours


def test_the_page_tells_the_waves(charts: AssembledCharts) -> None:
    values = yaml.safe_load((charts.chart("app-of-apps") / "values.yaml").read_text())
    told = {
        int(row.split("|")[1])
        for row in (charts.chart("app-of-apps") / "README.md").read_text().splitlines()
        if re.match(r"\| -?\d+ \|", row)
    }
    assert told == {-100, -50, *(each["wave"] for each in values["argoCd"]["applications"].values())}


def test_a_values_file_that_is_not_in_the_repository_is_told(
    drydock_project: Project, charts: AssembledCharts, drydock_tool: Callable[[str], Path], brought: Brought
) -> None:
    (application,) = [each for each in brought("dev") if each.name == "dev-vllm"]
    content = yaml.safe_load(application.text)
    content["spec"]["sources"][0]["helm"]["valueFiles"][0] = "$values/values/nothing.yaml"
    with pytest.raises(RenderError, match=r"Application/argocd/dev-vllm: valueFiles: \$values/values/nothing.yaml"):
        resolve(drydock_project, drydock_tool("helm4"), charts, Manifest("", content, yaml.safe_dump(content)))


@pytest.mark.parametrize("missing", ["argoCd.environment", "argoCd.repository.url", "stack"])
def test_what_is_missing_is_told_by_its_key(
    charts: AssembledCharts, drydock_tool: Callable[[str], Path], missing: str
) -> None:
    settings = {"argoCd.environment": "prod", "argoCd.repository.url": REPOSITORY.url, "stack[0]": "a.yaml"}
    kept = {key: value for key, value in settings.items() if not key.startswith(missing)}
    command = [str(drydock_tool("helm4")), "template", "prod", str(charts.chart("app-of-apps"))]
    failed = run([*command, *(part for pair in kept.items() for part in ("--set", "=".join(pair)))], check=False)
    assert failed.returncode != 0
    assert f"{missing} is empty" in failed.stderr


def test_the_verb_prints_the_root_application_and_lists_what_it_brings(drydock: Drydock) -> None:
    arguments = ("bootstrap-argocd", "prod", "--repository", REPOSITORY.url)
    done = drydock(*arguments, "--revision", "v1.2.0")
    assert done.returncode == 0, done.stderr
    root = yaml.safe_load(done.stdout)
    assert root["spec"]["source"]["targetRevision"] == "v1.2.0"
    assert "resource.customizations.health.argoproj.io_Application" in done.stdout
    listed = drydock(*arguments, "--list")
    assert "prod-vllm" in listed.stdout
    without = drydock("bootstrap-argocd", "prod", env={"GIT_DIR": "/nonexistent"})
    assert (without.returncode, "no remote `origin`" in without.stderr) == (2, True)
    here = drydock("bootstrap-argocd", "prod", "--repository", str(ROOT))
    assert (here.returncode, "Argo CD cannot reach" in here.stderr) == (2, True)
    elsewhere = drydock("bootstrap-argocd", "nowhere", "--repository", REPOSITORY.url)
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")


def test_what_may_wait_for_capacity_keeps_nothing_else_waiting(brought: Brought) -> None:
    numbers = {each.name: number for number, each in waves(brought("prod"))}
    assert max(numbers, key=lambda name: numbers[name]) == "prod-vllm"
    assert list(numbers.values()).count(numbers["prod-vllm"]) == 1


def test_auto_mode_keeps_the_crds_that_eks_brings(brought: Brought) -> None:
    assert "auto-mode-crds-karpenter" not in [each.name for each in brought("auto-mode")]
    assert "dev-crds-karpenter" in [each.name for each in brought("dev")]
