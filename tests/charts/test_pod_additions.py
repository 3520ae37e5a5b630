"""The key `pod`: what values add to the pods of a workload, the same keys for every workload of every chart."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import Project
from drydock.suite.charts import chart_names
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.documented_values import KeyPath, merged, put
from tests.charts.objects import by_name

IMAGE = {"registry": "docker.io", "repository": "library/busybox", "tag": "1.37.0"}
ADDITIONS: dict[str, Any] = {
    "labels": {"team": "search"},
    "annotations": {"team.example/owner": "search"},
    "nodeSelector": {"team.example/pool": "search"},
    "tolerations": {"search": {"key": "search", "operator": "Exists"}},
    "priorityClassName": "search-class",
    "runtimeClassName": "search-runtime",
    "hostAliases": {"10.0.0.7": ["registry.example.com"]},
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.53"], "searches": ["example.com"], "options": {"ndots": "2", "use-vc": ""}},
    "securityContext": {"supplementalGroups": [4000], "fsGroupChangePolicy": "Always"},
    "containerSecurityContext": {"runAsGroup": 4001},
    "env": {"TEAM": "search", "TEAM_TOKEN": {"secret": "team", "key": "token"}},
    "envFrom": {"team": {"configMap": "team", "prefix": "TEAM_", "optional": True}, "zone": {"secret": "zone"}},
    "volumes": {"datasets": {"persistentVolumeClaim": {"claimName": "datasets", "readOnly": True}}},
    "volumeMounts": {"/datasets": {"name": "datasets", "readOnly": True}},
    "lifecycle": {"postStart": {"sleep": {"seconds": 1}}},
    "initContainers": {
        "fetch": {
            "image": IMAGE,
            "command": ["fetch"],
            "args": ["--all"],
            "workingDir": "/datasets",
            "env": {"PART": 1},
            "envFrom": {"team": {"configMap": "team"}},
            "volumeMounts": {"/datasets": {"name": "datasets", "subPath": "a", "mountPropagation": "None"}},
            "resources": {"requests": {"cpu": "1", "memory": "64Mi"}},
            "securityContext": {"runAsUser": 1234, "readOnlyRootFilesystem": False},
        }
    },
    "sidecars": {
        "agent": {
            "image": IMAGE,
            "ports": [{"containerPort": 9000}],
            "volumeMounts": {"/mine": {"name": "datasets", "subPathExpr": "$(TEAM)"}},
            "startupProbe": {"tcpSocket": {"port": 9000}},
            "livenessProbe": {"tcpSocket": {"port": 9000}},
            "readinessProbe": {"tcpSocket": {"port": 9000}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        }
    },
}
SOURCE = {"size": "15Gi", "huggingFace": {"id": "org/small"}}
#: Values with which a chart renders every workload that it has.
EVERYTHING: dict[str, dict[str, Any]] = {
    "argo": {
        "global": {"region": "us-west-2"},
        "artifactRepository": {"bucket": "artifacts"},
        "pipelineDefaults": {
            "data": "s3://data/base",
            "baseModel": "org/base",
            "models": "s3://models/base",
            "deployment": {"model": "base"},
        },
        "pipelines": {"base": {}},
    },
    "container-insights": {"global": {"clusterName": "dev", "region": "us-west-2"}},
    "efa-device-plugin": {},
    "jupyterhub": {"prePuller": {"continuous": {"enabled": True}}},
    "kuberay": {
        "rayClusters": {"research": {"workers": {"gpu": {}}}},
        "rayServices": {"pictures": {"stableDiffusion": {"enabled": True}, "cluster": {"workers": {"gpu": {}}}}},
    },
    "loadtest": {},
    "model-gateway": {},
    "neuron-device-plugin": {
        "global": {"neuronScheduler": "neuron-scheduler"},
        "nodeProblemDetector": {"enabled": True},
    },
    "nvidia-device-plugin": {
        "global": {"mpsSharing": {"mps": True}},
        "configs": {"mps": {"sharing": {"strategy": "mps", "replicas": 2}}},
        "gpuFeatureDiscovery": {"enabled": True},
    },
    "tenancy": {"headroom": {"spare": {}}},
    "vllm": {
        "modelDefaults": {"any": {"source": SOURCE}},
        "models": {
            "small": {},
            "large": {"multiNode": {"enabled": True}},
            "prefill": {"engine": {"servedModelName": "split"}},
            "decode": {"engine": {"servedModelName": "split"}},
        },
        "routers": {"split": {"prefill": "prefill", "decode": "decode"}},
    },
}


def _keys(project: Project, chart: str) -> list[KeyPath]:
    """Paths of a chart's values that take what is added to pods; those of entries take the same as their defaults."""
    return list(_pod_keys(json.loads((project.charts_dir / chart / "values.schema.json").read_text())))


