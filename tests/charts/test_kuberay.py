"""The KubeRay operator, Ray clusters and Ray services."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from drydock.errors import RenderError
from drydock.project import Project
from drydock.suite import render
from drydock.suite.charts import assemble_charts
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import POD_IDENTITY, by_name

CHART = "kuberay"
WORKERS = {"gpu": {"maxReplicas": 4, "accelerator": {"count": 2}}}
RESEARCH: Mapping[str, Any] = {"rayClusters": {"research": {"workers": WORKERS}}}
MODEL = {"source": {"s3": {"uri": "s3://models/llama"}}, "tensorParallelSize": 2, "maxModelLen": 8192}
CHAT: Mapping[str, Any] = {"rayServices": {"chat": {"cluster": {"workers": WORKERS}, "llm": {"llama": MODEL}}}}
OPERATOR = "genai-kuberay-operator"


def ray_cluster(render_chart: RenderChart, **settings: Any) -> Any:
    values = {"rayClusters": {"research": {"workers": WORKERS, **settings}}}
    return by_name(render_chart(CHART, values), "RayCluster")["genai-kuberay-research"]["spec"]


def serve_config(render_chart: RenderChart, values: Mapping[str, Any]) -> Any:
    (service,) = by_name(render_chart(CHART, values), "RayService").values()
    return yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]


def test_a_head_takes_no_work_and_workers_come_from_zero(render_chart: RenderChart) -> None:
    spec = ray_cluster(render_chart)
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    head = spec["headGroupSpec"]["template"]["spec"]
    assert "tolerations" not in head
    assert not any("/" in name for name in head["containers"][0]["resources"]["limits"])
    (group,) = spec["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 4)
    assert "replicas" not in group, "they are the autoscaler's"
    assert spec["enableInTreeAutoscaling"] is True
    worker = group["template"]["spec"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert worker["nodeSelector"]["karpenter.sh/nodepool"] == "gpu"
    assert worker["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_only_the_autoscaler_has_a_token_for_the_api(render_chart: RenderChart) -> None:
    """Jobs run in the head, beside the autoscaler: the token is not in their container, nor a file of theirs in its."""
    spec = ray_cluster(render_chart)
    head, worker = spec["headGroupSpec"]["template"]["spec"], spec["workerGroupSpecs"][0]["template"]["spec"]
    assert [pod["automountServiceAccountToken"] for pod in (head, worker)] == [False, False]
    (token,) = (volume["name"] for volume in head["volumes"] if "serviceAccountToken" in str(volume))
    assert "serviceAccountToken" not in str(worker["volumes"])
    mounted = {mount["name"]: mount["mountPath"] for mount in spec["autoscalerOptions"]["volumeMounts"]}
    assert mounted[token] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert not set(mounted) & {mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    assert len(head["containers"]) == 1
    without = ray_cluster(
        render_chart, autoscaling={"enabled": False}, workers={"gpu": {**WORKERS["gpu"], "minReplicas": 1}}
    )
    assert "serviceAccountToken" not in str(without)
    assert without["workerGroupSpecs"][0]["replicas"] == 1, "nothing else sets them"
    with pytest.raises(RenderError, match=r"workers\.gpu\.minReplicas is 0 and autoscaling is off"):
        ray_cluster(render_chart, autoscaling={"enabled": False})


def test_each_cluster_and_service_has_an_account_of_its_own(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {**RESEARCH, **CHAT, "serviceAccount": {"annotations": {"role": "ray"}}})
    accounts = by_name(manifests, "ServiceAccount")
    (service,) = by_name(manifests, "RayService").values()
    (cluster,) = by_name(manifests, "RayCluster").values()
    for name, spec in (("chat", service["spec"]["rayClusterConfig"]), ("research", cluster["spec"])):
        pods = [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]
        assert {pod["spec"]["serviceAccountName"] for pod in pods} == {f"genai-kuberay-{name}"}
        account = accounts[f"genai-kuberay-{name}"]
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["annotations"] == {"role": "ray"}


def test_an_operator_of_another_release_is_known_by_its_namespace(render_chart: RenderChart) -> None:
    """Labels alone anybody can set, in a namespace of their own."""
    for namespace, expected in (("", "genai"), ("operators", "operators")):
        values = {**RESEARCH, "operator": {"enabled": False, "namespace": namespace}}
        policy = by_name(render_chart(CHART, values), "NetworkPolicy")["genai-kuberay-research"]
        (operator,) = (
            rule["from"][0] for rule in policy["spec"]["ingress"] if rule.get("ports", [{}])[0].get("port") == 8265
        )
        assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": expected}}


def test_a_new_release_of_the_chart_is_no_other_cluster(render_chart: RenderChart) -> None:
    """KubeRay compares the cluster's spec, labels included, and a service would be started anew."""
    spec = ray_cluster(render_chart)
    for template in (spec["headGroupSpec"]["template"], spec["workerGroupSpecs"][0]["template"]):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(template["metadata"]["labels"])


