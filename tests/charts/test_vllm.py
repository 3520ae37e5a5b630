"""The chart vllm: what a model's entry becomes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.suite.charts import AssembledCharts
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import POD_IDENTITY
from tests.charts.vllm_models import HUB, S3, container, environment, pod, render, the, values, volumes

FILES = Path(__file__).resolve().parents[2] / "charts" / "vllm" / "files"
RICH: dict[str, Any] = {
    "source": S3,
    "accelerator": {"count": 4, "gpuNames": ["l4"]},
    "engine": {
        "chatTemplate": "{{ messages }}",
        "toolCallParser": "hermes",
        "loraAdapters": {"sql": {"path": "./sql"}},
    },
    "extraArgs": {"cudagraph-capture-sizes": [1, 2], "compilation-config": {"mode": 3}, "async-scheduling": False},
    "extraEnv": {"NCCL_DEBUG": "INFO", "WANDB_API_KEY": {"secret": "wandb", "key": "key"}},
    "apiKeySecret": {"name": "api-key"},
    "autoscaling": {"enabled": True},
    "cache": {"type": "persistentVolumeClaim", "accessMode": "ReadWriteMany", "storageClass": "efs"},
    "service": {"type": "LoadBalancer", "loadBalancer": {"sourceRanges": {"vpc": "10.0.0.0/8"}}},
}


def test_no_model_is_served_by_default(render_chart: RenderChart) -> None:
    assert {each.kind for each in render_chart("vllm")} == {"NetworkPolicy", "ServiceAccount"}


def test_a_model_is_a_deployment_behind_a_service_of_its_name(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {})
    deployment, service = the(manifests, "Deployment"), the(manifests, "Service")
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "genai-vllm-small"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert service["spec"]["type"] == "ClusterIP"
    (port,) = service["spec"]["ports"]
    (served,) = container(render_chart, {})["ports"]
    assert (port["port"], port["targetPort"]) == (8000, served["name"])
    assert served["containerPort"] == 8000


def test_models_are_served_side_by_side_and_can_be_left_out(render_chart: RenderChart) -> None:
    models = {"a": {"source": HUB}, "b": {"source": HUB, "enabled": False}, "c": None, "d": {"source": HUB}}
    names = [each.name for each in render_chart("vllm", {"models": models}) if each.kind == "Deployment"]
    assert names == ["genai-vllm-a", "genai-vllm-d"]


def test_a_model_replaces_the_defaults_key_by_key(render_chart: RenderChart) -> None:
    defaults = {"any": {"replicas": 3, "shutdown": {"drainSeconds": 60}}, "nvidia": {"accelerator": {"pool": "mine"}}}
    manifests = render(render_chart, {"replicas": 0, "shutdown": {"preStopSeconds": 0}}, modelDefaults=defaults)
    spec = the(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 0
    assert spec["template"]["spec"]["nodeSelector"]["karpenter.sh/nodepool"] == "mine"
    assert "--shutdown-timeout=60" in spec["template"]["spec"]["containers"][0]["args"]
    assert "lifecycle" not in spec["template"]["spec"]["containers"][0]


def test_helm_3_and_4_agree(render_chart: RenderChart) -> None:
    three, four = (render_chart("vllm", values(RICH), helm=helm) for helm in ("helm3", "helm4"))
    assert [each.content for each in three] == [each.content for each in four]


# Sources


def test_a_model_of_the_hub_is_downloaded_into_the_cache(render_chart: RenderChart) -> None:
    source = {**HUB, "huggingFace": {"id": "some/model", "revision": "abc"}}
    spec = pod(render_chart, {"source": source})
    args = spec["containers"][0]["args"]
    assert args[0] == "some/model"
    assert "--revision=abc" in args
    assert volumes(spec)["/cache"]["emptyDir"] == {"sizeLimit": "27Gi"}
    assert environment(spec["containers"][0])["HF_HOME"] == "/cache/huggingface"
    assert "/model" not in volumes(spec)


@pytest.mark.parametrize(
    ("size", "resources", "model", "whole"),
    [
        # Three times a file of 5 GB and 3 GiB beside it, for each process, do not fit into 9Gi.
        ("15Gi", {}, {}, False),
        ("15Gi", {"memory": "19Gi"}, {}, True),
        ("15Gi", {"memory": "18Gi"}, {}, False),
        ("2Gi", {}, {}, True),
        ("140Gi", {"memory": "136Gi"}, {"accelerator": {"count": 8}}, False),
        ("140Gi", {"memory": "160Gi"}, {"accelerator": {"count": 8}}, True),
        # Without an accelerator the model itself is in memory as well.
        ("15Gi", {"memory": "19Gi"}, {"accelerator": {"kind": "none"}}, False),
        # Replicas of its engine, and stages of it, are processes of the pod.
        ("2Gi", {"memory": "20Gi"}, {"accelerator": {"kind": "none"}}, True),
        ("2Gi", {"memory": "20Gi"}, {"accelerator": {"kind": "none"}, "engine": {"dataParallelSize": 2}}, False),
        ("2Gi", {"memory": "20Gi"}, {"accelerator": {"kind": "none"}, "engine": {"pipelineParallelSize": 2}}, False),
        ("15Gi", {"memory": "40Gi"}, {"accelerator": {"kind": "neuron"}}, False),
        ("15Gi", {"memory": "40Gi"}, {"extraArgs": {"load-format": "runai_streamer"}}, False),
    ],
)
def test_weights_in_s3_are_read_in_whole_files_where_memory_holds_them(
    render_chart: RenderChart, size: str, resources: Any, model: Any, whole: bool
) -> None:
    server = container(render_chart, {"source": {**S3, "size": size}, "resources": resources, **model})
    assert ("--safetensors-load-strategy=eager" in server["args"]) is whole


def test_a_model_in_s3_is_mounted_read_only(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {"source": S3}, **{"global": {"region": "us-west-2"}})
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    claim, volume = the(manifests, "PersistentVolumeClaim"), the(manifests, "PersistentVolume")
    assert spec["containers"][0]["args"][0] == "/model$(DRYDOCK_MODEL_FOLDER)"
    mounted = volumes(spec)["/model"]["persistentVolumeClaim"]
    assert mounted == {"claimName": claim["metadata"]["name"], "readOnly": True}
    assert claim["spec"]["storageClassName"] == ""
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert volume["spec"]["claimRef"]["name"] == claim["metadata"]["name"]
    assert volume["spec"]["csi"]["driver"] == "s3.csi.aws.com"
    assert volume["spec"]["csi"]["volumeAttributes"] == {"bucketName": "weights"}
    options = volume["spec"]["mountOptions"]
    assert {"read-only", "region us-west-2", "prefix some/model/", "uid=2000", "gid=2000"} <= set(options)
    assert environment(spec["containers"][0])["HF_HUB_OFFLINE"] == "1"
    assert volumes(spec)["/cache"]["emptyDir"] == {"sizeLimit": "10Gi"}


@pytest.mark.parametrize("uri", ["s3://weights", "s3://weights/"])
def test_a_bucket_may_hold_one_model_at_its_root(render_chart: RenderChart, uri: str) -> None:
    volume = the(
        render(render_chart, {"source": {**S3, "s3": {"uri": uri, "region": "eu-west-1"}}}), "PersistentVolume"
    )
    assert volume["spec"]["csi"]["volumeAttributes"] == {"bucketName": "weights"}
    assert "region eu-west-1" in volume["spec"]["mountOptions"]
    assert not any(each.startswith("prefix") for each in volume["spec"]["mountOptions"])


def test_volumes_of_two_namespaces_do_not_meet(render_chart: RenderChart) -> None:
    names = {
        the(render_chart("vllm", values({"source": S3}), namespace=namespace), "PersistentVolume")["metadata"]["name"]
        for namespace in ("one", "two")
    }
    assert len(names) == 2


def test_a_model_in_an_existing_claim(render_chart: RenderChart) -> None:
    for mode, volume in (
        ("ReadWriteMany", {"claimName": "weights"}),
        ("ReadOnlyMany", {"claimName": "weights", "readOnly": True}),
    ):
        claim = {"name": "weights", "path": "llama/8b", "accessMode": mode}
        spec = pod(render_chart, {"source": {"size": "15Gi", "claim": claim}})
        (server,) = spec["containers"]
        assert server["args"][0] == "/model/llama/8b$(DRYDOCK_MODEL_FOLDER)"
        assert volumes(spec)["/model"]["persistentVolumeClaim"] == volume
        assert {"name": "model", "mountPath": "/model", "readOnly": True} in server["volumeMounts"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"size": "1Gi"}, "models.small.source: says nowhere where the weights are: set exactly one of huggingFace.id"),
        ({**HUB, **S3}, "names both huggingFace and s3"),
        (
            {"huggingFace": {"id": "some/model"}},
            "models.small.source.size: .* set the size of the weights, such as 15Gi",
        ),
    ],
)
def test_sources_that_say_too_little_or_too_much(render_chart: RenderChart, source: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {"source": source})


# Arguments


ENGINE: tuple[tuple[dict[str, Any], list[str]], ...] = (
    (
        {
            "servedModelName": "llama",
            "dtype": "bfloat16",
            "maxModelLen": 1000000,
            "gpuMemoryUtilization": 0.85,
            "enableExpertParallel": True,
            "quantization": "fp8",
            "kvCacheDtype": "fp8",
            "enablePrefixCaching": True,
            "enableChunkedPrefill": True,
            "maxNumSeqs": 64,
            "maxNumBatchedTokens": 8192,
            "blockSize": 32,
            "cpuOffloadGb": 2.5,
            "loadFormat": "runai_streamer",
            "enforceEager": True,
            "trustRemoteCode": True,
            "seed": 7,
            "generationConfig": "vllm",
            "toolCallParser": "hermes",
            "reasoningParser": "qwen3",
            "speculativeConfig": {"method": "ngram"},
            "hfOverrides": {"a": "<b>"},
            "limitMmPerPrompt": {"image": 2},
            "additionalConfig": {"a": 1},
            "enableLogRequests": True,
            "maxLoraRank": 64,
            "maxLoras": 2,
            "maxCpuLoras": 8,
        },
        [
            "--served-model-name=llama",
            "--dtype=bfloat16",
            "--max-model-len=1000000",
            "--gpu-memory-utilization=0.85",
            "--enable-expert-parallel",
            "--quantization=fp8",
            "--kv-cache-dtype=fp8",
            "--enable-prefix-caching",
            "--enable-chunked-prefill",
            "--max-num-seqs=64",
            "--max-num-batched-tokens=8192",
            "--block-size=32",
            "--cpu-offload-gb=2.5",
            "--load-format=runai_streamer",
            "--enforce-eager",
            "--trust-remote-code",
            "--seed=7",
            "--generation-config=vllm",
            "--tool-call-parser=hermes",
            "--enable-auto-tool-choice",
            "--reasoning-parser=qwen3",
            '--speculative-config={"method":"ngram"}',
            '--hf-overrides={"a":"<b>"}',
            '--limit-mm-per-prompt={"image":2}',
            '--additional-config={"a":1}',
            "--enable-log-requests",
            "--max-lora-rank=64",
            "--max-loras=2",
            "--max-cpu-loras=8",
        ],
    ),
    (
        {"enablePrefixCaching": False, "enableChunkedPrefill": False, "cpuOffloadGb": 0, "seed": 0},
        ["--no-enable-prefix-caching", "--no-enable-chunked-prefill", "--cpu-offload-gb=0", "--seed=0"],
    ),
)


@pytest.mark.parametrize(("engine", "arguments"), ENGINE)
def test_engine_keys_are_arguments_of_vllm(render_chart: RenderChart, engine: Any, arguments: list[str]) -> None:
    assert set(arguments) <= set(container(render_chart, {"engine": engine})["args"])


def test_what_is_left_out_is_left_to_vllm(render_chart: RenderChart) -> None:
    args = container(render_chart, {})["args"]
    assert {each.partition("=")[0] for each in args[1:]} == {
        "--data-parallel-size",
        "--gpu-memory-utilization",
        "--pipeline-parallel-size",
        "--port",
        "--served-model-name",
        "--shutdown-timeout",
        "--tensor-parallel-size",
    }


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"max-logprobs": 20}, ["--max-logprobs=20"]),
        ({"watermark": 0.05}, ["--watermark=0.05"]),
        ({"disable-fastapi-docs": True}, ["--disable-fastapi-docs"]),
        ({"async-scheduling": False}, ["--no-async-scheduling"]),
        ({"disable-log-stats": True}, ["--disable-log-stats"]),
        ({"cudagraph-capture-sizes": [1, 2]}, ["--cudagraph-capture-sizes", "1", "2"]),
        ({"compilation-config": {"mode": 3}}, ['--compilation-config={"mode":3}']),
    ],
)
def test_extra_arguments_are_spelt_as_vllm_reads_them(render_chart: RenderChart, extra: Any, words: list[str]) -> None:
    args = container(render_chart, {"extraArgs": extra})["args"]
    start = args.index(words[0])
    assert args[start : start + len(words)] == words


def test_an_extra_argument_can_be_taken_back(render_chart: RenderChart) -> None:
    defaults = {"any": {"extraArgs": {"max-logprobs": 20}}}
    args = container(render_chart, {"extraArgs": {"max-logprobs": None}}, modelDefaults=defaults)["args"]
    assert not any("max-logprobs" in each for each in args)


@pytest.mark.parametrize(
    ("parallel", "count", "argument"),
    [
        ({}, 4, "--tensor-parallel-size=4"),
        ({"pipelineParallelSize": 2}, 8, "--tensor-parallel-size=4"),
        ({"dataParallelSize": 2, "tensorParallelSize": 2}, 4, "--data-parallel-size=2"),
    ],
)
def test_all_accelerators_are_used(render_chart: RenderChart, parallel: Any, count: int, argument: str) -> None:
    assert argument in container(render_chart, {"engine": parallel, "accelerator": {"count": count}})["args"]


@pytest.mark.parametrize(
    ("parallel", "reason"),
    [
        ({"tensorParallelSize": 2}, r"would run on 2 devices .* and the pod has 4 .*: make them equal, or leave"),
        ({"tensorParallelSize": 4, "pipelineParallelSize": 2}, "would run on 8 devices"),
        ({"pipelineParallelSize": 3}, r"= 3 does not divide accelerator.count x coresPerDevice = 4"),
    ],
)
def test_an_engine_on_more_or_fewer_devices_than_it_has(render_chart: RenderChart, parallel: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {"engine": parallel, "accelerator": {"count": 4}})


def test_adapters(render_chart: RenderChart) -> None:
    adapters = {"sql": {"path": "./adapters/sql"}, "gone": None}
    args = container(render_chart, {"source": S3, "engine": {"loraAdapters": adapters}})["args"]
    assert "--enable-lora" in args
    assert args[args.index("--lora-modules") + 1] == '{"name":"sql","path":"/model/adapters/sql"}'
    args = container(render_chart, {"engine": {"loraAdapters": {"sql": {"path": "some/adapter"}}}})["args"]
    assert args[args.index("--lora-modules") + 1] == '{"name":"sql","path":"some/adapter"}'


@pytest.mark.parametrize(
    ("source", "path", "reason"),
    [(HUB, "./sql", "a model of the Hub has none"), (S3, "some/adapter", "the pod does not reach the Hub")],
)
def test_adapters_out_of_reach(render_chart: RenderChart, source: Any, path: str, reason: str) -> None:
    with pytest.raises(RenderError, match=f"models.small.engine.loraAdapters.sql.path: .*{reason}"):
        render(render_chart, {"source": source, "engine": {"loraAdapters": {"sql": {"path": path}}}})


def test_a_chat_template_is_a_file_and_its_change_starts_the_pods_anew(render_chart: RenderChart) -> None:
    checksums = set()
    for template in "{{ messages }}", "{{ messages[0] }}":
        manifests = render(render_chart, {"engine": {"chatTemplate": template}})
        assert the(manifests, "ConfigMap")["data"] == {"chat-template.jinja": template}
        whole = the(manifests, "Deployment")["spec"]["template"]
        assert "--chat-template=/etc/vllm/chat-template.jinja" in whole["spec"]["containers"][0]["args"]
        assert volumes(whole["spec"])["/etc/vllm"]["configMap"]["name"] == "genai-vllm-small"
        checksums.add(whole["metadata"]["annotations"]["checksum/settings"])
    assert len(checksums) == 2


def test_the_rules_speak_of_arguments_that_there_are_or_were() -> None:
    rules = yaml.safe_load((FILES / "arguments" / "rules.yaml").read_text())
    releases = {file.stem: yaml.safe_load(file.read_text()) for file in (FILES / "arguments").glob("[0-9]*.yaml")}
    known = {
        version: {name for kind in ("value", "list", "switch", "flag") for name in release[kind]}
        for version, release in releases.items()
    }
    newest = known[max(known, key=lambda version: [int(part) for part in version.split(".")])]
    assert set(rules["refused"]) <= newest
    assert not set(rules["removed"]) & newest
    for version, release in releases.items():
        assert set(release["choices"]) <= known[version]


# Accelerators and resources


def test_a_gpu_brings_resource_toleration_and_pool(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {"accelerator": {"count": 2, "gpuNames": ["l4"], "instanceTypes": ["g6.12xlarge"]}})
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert spec["nodeSelector"] == {"karpenter.sh/nodepool": "gpu", "kubernetes.io/arch": "amd64"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["values"] for each in term["matchExpressions"]] == [["l4"], ["g6.12xlarge"]]


def test_a_neuron_device_has_two_cores_and_another_image(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {"accelerator": {"kind": "neuron", "count": 1}})
    (server,) = spec["containers"]
    assert server["resources"]["limits"]["aws.amazon.com/neuron"] == "1"
    assert "--tensor-parallel-size=2" in server["args"]
    assert server["image"].startswith("public.ecr.aws/neuron/")
    assert spec["nodeSelector"]["karpenter.sh/nodepool"] == "neuron"
    assert environment(server)["NEURON_COMPILE_CACHE_URL"] == "/cache/neuron"
    # vLLM 0.16 has no time limit of its own, and does not know of the GPU's memory.
    assert not any("shutdown-timeout" in each or "gpu-memory" in each for each in server["args"])


def test_a_model_for_trials_runs_on_cpus(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {"accelerator": {"kind": "none"}, "scheduling": {"architecture": ""}})
    assert "nodeSelector" not in spec
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "11Gi"}
    assert spec["containers"][0]["image"] == "docker.io/vllm/vllm-openai-cpu:v0.26.0"


@pytest.mark.parametrize(
    ("resources", "count", "cpu", "memory", "shared"),
    [
        ({}, 1, "3", "11Gi", "2Gi"),
        ({}, 8, "24", "88Gi", "16Gi"),
        (
            {"perAccelerator": {"cpu": "1500m", "memory": "10000Mi", "sharedMemory": "500Mi"}},
            1,
            "1500m",
            "10000Mi",
            "500Mi",
        ),
        ({"cpu": "7", "memory": "1Ti", "sharedMemory": "64Gi"}, 8, "7", "1024Gi", "64Gi"),
    ],
)
def test_requests_grow_with_the_accelerators(
    render_chart: RenderChart, resources: Any, count: int, cpu: str, memory: str, shared: str
) -> None:
    spec = pod(render_chart, {"resources": resources, "accelerator": {"count": count}})
    asked = spec["containers"][0]["resources"]
    assert (asked["requests"]["cpu"], asked["requests"]["memory"]) == (cpu, memory)
    assert asked["limits"]["memory"] == memory
    assert "cpu" not in asked["limits"]
    assert volumes(spec)["/dev/shm"]["emptyDir"]["sizeLimit"] == shared


def test_what_is_written_to_the_nodes_disk_is_requested(render_chart: RenderChart) -> None:
    assert container(render_chart, {})["resources"]["requests"]["ephemeral-storage"] == "31Gi"
    model = {"cache": {"size": "100Gi"}, "resources": {"tmp": "1Gi"}}
    assert container(render_chart, model)["resources"]["requests"]["ephemeral-storage"] == "101Gi"


# Security


def test_pods_satisfy_restricted_pod_security(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {"uid": 4000})
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 4000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_everything_a_server_writes_lies_in_a_volume(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {})
    written = {name: path for name, path in environment(spec["containers"][0]).items() if str(path).startswith("/")}
    assert {"HOME", "HF_HOME", "VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"} <= set(written)
    assert all(
        any(path == mount or path.startswith(f"{mount}/") for mount in volumes(spec)) for path in written.values()
    )
    assert {"/tmp", "/dev/shm"} <= set(volumes(spec))


def test_no_token_of_the_api_server_is_mounted(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {}, serviceAccount={"annotations": {"role": "x"}})
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    account = the(manifests, "ServiceAccount")
    assert spec["automountServiceAccountToken"] is False
    assert account["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert account["metadata"]["annotations"] == {"role": "x"}


def test_images_come_from_the_registry_of_the_platform(render_chart: RenderChart) -> None:
    shared = {"imageRegistry": "own.example/mirror", "imagePullSecrets": ["pull"]}
    spec = pod(render_chart, {}, **{"global": shared})
    assert spec["containers"][0]["image"] == "own.example/mirror/vllm/vllm-openai:v0.26.0"
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_extra_environment(render_chart: RenderChart) -> None:
    extra = {"NCCL_DEBUG": "INFO", "RETRIES": 1000000, "OFF": False, "GONE": None, "A_KEY": {"secret": "a", "key": "b"}}
    found = environment(container(render_chart, {"extraEnv": extra}))
    assert found["NCCL_DEBUG"] == "INFO"
    assert found["RETRIES"] == "1000000"
    assert found["OFF"] == "false"
    assert found["A_KEY"] == {"secretKeyRef": {"name": "a", "key": "b"}}
    assert "GONE" not in found
    with pytest.raises(RenderError, match=r"models\.small\.extraEnv\.HF_HOME: the chart sets this variable itself"):
        render(render_chart, {"extraEnv": {"HF_HOME": "/x"}})


# Network


def test_only_the_namespace_may_call_and_only_the_hub_may_be_called(render_chart: RenderChart) -> None:
    policy = the(render(render_chart, {}), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"port": 8000, "protocol": "TCP"}], "from": [{"podSelector": {}}]}]
    assert [each["port"] for rule in policy["egress"] for each in rule["ports"]] == [53, 53, 443]
    policy = the(render(render_chart, {"source": S3}), "NetworkPolicy")["spec"]
    assert [each["port"] for rule in policy["egress"] for each in rule["ports"]] == [53, 53]


def test_callers_and_called_can_be_added_and_taken_away(render_chart: RenderChart) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    tracing = {"to": [{"podSelector": {}}], "ports": [{"port": 4317}]}
    own = {"ingress": {"same-namespace": None, "monitoring": monitoring}, "egress": {"tracing": tracing}}
    policy = the(render(render_chart, {"networkPolicy": own}), "NetworkPolicy")["spec"]
    assert policy["ingress"][0]["from"] == [monitoring]
    assert policy["egress"][-1] == tracing
    closed = the(render(render_chart, {"networkPolicy": {"ingress": {"same-namespace": None}}}), "NetworkPolicy")
    assert closed["spec"]["ingress"] == []
    opened = the(render(render_chart, {"networkPolicy": {"enabled": False}}), "NetworkPolicy")["spec"]
    assert (opened["ingress"], opened["egress"]) == ([{}], [{}]), "the namespace is closed, these pods are not"


@pytest.mark.parametrize(("auto_mode", "controller"), [(False, "service.k8s.aws/nlb"), (True, "eks.amazonaws.com/nlb")])
def test_a_load_balancer_is_internal_by_default(render_chart: RenderChart, auto_mode: bool, controller: str) -> None:
    service = {"type": "LoadBalancer", "port": 443, "loadBalancer": {"certificateArn": "arn:aws:acm:us-west-2:1:c/1"}}
    shared = {"autoMode": {"enabled": auto_mode}, "tags": {"team": "search"}}
    manifests = render(render_chart, {"service": {**service, "annotations": {"own": "x"}}}, **{"global": shared})
    rendered = the(manifests, "Service")
    prefix = "service.beta.kubernetes.io/aws-load-balancer"
    annotations = rendered["metadata"]["annotations"]
    assert annotations["own"] == "x"
    assert annotations[f"{prefix}-scheme"] == "internal"
    assert annotations[f"{prefix}-ssl-cert"] == "arn:aws:acm:us-west-2:1:c/1"
    assert annotations[f"{prefix}-ssl-ports"] == "443"
    assert annotations[f"{prefix}-additional-resource-tags"] == "team=search"
    assert rendered["spec"]["loadBalancerClass"] == controller
    assert "loadBalancerSourceRanges" not in rendered["spec"]
    peers = the(manifests, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in peers


# Scale, rollouts, shutdown


def test_one_pod_has_no_budget_that_could_stop_a_drain(render_chart: RenderChart) -> None:
    assert "PodDisruptionBudget" not in {each.kind for each in render(render_chart, {})}
    manifests = render(render_chart, {"replicas": 3, "podDisruptionBudget": {"maxUnavailable": 2}})
    budget = the(manifests, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (2, "AlwaysAllow")
    assert budget["selector"] == the(manifests, "Deployment")["spec"]["selector"]


def test_two_pods_spread_over_zones_and_nodes(render_chart: RenderChart) -> None:
    assert "topologySpreadConstraints" not in pod(render_chart, {})
    model: dict[str, Any] = {"replicas": 2, "podLabels": {"team": "search"}}
    constraints = pod(render_chart, model)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    model["scheduling"] = {"topologySpread": {"kubernetes.io/hostname": None}}
    (constraint,) = pod(render_chart, model)["topologySpreadConstraints"]
    assert constraint["maxSkew"] == 1
    assert "team" not in constraint["labelSelector"]["matchLabels"]


def test_scheduling(render_chart: RenderChart) -> None:
    scheduling = {
        "zone": "us-west-2a",
        "architecture": "arm64",
        "priorityClassName": "models",
        "doNotDisrupt": True,
        "nodeSelector": {"team": "search"},
        "affinity": {"podAntiAffinity": {}},
        "tolerations": {"team": {"key": "team", "operator": "Exists"}, "gone": None},
    }
    whole = the(render(render_chart, {"scheduling": scheduling}), "Deployment")["spec"]["template"]
    assert whole["spec"]["nodeSelector"] == {
        "karpenter.sh/nodepool": "gpu",
        "kubernetes.io/arch": "arm64",
        "team": "search",
        "topology.kubernetes.io/zone": "us-west-2a",
    }
    assert whole["spec"]["priorityClassName"] == "models"
    assert whole["spec"]["affinity"] == {"podAntiAffinity": {}}
    assert {"key": "team", "operator": "Exists"} in whole["spec"]["tolerations"]
    assert whole["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_autoscaling_leaves_the_number_of_pods_alone(render_chart: RenderChart) -> None:
    metrics = {"requests-waiting": None, "cpu": {"type": "Resource", "metric": "cpu", "averageUtilization": 80}}
    manifests = render(render_chart, {"autoscaling": {"enabled": True, "maxReplicas": 4, "metrics": metrics}})
    deployment, scaler = the(manifests, "Deployment"), the(manifests, "HorizontalPodAutoscaler")["spec"]
    assert "replicas" not in deployment["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 4)
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600
    target = {"type": "Utilization", "averageUtilization": 80}
    assert scaler["metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    assert the(manifests, "PodDisruptionBudget")


def test_autoscaling_goes_by_the_requests_that_wait(render_chart: RenderChart) -> None:
    (metric,) = the(render(render_chart, {"autoscaling": {"enabled": True}}), "HorizontalPodAutoscaler")["spec"][
        "metrics"
    ]
    assert metric["pods"]["metric"] == {"name": "vllm_num_requests_waiting"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "5"}


@pytest.mark.parametrize(
    ("autoscaling", "reason"),
    [
        ({"minReplicas": 3}, "minReplicas 3 is more than maxReplicas 2"),
        ({"metrics": {"requests-waiting": None}}, "there is nothing to scale by"),
        ({"metrics": {"x": {"type": "Pods", "metric": "m"}}}, "metrics.x: .*set averageValue"),
        (
            {"metrics": {"x": {"type": "Pods", "metric": "m", "averageValue": "1", "averageUtilization": 5}}},
            "only a Resource has a utilization",
        ),
        ({"metrics": {"x": {"type": "Resource", "metric": "cpu"}}}, "set averageValue or averageUtilization"),
    ],
)
def test_autoscaling_that_cannot_work(render_chart: RenderChart, autoscaling: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {"autoscaling": {"enabled": True, **autoscaling}})


def test_a_pod_finishes_its_requests(render_chart: RenderChart) -> None:
    spec = pod(render_chart, {"shutdown": {"preStopSeconds": 20, "drainSeconds": 300}})
    (server,) = spec["containers"]
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}
    assert "--shutdown-timeout=300" in server["args"]
    assert spec["terminationGracePeriodSeconds"] == 335
    longer = {"shutdown": {"terminationGracePeriodSeconds": 600}}
    assert pod(render_chart, longer)["terminationGracePeriodSeconds"] == 600
    with pytest.raises(RenderError, match=r"killed after 135 s, while requests may run for .* = 135 s: set more"):
        render(render_chart, {"shutdown": {"terminationGracePeriodSeconds": 135}})


def test_a_new_version_of_the_chart_alone_starts_no_pod_anew(render_chart: RenderChart) -> None:
    labels = the(render(render_chart, {}), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def test_labels_and_annotations_of_pods(render_chart: RenderChart) -> None:
    own = {"podLabels": {"team": "search", "app.kubernetes.io/name": "stolen"}, "podAnnotations": {"a": "b"}}
    metadata = the(render(render_chart, own), "Deployment")["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "search"
    assert metadata["labels"]["app.kubernetes.io/name"] == "vllm"
    assert metadata["annotations"] == {
        "a": "b",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8000",
        "prometheus.io/path": "/metrics",
    }
    metadata = the(render(render_chart, {"metrics": {"annotate": False}}), "Deployment")["spec"]["template"]["metadata"]
    assert "annotations" not in metadata


# Cache


def test_a_cache_that_outlasts_the_pod(render_chart: RenderChart) -> None:
    cache = {"type": "persistentVolumeClaim", "keep": True, "size": "50Gi"}
    scheduling = {"zone": "us-west-2a"}
    shared = {"storageClass": "gp3", "zones": ["us-west-2a"]}
    manifests = render(render_chart, {"cache": cache, "scheduling": scheduling}, **{"global": shared})
    claim = the(manifests, "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "gp3"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    assert volumes(spec)["/cache"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "4Gi"


def test_an_existing_claim_for_the_cache(render_chart: RenderChart) -> None:
    cache = {"type": "persistentVolumeClaim", "accessMode": "ReadWriteMany", "existingClaim": "shared"}
    manifests = render(render_chart, {"cache": cache})
    assert "PersistentVolumeClaim" not in {each.kind for each in manifests}
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    assert volumes(spec)["/cache"]["persistentVolumeClaim"]["claimName"] == "shared"


# Values that say nothing


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": {"small": {"souce": {}}}}, "souce"),
        ({"models": {"small": {"engine": {"maxModelLength": 1}}}}, "maxModelLength"),
        ({"models": {"small": {"replicas": "two"}}}, "got string, want integer"),
        ({"models": {"Small": {}}}, "Small"),
        ({"models": {"small": {"service": {"type": "NodePort"}}}}, "ClusterIP"),
        ({"modelDefaults": {"gpu": {}}}, "gpu"),
    ],
)
def test_misspelt_values_are_refused(render_chart: RenderChart, wrong: Any, said: str) -> None:
    for helm in "helm3", "helm4":
        with pytest.raises(RenderError, match=said):
            render_chart("vllm", wrong, helm=helm)


def test_notes_say_where_a_model_is_and_what_it_needs(
    tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    gated = {**HUB, "huggingFace": {"id": "some/model", "gated": True}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values({"source": gated, "apiKeySecret": {"name": "api-key"}})))
    command = [drydock_tool("helm4"), "install", "genai", drydock_charts.chart("vllm"), "--dry-run=client", "-f", file]
    notes = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.partition(
        "NOTES:"
    )[2]
    assert "http://genai-vllm-small.default:8000/v1" in notes
    assert "needs the Secret hf-secret with key hf_api_token" in notes
    assert "needs the Secret api-key with key api_key" in notes


def test_what_was_compiled_for_neuron_is_kept(render_chart: RenderChart) -> None:
    model: dict[str, Any] = {"source": S3, "accelerator": {"kind": "neuron"}}
    server = container(render_chart, model)
    variables = environment(server)
    assert variables["NEURON_COMPILE_CACHE_URL"] == "/cache/neuron"
    # The plugin would write into the model's folder, to `local-models` of the working directory, and to /tmp.
    folder = variables["NEURON_COMPILED_ARTIFACTS"]
    assert folder.startswith("/cache/compiled/")
    # What was compiled for other arguments or by another image is not taken for it.
    for change in (
        {"engine": {"maxModelLen": 2048}},
        {"image": {"tag": "0.16.0-other"}},
        {"extraEnv": {"NEURON_CC_FLAGS": "-O3"}},
        {"resources": {"tmp": "5Gi"}},
    ):
        other = environment(container(render_chart, {**model, **change}))["NEURON_COMPILED_ARTIFACTS"]
        assert (other == folder) is ("resources" in change)
    claims = [{"size": "15Gi", "claim": {"name": name, "accessMode": "ReadOnlyMany"}} for name in ("one", "other")]
    one, other = (environment(container(render_chart, {**model, "source": each})) for each in claims)
    assert one["NEURON_COMPILED_ARTIFACTS"] != other["NEURON_COMPILED_ARTIFACTS"]
    assert variables["BASE_COMPILE_WORK_DIR"].startswith("/cache/")
    assert server["workingDir"] == "/cache"
    assert server["args"][0] == "/model"
    (more,) = (argument.partition("=")[2] for argument in server["args"] if argument.startswith("--additional-config="))
    assert json.loads(more)["override_neuron_config"]["save_sharded_checkpoint"] is True
    neuron = {"compileCacheUrl": "s3://compiled/graphs", "compiledArtifacts": "/model/compiled"}
    manifests = render(render_chart, {**model, "neuron": neuron})
    variables = environment(the(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0])
    assert variables["NEURON_COMPILE_CACHE_URL"] == "s3://compiled/graphs"
    assert variables["NEURON_COMPILED_ARTIFACTS"] == "/model/compiled"
    rules = the(manifests, "NetworkPolicy")["spec"]["egress"]
    assert 443 in [port["port"] for rule in rules for port in rule["ports"]]  # S3 is beyond the cluster
    assert POD_IDENTITY in rules
    assert POD_IDENTITY not in the(render(render_chart, model), "NetworkPolicy")["spec"]["egress"]