def _pod_keys(schema: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    for key, inner in schema.get("properties", {}).items():
        if inner.get("$ref") == "#/$defs/pod":
            yield (*path, key)
        yield from _pod_keys(inner, (*path, key))


def _pods(tree: Any) -> Iterator[dict[str, Any]]:
    """Pod templates anywhere in an object; a template of Argo, whose fields stand beside its container, is made one."""
    if isinstance(tree, Mapping):
        if isinstance(tree.get("spec"), Mapping) and "containers" in tree["spec"]:
            yield dict(tree)
        elif "container" in tree and "name" in tree:
            yield {"metadata": tree.get("metadata", {}), "spec": {**tree, "containers": [tree["container"]]}}
        for value in tree.values():
            yield from _pods(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _pods(value)


def _pods_of(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pod templates of all objects, those in the hub's profiles among them, each with its object's name."""
    for manifest in manifests:
        content = manifest.content
        if manifest.kind == "ConfigMap" and "profiles.yaml" in content.get("data", {}):
            content = yaml.safe_load(content["data"]["profiles.yaml"])
        patch = json.loads(content["spec"]["podSpecPatch"]) if manifest.kind == "WorkflowTemplate" else {}
        for pod in _pods(content):
            pod["spec"] = {**pod["spec"], **patch}
            yield f"{manifest.kind} {manifest.name}", pod


def _lacks(pod: Mapping[str, Any]) -> Iterator[str]:
    """What a pod template does not have of ADDITIONS."""
    metadata, spec = pod["metadata"], pod["spec"]
    main = spec["containers"][0]
    for name in ("labels", "annotations"):
        if not metadata.get(name, {}).items() >= ADDITIONS[name].items():
            yield name
    for name in ("nodeSelector", "securityContext"):
        if not spec.get(name, {}).items() >= ADDITIONS[name].items():
            yield name
    for name in ("priorityClassName", "runtimeClassName", "dnsPolicy"):
        if spec.get(name) != ADDITIONS[name]:
            yield name
    wanted_config = {
        "nameservers": ["10.0.0.53"],
        "searches": ["example.com"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}],
    }
    if spec.get("dnsConfig") != wanted_config:
        yield "dnsConfig"
    if spec.get("hostAliases", [])[-1:] != [{"ip": "10.0.0.7", "hostnames": ["registry.example.com"]}]:
        yield "hostAliases"
    if spec.get("tolerations", [])[-1:] != [{"key": "search", "operator": "Exists"}]:
        yield "tolerations"
    if spec.get("volumes", [])[-1:] != [{"name": "datasets", **ADDITIONS["volumes"]["datasets"]}]:
        yield "volumes"
    yield from _container_lacks(main)
    yield from _new_containers_lack(spec.get("initContainers", []))


def _container_lacks(main: Mapping[str, Any]) -> Iterator[str]:
    token = {"name": "TEAM_TOKEN", "valueFrom": {"secretKeyRef": {"name": "team", "key": "token"}}}
    if main.get("env", [])[-2:] != [{"name": "TEAM", "value": "search"}, token]:
        yield "env"
    sources = [
        {"prefix": "TEAM_", "configMapRef": {"name": "team", "optional": True}},
        {"secretRef": {"name": "zone", "optional": False}},
    ]
    if main.get("envFrom") != sources:
        yield "envFrom"
    if main.get("volumeMounts", [])[-1:] != [{"name": "datasets", "mountPath": "/datasets", "readOnly": True}]:
        yield "volumeMounts"
    if main.get("lifecycle", {}).get("postStart") != ADDITIONS["lifecycle"]["postStart"]:
        yield "lifecycle"
    if main["securityContext"].get("runAsGroup") != 4001:
        yield "containerSecurityContext"


def _new_containers_lack(containers: list[dict[str, Any]]) -> Iterator[str]:
    by_name = {container["name"]: container for container in containers}
    if {"fetch", "agent"} - set(by_name):
        yield "containers"
        return
    if (containers[0], containers[-1]) != (by_name["agent"], by_name["fetch"]):
        yield "order"
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    common = {"image": "docker.io/library/busybox:1.37.0", "imagePullPolicy": "IfNotPresent"}
    wanted = {
        "fetch": {
            **common,
            "name": "fetch",
            "command": ["fetch"],
            "args": ["--all"],
            "workingDir": "/datasets",
            "env": [{"name": "PART", "value": "1"}],
            "envFrom": [{"configMapRef": {"name": "team", "optional": False}}],
            "volumeMounts": [
                {"name": "datasets", "mountPath": "/datasets", "subPath": "a", "mountPropagation": "None"}
            ],
            "resources": ADDITIONS["initContainers"]["fetch"]["resources"],
            "securityContext": {**restricted, "runAsUser": 1234, "readOnlyRootFilesystem": False},
        },
        "agent": {
            **{key: ADDITIONS["sidecars"]["agent"][key] for key in ("ports", "startupProbe", "livenessProbe")},
            **{key: ADDITIONS["sidecars"]["agent"][key] for key in ("readinessProbe", "lifecycle")},
            **common,
            "name": "agent",
            "restartPolicy": "Always",
            "volumeMounts": [{"name": "datasets", "mountPath": "/mine", "subPathExpr": "$(TEAM)"}],
            "securityContext": {
                **restricted,
                "readOnlyRootFilesystem": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }
    for name, container in wanted.items():
        if by_name[name] != container:
            yield name


@pytest.mark.parametrize("chart", EVERYTHING)
def test_each_workload_takes_every_addition(drydock_project: Project, render_chart: RenderChart, chart: str) -> None:
    keys = _keys(drydock_project, chart)
    values = EVERYTHING[chart]
    for number, path in enumerate(keys):
        additions = merged(ADDITIONS, {"labels": {"key": str(number)}})
        values = put(values, path, merged(additions, {}))
    pods = list(_pods_of(render_chart(chart, values)))
    missing = {name: lacking for name, pod in pods if (lacking := list(_lacks(pod)))}
    assert not missing
    assert {pod["metadata"]["labels"]["key"] for _, pod in pods} == {str(number) for number in range(len(keys))}


def test_every_chart_with_pods_takes_additions(drydock_project: Project) -> None:
    with_pods = {
        chart
        for chart in chart_names(drydock_project)
        if any(
            "containers:" in template.read_text()
            for template in (drydock_project.charts_dir / chart / "templates").rglob("*")
            if template.is_file()
        )
    }
    assert with_pods - {"common"} == set(EVERYTHING)
    for chart in with_pods & set(EVERYTHING):
        assert _keys(drydock_project, chart), chart


def test_nothing_added_changes_nothing(render_chart: RenderChart) -> None:
    empty: dict[str, Any] = {name: [] if isinstance(value, list) else {} for name, value in ADDITIONS.items()}
    empty.update(dict.fromkeys(("priorityClassName", "runtimeClassName"), ""))
    del empty["dnsPolicy"]
    plain, added = (render_chart("model-gateway", {"pod": pod}) for pod in ({}, empty))
    assert [each.text for each in plain] == [each.text for each in added]


def test_what_a_chart_sets_is_changed_or_taken_away(render_chart: RenderChart) -> None:
    pod = {
        "annotations": {"prometheus.io/port": "9091", "prometheus.io/path": None},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
    }
    template = by_name(render_chart("model-gateway", {"pod": pod}), "Deployment")["genai-model-gateway"]["spec"][
        "template"
    ]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9091"
    assert "prometheus.io/path" not in template["metadata"]["annotations"]
    assert template["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64"}


def test_images_of_further_containers_come_from_the_one_registry(render_chart: RenderChart) -> None:
    values = {"global": {"imageRegistry": "own.example"}, "pod": {"sidecars": {"agent": {"image": IMAGE}}}}
    pod = by_name(render_chart("model-gateway", values), "Deployment")["genai-model-gateway"]["spec"]["template"][
        "spec"
    ]
    assert pod["initContainers"][0]["image"] == "own.example/library/busybox:1.37.0"


def test_pods_of_the_node_may_mount_its_folders(render_chart: RenderChart) -> None:
    pod = {"volumes": {"dmesg": {"hostPath": {"path": "/dev/kmsg"}}}, "volumeMounts": {"/kmsg": {"name": "dmesg"}}}
    daemon = by_name(render_chart("efa-device-plugin", {"pod": pod}), "DaemonSet")["genai-efa-device-plugin"]
    assert daemon["spec"]["template"]["spec"]["volumes"][-1]["hostPath"] == {"path": "/dev/kmsg"}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a label of the chart": ({"labels": {"app.kubernetes.io/component": "x"}}, r"pod\.labels\.app\.kubernetes\.io"),
    "a label of the suite": ({"labels": {"drydock.dev/tenant": "x"}}, r"pod\.labels\.drydock\.dev/tenant"),
    "a checksum": ({"annotations": {"checksum/code": "x"}}, r"pod\.annotations\.checksum/code: .*leave it out"),
    "a variable of the chart": ({"env": {"LITELLM_MASTER_KEY": "x"}}, r"pod\.env\.LITELLM_MASTER_KEY: the chart sets"),
    "a credential": ({"env": {"API_TOKEN": "x"}}, r"pod\.env\.API_TOKEN: a credential in values"),
    "two sources of variables": (
        {"envFrom": {"team": {"configMap": "a", "secret": "b"}}},
        r"pod\.envFrom\.team: set exactly one of configMap and secret",
    ),
    "a volume of the chart": ({"volumes": {"tmp": {"emptyDir": {}}}}, r"pod\.volumes\.tmp: the pod has a volume"),
    "a volume of two sources": (
        {"volumes": {"a": {"emptyDir": {}, "secret": {"secretName": "x"}}}},
        r"pod\.volumes\.a: it has 2 sources",
    ),
    "a folder of the node": (
        {"volumes": {"a": {"hostPath": {"path": "/"}}}},
        r"pod\.volumes\.a\.hostPath: the restricted Pod Security Standard",
    ),
    "a mount of the chart": ({"volumeMounts": {"/tmp": {"name": "tmp"}}}, r"pod\.volumeMounts\./tmp: the chart mounts"),
    "a mount of nothing": (
        {"volumeMounts": {"/a": {"name": "b"}}},
        r"pod\.volumeMounts\./a\.name: the pod has no volume b",
    ),
    "a container of the chart": ({"sidecars": {"litellm": {"image": IMAGE}}}, r"pod\.sidecars\.litellm: the pod has"),
    "one name twice": (
        {"sidecars": {"a": {"image": IMAGE}}, "initContainers": {"a": {"image": IMAGE}}},
        r"pod\.initContainers\.a: the pod has a container of that name",
    ),
    "an image that moves": (
        {"sidecars": {"a": {"image": {"repository": "x", "tag": "latest"}}}},
        r"x:latest can change under a running release",
    ),
    "a mount in a new container": (
        {"sidecars": {"a": {"image": IMAGE, "volumeMounts": {"/a": {"name": "b"}}}}},
        r"pod\.sidecars\.a\.volumeMounts\./a\.name: the pod has no volume b",
    ),
    "the wait for routers": (
        {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
        r"pod\.lifecycle\.preStop: .*shutdown\.preStopSeconds",
    ),
    "root": ({"containerSecurityContext": {"runAsUser": 0}}, r"runAsUser"),
    "privileges": ({"containerSecurityContext": {"privileged": True}}, r"privileged"),
    "an unknown key": ({"extraVolumes": []}, r"extraVolumes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_the_charts_own_or_beyond_the_namespace_is_refused(render_chart: RenderChart, what: str) -> None:
    pod, reason = REFUSED[what]
    with pytest.raises(RenderError, match=reason):
        render_chart("model-gateway", {"pod": pod})


def test_what_other_programs_would_refuse_is_refused_first(render_chart: RenderChart) -> None:
    projected: dict[str, Any] = {"volumes": {"token": {"projected": {"sources": []}}}}
    with pytest.raises(RenderError, match=r"singleuser\.profiles\.cpu\.pod\.volumes\.token\.projected"):
        render_chart("jupyterhub", {"singleuser": {"pod": projected}})
    pipeline = merged(EVERYTHING["argo"], {"pipelineDefaults": {"ray": {"enabled": True}}})
    with pytest.raises(RenderError, match=r"pipelines\.base\.pod\.sidecars: with ray\.enabled"):
        render_chart("argo", merged(pipeline, {"pipelineDefaults": {"pod": {"sidecars": {"a": {"image": IMAGE}}}}}))
    model = {"models": {"small": {"source": SOURCE, "pod": {"env": {"VLLM_SERVER_DEV_MODE": "1"}}}}}
    with pytest.raises(RenderError, match=r"models\.small\.pod\.env\.VLLM_SERVER_DEV_MODE"):
        render_chart("vllm", model)
    model = {"models": {"small": {"source": SOURCE, "pod": {"env": {"NEURON_COMPILE_CACHE_URL": "/x"}}}}}
    with pytest.raises(RenderError, match=r"models\.small\.pod\.env\.NEURON_COMPILE_CACHE_URL: the chart sets"):
        render_chart("vllm", model)


def test_pods_of_a_ray_job_take_what_their_account_may_start(render_chart: RenderChart) -> None:
    added = {"labels": {"team": "search"}, "env": {"TEAM_TOKEN": {"secret": "team", "key": "token"}}}
    pipeline = merged(EVERYTHING["argo"], {"pipelineDefaults": {"ray": {"enabled": True}, "pod": added}})
    manifests = render_chart("argo", pipeline)
    (template,) = by_name(manifests, "WorkflowTemplate").values()
    job = yaml.safe_load(
        next(each for each in template["spec"]["templates"] if "resource" in each)["resource"]["manifest"]
    )
    pods = list(_pods(job))
    assert len(pods) == 2
    assert all(pod["metadata"]["labels"]["team"] == "search" for pod in pods)
    policies = by_name(manifests, "ValidatingAdmissionPolicy")
    assert any('["team"]' in json.dumps(policy).replace('\\"', '"') for policy in policies.values())