def test_nothing_of_a_cluster_is_public(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {**RESEARCH, **CHAT})
    assert not {each.kind for each in manifests} & {"Service", "Ingress"}
    spec = ray_cluster(render_chart)
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["enableIngress"] is False
    assert spec["authOptions"] == {"mode": "token"}
    policies = by_name(manifests, "NetworkPolicy")
    for name in ("research", "chat"):
        own = policies[f"genai-kuberay-{name}"]["spec"]
        assert POD_IDENTITY in own["egress"]
        assert own["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == name
        peers = [peer for rule in own["ingress"] for peer in rule["from"]]
        assert {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in peers} == {
            name,
            "operator",
        }
    gateway = {"podSelector": {"matchLabels": {"team": "gateway"}}}
    opened = by_name(
        render_chart(CHART, {**CHAT, "clusterDefaults": {"networkPolicy": {"clients": {"gateway": gateway}}}}),
        "NetworkPolicy",
    )
    rules = opened["genai-kuberay-chat"]["spec"]["ingress"]
    assert {"ports": [{"port": 8000, "protocol": "TCP"}], "from": [gateway]} in rules


def test_a_head_is_brought_back_from_a_redis_that_is_only_referred_to(render_chart: RenderChart) -> None:
    redis = {"address": "rediss://redis.example.com:6380", "passwordSecret": {"name": "redis"}}
    spec = ray_cluster(render_chart, redis=redis)
    reference = {"secretKeyRef": {"name": "redis", "key": "password"}}
    assert spec["gcsFaultToleranceOptions"] == {
        "redisAddress": redis["address"],
        "redisPassword": {"valueFrom": reference},
    }
    manifests = render_chart(CHART, {"rayClusters": {"research": {"redis": redis}}})
    assert "Secret" not in {each.kind for each in manifests}
    egress = by_name(manifests, "NetworkPolicy")["genai-kuberay-research"]["spec"]["egress"]
    assert {"ports": [{"port": 6380, "protocol": "TCP"}]} in egress


def test_a_language_model_spans_the_gpus_of_a_worker(render_chart: RenderChart) -> None:
    (application,) = serve_config(render_chart, CHAT)
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    (model,) = application["args"]["llm_configs"]
    assert model["model_loading_config"] == {
        "model_id": "llama",
        "model_source": {"bucket_uri": "s3://models/llama"},
    }
    assert model["engine_kwargs"] == {"tensor_parallel_size": 2, "pipeline_parallel_size": 1, "max_model_len": 8192}
    assert model["deployment_config"]["autoscaling_config"]["min_replicas"] == 1
    both = {"source": {"huggingFace": {"id": "org/model"}, "s3": {"uri": "s3://models/llama"}}}
    with pytest.raises(RenderError, match=r"rayServices\.chat\.llm\.llama\.source: set one of"):
        render_chart(CHART, {"rayServices": {"chat": {"llm": {"llama": both}}}})


def test_a_service_must_serve_something_and_each_application_on_a_route_of_its_own(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"rayServices\.chat serves nothing"):
        render_chart(CHART, {"rayServices": {"chat": {}}})
    both = {"llm": {"llama": MODEL}, "stableDiffusion": {"enabled": True}}
    with pytest.raises(RenderError, match="applications llm and stable-diffusion are both at /"):
        render_chart(CHART, {"rayServices": {"chat": both}})
    own = {"llm": {"llama": MODEL}, "applications": {"own": {"import_path": "own:build", "route_prefix": "/own"}}}
    applications = serve_config(render_chart, {"rayServices": {"chat": own}})
    assert [each["name"] for each in applications] == ["llm", "own"]


def test_names_of_the_charts_own_objects_are_refused(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match="operator: objects of the chart have that name"):
        render_chart(CHART, {"rayClusters": {"operator": {"workers": {}, "graceSeconds": 1}}})
    with pytest.raises(RenderError, match=r"rayServices\.chat: a cluster of rayClusters has that name too"):
        render_chart(CHART, {"rayClusters": {"chat": {"graceSeconds": 1}}, **CHAT})


@pytest.mark.parametrize(
    ("chart", "values", "letters"),
    [
        ("kuberay", {"rayClusters": {"NAME": {"graceSeconds": 1}}}, 32),
        (
            "argo",
            {
                "global": {"region": "us-west-2"},
                "artifactRepository": {"bucket": "artifacts"},
                "pipelines": {
                    "NAME": {
                        "data": "s3://data/assistant",
                        "baseModel": "org/base",
                        "models": "s3://models/assistant",
                        "deployment": {"enabled": False},
                        "ray": {"enabled": True},
                    }
                },
            },
            30,
        ),
    ],
)
def test_names_that_the_operator_would_refuse(
    drydock_project: Project,
    drydock_tool: Callable[[str], Path],
    tmp_path: Path,
    chart: str,
    values: Mapping[str, Any],
    letters: int,
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values).replace("NAME", "a" * letters))
    folder = assemble_charts(drydock_project).chart(chart)
    assert render.render_chart(drydock_tool("helm4"), folder, values_files=[file], release="genai")
    with pytest.raises(RenderError, match="KubeRay takes names of 47 characters"):
        render.render_chart(drydock_tool("helm4"), folder, values_files=[file], release="generative")


def test_without_the_operator_its_clusters_stay_and_nothing_of_it_is_left(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {**RESEARCH, "operator": {"enabled": False}})
    assert {each.kind for each in manifests if not each.kind.startswith("ValidatingAdmissionPolicy")} == {
        "RayCluster",
        "NetworkPolicy",
        "ServiceAccount",
    }
    assert OPERATOR not in {each.name for each in manifests}


def test_the_operators_rights_end_at_its_namespace_and_name_every_resource(render_chart: RenderChart) -> None:
    own = render_chart(CHART)
    assert not {each.kind for each in own} & {"ClusterRole", "ClusterRoleBinding"}
    wide = by_name(render_chart(CHART, {"operator": {"clusterWide": True}}), "ClusterRole")[OPERATOR]["rules"]
    assert by_name(own, "Role")[OPERATOR]["rules"] == wide
    assert "*" not in str(wide)
    resources = {name for rule in wide for name in rule["resources"]}
    assert not resources & {"ingresses", "pods/exec", "nodes", "routes", "gateways"}
    (container,) = by_name(own, "Deployment")[OPERATOR]["spec"]["template"]["spec"]["containers"]
    assert "--watch-namespace=genai" in container["args"]


def test_it_looks_after_other_namespaces_with_a_role_in_each(render_chart: RenderChart) -> None:
    values = {"operator": {"watchNamespaces": {"team-a": True, "team-b": False}}}
    manifests = render_chart(CHART, values)
    (container,) = by_name(manifests, "Deployment")[OPERATOR]["spec"]["template"]["spec"]["containers"]
    assert "--watch-namespace=genai,team-a" in container["args"]
    for kind in ("Role", "RoleBinding"):
        found = [each.content for each in manifests if each.kind == kind and each.name == OPERATOR]
        assert [each["metadata"]["namespace"] for each in found] == ["genai", "team-a"]
    assert not {each.kind for each in manifests} & {"ClusterRole", "ClusterRoleBinding"}
    rules = by_name(manifests, "NetworkPolicy")[OPERATOR]["spec"]["egress"]
    (rule,) = (rule for rule in rules if rule.get("to") and rule["ports"][0]["port"] == 8265)
    (expression,) = rule["to"][0]["namespaceSelector"]["matchExpressions"]
    assert expression["values"] == ["genai", "team-a"]
    with pytest.raises(RenderError, match=r"operator\.watchNamespaces: with clusterWide"):
        render_chart(CHART, {"operator": {"watchNamespaces": {"team-a": True}, "clusterWide": True}})


def test_the_incremental_way_gets_the_feature_and_the_rights(render_chart: RenderChart) -> None:
    upgrade = {"type": "NewClusterWithIncrementalUpgrade", "gatewayClassName": "istio", "maxSurgePercent": 10}
    chat = {"cluster": {"workers": WORKERS}, "llm": {"llama": MODEL}, "upgrade": upgrade}
    manifests = render_chart(CHART, {"rayServices": {"chat": chat}})
    options = by_name(manifests, "RayService")["genai-kuberay-chat"]["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]
    assert options["maxSurgePercent"] == 10
    (container,) = by_name(manifests, "Deployment")[OPERATOR]["spec"]["template"]["spec"]["containers"]
    assert "--feature-gates=RayServiceIncrementalUpgrade=true" in container["args"]
    rules = by_name(manifests, "Role")[OPERATOR]["rules"]
    assert "gateways" in {name for rule in rules for name in rule["resources"]}
    fixed = {**chat, "cluster": {"autoscaling": {"enabled": False}, "workers": {"gpu": {"minReplicas": 1}}}}
    with pytest.raises(RenderError, match=r"the incremental way needs cluster\.autoscaling\.enabled"):
        render_chart(CHART, {"rayServices": {"chat": fixed}})


def test_a_drain_takes_one_of_the_least_workers_and_no_budget_blocks_the_last(render_chart: RenderChart) -> None:
    """Kubernetes cannot count the pods that a RayCluster should have: with maxUnavailable it would allow no drain."""

    def budgets(least: int) -> list[Any]:
        workers = {"gpu": {"minReplicas": least, "maxReplicas": 4}, "cpu": {"accelerator": {"kind": "none"}}}
        chat = {"cluster": {"workers": workers}, "llm": {"llama": MODEL}}
        manifests = render_chart(CHART, {"operator": {"replicas": 1}, "rayServices": {"chat": chat}})
        return [each["spec"] for each in by_name(manifests, "PodDisruptionBudget").values()]

    assert budgets(1) == []
    (budget,) = budgets(3)
    assert budget["minAvailable"] == 2
    assert "maxUnavailable" not in budget


def test_a_share_of_a_gpu_is_a_gpu_to_ray(render_chart: RenderChart) -> None:
    shared = {"accelerator": {"share": "halves", "pool": ""}, "maxReplicas": 2}
    values = {
        "global": {"gpuSharing": {"halves": "nvidia.com/gpu.shared"}},
        "rayClusters": {"research": {"workers": {"gpu": shared}}},
    }
    spec = by_name(render_chart(CHART, values), "RayCluster")["genai-kuberay-research"]["spec"]
    (group,) = spec["workerGroupSpecs"]
    assert group["rayStartParams"] == {"num-gpus": "1"}
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"


def test_neuron_workers_say_what_ray_counts(render_chart: RenderChart) -> None:
    neuron = {"accelerator": {"kind": "neuron"}, "rayResources": {"neuron_cores": 2}, "maxReplicas": 2}
    (group,) = ray_cluster(render_chart, workers={"neuron": neuron, "gpu": None})["workerGroupSpecs"]
    assert group["rayStartParams"] == {"resources": "'{\"neuron_cores\":2}'"}
    spec = group["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["aws.amazon.com/neuron"] == "1"
    assert "karpenter.sh/nodepool" not in spec["nodeSelector"], "the default pool has GPUs"


@pytest.mark.parametrize(
    ("service", "head_serves"),
    [
        ({"stableDiffusion": {"enabled": True}}, False),
        ({"stableDiffusion": {"enabled": True, "minReplicas": 0}}, True),
        ({"llm": {"small": {"source": {"huggingFace": {"id": "org/a"}}, "minReplicas": 0}}}, True),
        ({"llm": {"small": {"source": {"huggingFace": {"id": "org/a"}}}}}, False),
        (
            {
                "applications": {
                    "own": {
                        "import_path": "own:app",
                        "deployments": [{"name": "a", "autoscaling_config": {"min_replicas": 0}}],
                    }
                }
            },
            True,
        ),
    ],
)
def test_what_may_have_no_replica_is_woken_by_the_heads_proxy(
    render_chart: RenderChart, service: Any, head_serves: bool
) -> None:
    """Ray's other proxies are on nodes with replicas: without the head's, the Service would have no endpoint."""
    cluster = {"workers": {"gpu": {"minReplicas": 1}}}
    manifests = render_chart(CHART, {"rayServices": {"some": {"cluster": cluster, **service}}})
    (found,) = by_name(manifests, "RayService").values()
    assert found["spec"]["excludeHeadPodFromServeSvc"] is not head_serves


# Requires-Dist of the wheels on PyPI, 2026-11-30, for Python 3.12 on Linux. Of transformers 5.15.0, the newest release
# on the day of the image, only what concerns them.
REQUIRED = {
    "diffusers 0.42.1": (
        "importlib-metadata filelock huggingface-hub<3.0,>=1.32.0 numpy regex requests safetensors>=0.8.0 Pillow"
    ),
    "huggingface-hub 1.33.0": (
        "click<9.0.0,>=8.4.2 filelock>=3.10.0 fsspec>=2023.5.0 hf-xet<2.0.0,>=1.6.0 httpx<1,>=0.23.0 packaging>=20.9 "
        "pyyaml>=5.1 tqdm>=4.42.1 typing-extensions>=4.1.0"
    ),
    "accelerate 1.15.0": (
        "numpy packaging>=20.0 psutil pyyaml torch>=2.0.0 huggingface-hub>=0.21.0 safetensors>=0.4.3"
    ),
    "importlib-metadata 10.2.0": "zipp>=3.20 lazy-importer>=0.1",
    "lazy-importer 0.1.0": "",
    "zipp 4.1.2": "",
    "click 8.4.2": "",
    "hf-xet 1.6.0": "",
    "safetensors 0.8.0": "",
    "transformers 5.15.0": "huggingface-hub<2.0",
}
OF_THE_IMAGE = """
    filelock fsspec httpx numpy packaging pillow psutil pyyaml regex requests torch tqdm typing-extensions
"""
"""In the closure of ray[llm] 2.58.0, as it resolved on the day of the image: far above the least that is asked."""


def test_packages_of_a_start_are_whole_and_agree_with_those_of_the_image(render_chart: RenderChart) -> None:
    """With hashes pip installs nothing else: a package that neither has would end each start of a worker."""
    service = {"cluster": {"workers": {"gpu": {"minReplicas": 1}}}, "stableDiffusion": {"enabled": True}}
    (application,) = serve_config(render_chart, {"rayServices": {"drawing": service}})
    lines = application["runtime_env"]["pip"]
    assert all(re.search(r" --hash=sha256:[0-9a-f]{64}$", line) for line in lines)
    pins = dict(line.split(" ")[0].split("==") for line in lines)
    assert {f"{name} {version}" for name, version in pins.items()} == REQUIRED.keys() - {"transformers 5.15.0"}
    for owner, requirements in REQUIRED.items():
        for requirement in map(Requirement, requirements.split()):
            name = requirement.name.lower()
            assert name in pins or name in OF_THE_IMAGE.split(), (owner, name)
            assert name not in pins or requirement.specifier.contains(pins[name]), (owner, requirement, pins[name])


def test_packages_of_a_start_may_be_others_or_none(render_chart: RenderChart) -> None:
    def runtime(packages: list[str]) -> Any:
        service = {"cluster": {"workers": WORKERS}, "stableDiffusion": {"enabled": True, "packages": packages}}
        (application,) = serve_config(render_chart, {"rayServices": {"drawing": service}})
        return application.get("runtime_env")

    other = "diffusers==1.0.0 --hash=sha256:" + "0" * 64
    assert runtime([other]) == {"pip": [other]}
    assert runtime([]) is None
    with pytest.raises(RenderError, match="packages"):
        runtime(["diffusers==1.0.0"])


def test_ray_runs_in_a_namespace_of_its_own(render_chart: RenderChart) -> None:
    """All that belongs to a cluster is there, and the operator's rights; the namespace is closed and restricted."""
    services = {"pictures": {"stableDiffusion": {"enabled": True}, "cluster": {"workers": WORKERS, "namespace": "ray"}}}
    reader = {"metrics": {"collector": {"podSelector": {"matchLabels": {"app": "collector"}}}}}
    research = {"workers": WORKERS, "namespace": "ray", "networkPolicy": reader}
    values = {"rayClusters": {"research": research}, "rayServices": services}
    manifests = render_chart(CHART, values)
    ray = {each.identity for each in manifests if each.namespace == "ray"}
    made = {f"{kind}/ray/genai-kuberay-research" for kind in ("RayCluster", "ServiceAccount", "NetworkPolicy")}
    made |= {f"{kind}/ray/genai-kuberay-pictures" for kind in ("RayService", "ServiceAccount", "NetworkPolicy")}
    made |= {f"{kind}/ray/{OPERATOR}" for kind in ("Role", "RoleBinding")}
    assert ray == made | {"ConfigMap/ray/genai-kuberay-applications", "NetworkPolicy/ray/genai-kuberay-default-deny"}
    metadata = by_name(manifests, "Namespace")["ray"]["metadata"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert metadata["annotations"]["helm.sh/resource-policy"] == "keep"
    operator = by_name(manifests, "Deployment")[OPERATOR]["spec"]["template"]["spec"]["containers"][0]
    assert "--watch-namespace=genai,ray" in operator["args"]
    policy = by_name(manifests, "NetworkPolicy")["genai-kuberay-research"]["spec"]
    peers = [peer for rule in policy["ingress"] if "ports" in rule for peer in rule["from"]]
    across = {"matchLabels": {"kubernetes.io/metadata.name": "genai"}}
    assert [peer["namespaceSelector"] for peer in peers] == [across, across], "operator and collector"
    users = str(by_name(manifests, "ValidatingAdmissionPolicy")["genai-genai-kuberay-autoscaler"]["spec"])
    assert "system:serviceaccount:ray:genai-kuberay-research" in users


def test_a_namespace_that_is_there_is_closed_and_not_made(render_chart: RenderChart) -> None:
    values = {"createNamespaces": False, "clusterDefaults": {"namespace": "ray"}, **RESEARCH}
    manifests = render_chart(CHART, values)
    assert not by_name(manifests, "Namespace")
    assert "NetworkPolicy/ray/genai-kuberay-default-deny" in {each.identity for each in manifests}
