"""Each rule: objects that it complains of, and the same objects put right."""

import json
from pathlib import Path
from typing import Any

import pytest

from drydock.checks.findings import Severity
from drydock.checks.registry import RULES
from drydock.checks.termination import seconds_of
from tests.checks.helpers import findings
from tests.engines.test_model_config import LLAMA
from tests.scheduling.builders import daemon_set, deployment, needs, pod_spec, pool

GPU = "nvidia.com/gpu"
FAMILY = "karpenter.k8s.aws/instance-family"
PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"
G6 = pool(requirements=[(FAMILY, "In", ["g6"])])
ANYWHERE = [{"operator": "Exists"}]


def container(spec: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The pod's spec with its container changed."""
    return {**spec, "containers": [{**spec["containers"][0], **fields}]}


def engine(*arguments: str, model: str = "meta-llama/Llama-3.1-8B-Instruct") -> str:
    """A Deployment of vLLM on one GPU."""
    words = ["serve", model, *arguments]
    return deployment(container(pod_spec({GPU: 1}), command=["vllm"], args=words))


def configured(text: str, *, mount: dict[str, Any] | None = None, key: str = "vllm.yaml") -> str:
    """An engine on one GPU that reads `text` as its `--config`, from a ConfigMap."""
    args = ["serve", "meta-llama/Llama-3.1-8B-Instruct", "--config", "/etc/vllm/vllm.yaml"]
    mounts = [{"name": "settings", **(mount or {"mountPath": "/etc/vllm"})}]
    spec = container(pod_spec({GPU: 1}), command=["vllm"], args=args, volumeMounts=mounts)
    spec["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}]
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {key: text}}
    return deployment(spec) + "---\n" + json.dumps(content) + "\n"


def ray_engine(model: str, **arguments: Any) -> str:
    """A RayService of Ray Serve LLM with workers of one GPU."""
    entry = {"model_loading_config": {"model_id": "own", "model_source": model}, "engine_kwargs": arguments}
    serve = {"applications": [{"name": "llms", "args": {"llm_configs": [entry]}}]}
    template = {"spec": pod_spec({GPU: 1})}
    cluster = {
        "headGroupSpec": {"template": {"spec": pod_spec()}},
        "workerGroupSpecs": [{"groupName": "gpu", "replicas": 1, "template": template}],
    }
    content = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "llms"},
        "spec": {"serveConfigV2": json.dumps(serve), "rayClusterConfig": cluster},
    }
    return objects(content)


def inference_service(model: str) -> dict[str, Any]:
    """KServe's, on one GPU."""
    limits = {"limits": {GPU: 1, "cpu": 1, "memory": "1Gi"}}
    served = {"modelFormat": {"name": "huggingface"}, "args": [f"--model_id={model}"], "resources": limits}
    predictor = {"model": served, "tolerations": [{"key": GPU, "operator": "Exists"}]}
    content = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "llama"}}
    return {**content, "spec": {"predictor": predictor}}


def objects(*contents: dict[str, Any]) -> str:
    return "".join(json.dumps(each) + "\n---\n" for each in contents)


def service(name: str = "model", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": fields.pop("annotations", {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}], **fields}}


def scaler(metric: str) -> str:
    trigger = {"type": "prometheus", "metadata": {"serverAddress": "http://p:9090", "query": f"sum({metric})"}}
    spec = {"scaleTargetRef": {"name": "model"}, "triggers": [trigger]}
    return objects({"kind": "ScaledObject", "metadata": {"name": "model"}, "spec": spec})


def node_class(name: str = "own", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": name},
        "spec": {"amiSelectorTerms": [{"alias": "bottlerocket@latest"}], **spec},
    }


def account(verb: str, resource: str = "pods", **rule: Any) -> str:
    """A Role that a ServiceAccount holds."""
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": [verb], **rule}]
    api = "rbac.authorization.k8s.io/v1"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "own"}
    return objects(
        {"apiVersion": api, "kind": "Role", "metadata": {"name": "own"}, "rules": rules},
        {
            "apiVersion": api,
            "kind": "RoleBinding",
            "metadata": {"name": "own"},
            "roleRef": reference,
            "subjects": [{"kind": "ServiceAccount", "name": "runner"}],
        },
    )


def policy(*ingress: Any, namespace: str = "", selector: Any = None) -> str:
    metadata = {"name": "own", "namespace": namespace}
    spec = {
        "podSelector": {"matchLabels": {"app": "a"}} if selector is None else selector,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": list(ingress),
    }
    return objects({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec})


def namespace(labels: dict[str, str]) -> str:
    return objects({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "own", "labels": labels}})


def config_map(text: str) -> str:
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"settings.yaml": text}}
    return objects(content)


def claim(name: str = "cache", mode: str = "ReadWriteOnce", storage_class: str = "gp3") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "storageClassName": storage_class},
    }


def storage_class(mode: str = "WaitForFirstConsumer") -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "gp3"},
        "provisioner": "ebs.csi.aws.com",
        "volumeBindingMode": mode,
    }


def autoscaler(most: int) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "model"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "model"}, "minReplicas": 1, "maxReplicas": most},
    }


MOUNTED = pod_spec(volumes=[{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}])
GPU_POD = pod_spec({GPU: 1})
PLUGIN = container(pod_spec(tolerations=ANYWHERE), image=PLUGIN_IMAGE, command=["/usr/bin/nvidia-device-plugin"])
FEATURE_DISCOVERY = container(PLUGIN, command=["gpu-feature-discovery"])
SHM = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
PARALLEL = container(pod_spec({GPU: 4}), volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}])
TOKEN = [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf-secret", "key": "hf_api_token"}}}]
BOTTLEROCKET = objects(node_class()) + pool(requirements=[(FAMILY, "In", ["g6"])], node_class="own")
LATER_PROBE = {"httpGet": {"path": "/health", "port": 80}, "periodSeconds": 10, "failureThreshold": 90}
RAY: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayService",
    "metadata": {"name": "ray"},
    "spec": {"rayClusterConfig": {"workerGroupSpecs": [{"replicas": 2, "template": {"spec": pod_spec({GPU: 4})}}]}},
}
P5_RESERVED = pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 8})
PUBLIC = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}
ONE_OF_A_KIND = [("node.kubernetes.io/instance-type", "In", ["g6.xlarge"])]
ZONE_A = ("topology.kubernetes.io/zone", "In", ["us-west-2a"])

FROM_HUB = container(pod_spec(), command=["vllm"], args=["serve", "Qwen/Qwen3-1.7B"])
OFFLINE = container(FROM_HUB, env=[{"name": "HF_HUB_OFFLINE", "value": "1"}])
SHARED_CACHE = {
    **container(FROM_HUB, volumeMounts=[{"name": "cache", "mountPath": "/root/.cache/huggingface"}]),
    "volumes": MOUNTED["volumes"],
}


def workflow(account: str, *more: dict[str, Any]) -> str:
    """A WorkflowTemplate whose one step keeps an artifact, and what else is in the namespace."""
    artifact = {"name": "weights", "path": "/weights"}
    template = {"name": "train", "container": {"image": "example.com/train:1"}, "outputs": {"artifacts": [artifact]}}
    spec = {"entrypoint": "train", "serviceAccountName": account, "templates": [template]}
    content = {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", "metadata": {"name": "tune"}}
    return objects({**content, "spec": spec}, *more)


def artifact_repository(**s3: Any) -> dict[str, Any]:
    metadata = {
        "name": "artifact-repositories",
        "annotations": {"workflows.argoproj.io/default-artifact-repository": "s3"},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"s3": json.dumps({"s3": s3})}}


REPOSITORY = artifact_repository(bucket="artifacts", region="us-west-2", useSDKCreds=True)
TRAINER = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "train"}}
MAY_REPORT = (
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "train"},
        "rules": [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "train"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "train"},
        "subjects": [{"kind": "ServiceAccount", "name": "train"}],
    },
)
MODEL = {"matchLabels": {"app": "model"}}
MODELS = service(selector=MODEL["matchLabels"], ports=[{"port": 80, "targetPort": 8000}])

CASES: dict[str, tuple[str, str]] = {
    "workflow-artifacts": (
        workflow("train", artifact_repository(bucket="artifacts")),
        workflow("train", REPOSITORY),
    ),
    "workflow-service-account": (workflow("train"), workflow("train", TRAINER, *MAY_REPORT)),
    "hub-download": (deployment(FROM_HUB, replicas=2), deployment(OFFLINE, replicas=2)),
    "pod-feasibility": (G6 + deployment(pod_spec({GPU: 16})), G6 + deployment(GPU_POD)),
    "daemon-feasibility": (
        G6 + daemon_set(pod_spec(nodeSelector={"team": "red"})),
        pool(labels={"team": "red"}) + daemon_set(pod_spec(nodeSelector={"team": "red"})),
    ),
    "quantity": (deployment(pod_spec({"memory": "plenty"})), deployment(pod_spec({"memory": "16Gi"}))),
    "pool-without-types": (pool(requirements=[(FAMILY, "In", ["g66"])]), G6),
    "pool-limits": (
        pool(requirements=[(FAMILY, "In", ["p5"])], limits={"cpu": 8}),
        pool(requirements=[(FAMILY, "In", ["p5"])], limits={"cpu": 200}),
    ),
    "pool-without-fallback": (pool(requirements=[*ONE_OF_A_KIND, ZONE_A]), pool(requirements=ONE_OF_A_KIND)),
    "pool-architecture": (
        pool() + deployment(container(pod_spec(), image="rayproject/ray-ml:2.40.0")),
        pool()
        + deployment(
            container(pod_spec(nodeSelector={"kubernetes.io/arch": "amd64"}), image="rayproject/ray-ml:2.40.0")
        ),
    ),
    "device-plugin-missing": (
        G6 + daemon_set(FEATURE_DISCOVERY) + deployment(GPU_POD),
        G6 + daemon_set(PLUGIN) + deployment(GPU_POD),
    ),
    "device-plugin-twice": (
        BOTTLEROCKET + daemon_set(PLUGIN) + deployment(GPU_POD),
        BOTTLEROCKET + deployment(GPU_POD),
    ),
    "device-plugin-on-other-nodes": (
        G6 + pool("cpu", [(FAMILY, "In", ["m7i"])]) + daemon_set(PLUGIN),
        G6
        + pool("cpu", [(FAMILY, "In", ["m7i"])])
        + daemon_set({**PLUGIN, "affinity": needs("karpenter.k8s.aws/instance-gpu-count", "Gt", "0")}),
    ),
    "pool-capacity": (
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4}) + deployment(GPU_POD, replicas=5),
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4}) + deployment(GPU_POD, replicas=4),
    ),
    "autoscaler-capacity": (
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4}) + deployment(GPU_POD) + objects(autoscaler(5)),
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4}) + deployment(GPU_POD) + objects(autoscaler(4)),
    ),
    "rollout-headroom": (
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4}) + deployment(pod_spec({GPU: 4})),
        pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4})
        + deployment(pod_spec({GPU: 4}), strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
    ),
    "ray-service-upgrade": (
        P5_RESERVED + objects(RAY),
        P5_RESERVED + objects({**RAY, "spec": {**RAY["spec"], "upgradeStrategy": {"type": "None"}}}),
    ),
    "ephemeral-storage": (
        G6 + deployment(container(GPU_POD, image="docker.io/vllm/vllm-openai:v0.26.0")),
        objects(node_class(instanceStorePolicy="RAID0"))
        + pool(requirements=[(FAMILY, "In", ["g6"])], node_class="own")
        + deployment(container(GPU_POD, image="docker.io/vllm/vllm-openai:v0.26.0")),
    ),
    "block-device-name": (
        objects(node_class(blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi"}}]))
        + pool(node_class="own"),
        objects(node_class(blockDeviceMappings=[{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": "200Gi"}}]))
        + pool(node_class="own"),
    ),
    "snapshot-initialization": (
        objects(node_class(blockDeviceMappings=[{"deviceName": "/dev/xvdb", "ebs": {"snapshotID": "snap-1"}}]))
        + pool(node_class="own"),
        objects(
            node_class(
                blockDeviceMappings=[
                    {"deviceName": "/dev/xvdb", "ebs": {"snapshotID": "snap-1", "volumeInitializationRate": 300}}
                ]
            )
        )
        + pool(node_class="own"),
    ),
    "zonal-volume": (
        pool() + objects(storage_class(), claim()) + deployment(MOUNTED),
        pool(requirements=[ZONE_A]) + objects(storage_class(), claim()) + deployment(MOUNTED),
    ),
    "startup-probe": (
        deployment(container(GPU_POD, livenessProbe={**LATER_PROBE, "failureThreshold": 3})),
        deployment(container(GPU_POD, livenessProbe=LATER_PROBE)),
    ),
    "progress-deadline": (
        deployment(container(GPU_POD, startupProbe=LATER_PROBE)),
        deployment(container(GPU_POD, startupProbe=LATER_PROBE), progressDeadlineSeconds=1800),
    ),
    "secret-reference": (
        deployment(container(pod_spec(), env=TOKEN)),
        deployment(container(pod_spec(), env=TOKEN))
        + objects({"kind": "Secret", "metadata": {"name": "hf-secret"}, "data": {"hf_api_token": "aGZfMTIz"}}),
    ),
    "placeholder-secret": (
        objects({"kind": "Secret", "metadata": {"name": "hf-secret"}, "stringData": {"token": "DUMMY_REPLACE_ME"}}),
        objects({"kind": "Secret", "metadata": {"name": "hf-secret"}, "stringData": {"token": "hf_abc"}}),
    ),
    "runtime-class": (
        deployment(pod_spec(runtimeClassName="nvidia")),
        deployment(pod_spec(runtimeClassName="nvidia"))
        + objects({"kind": "RuntimeClass", "metadata": {"name": "nvidia"}}),
    ),
    "engine-memory": (G6 + engine("--max-model-len=65536"), G6 + engine("--max-model-len=8192")),
    "engine-memory-uncertain": (G6 + engine(model="openai/gpt-oss-20b"), G6 + engine("--max-model-len=8192")),
    "engine-refuses": (G6 + engine("--max-model-len=4096", "--block-size=24"), G6 + engine("--max-model-len=4096")),
    "engine-concurrency": (G6 + engine("--max-model-len=16384"), G6 + engine("--max-model-len=8192")),
    "engine-unknown-model": (G6 + engine("--max-model-len=8192", model="org/own"), G6 + engine("--max-model-len=8192")),
    "shared-memory": (
        deployment(PARALLEL),
        deployment({**PARALLEL, "volumes": [SHM]}),
    ),
    "public-endpoint": (
        objects(service(type="LoadBalancer", annotations=PUBLIC)),
        objects(service(type="LoadBalancer", annotations=PUBLIC, loadBalancerSourceRanges=["203.0.113.0/24"])),
    ),
    "service-environment": (
        objects(service("vllm")) + deployment(pod_spec()),
        objects(service("vllm")) + deployment(pod_spec(enableServiceLinks=False)),
    ),
    "mutable-image-tag": (
        deployment(container(pod_spec(), image="example.com/model:latest")),
        deployment(container(pod_spec(), image="example.com/model:latest@sha256:" + "0" * 64)),
    ),
    "termination-grace": (
        pool(spec={"template": json.loads(pool().removesuffix("---\n"))["spec"]["template"]}).replace(
            '"taints": []', '"taints": [], "terminationGracePeriod": "5m"'
        )
        + deployment(pod_spec(terminationGracePeriodSeconds=600)),
        pool() + deployment(pod_spec(terminationGracePeriodSeconds=600)),
    ),
    "consolidation-of-models": (
        G6 + deployment(GPU_POD),
        pool(requirements=[(FAMILY, "In", ["g6"])], spec={"disruption": {"consolidationPolicy": "WhenEmpty"}})
        + deployment(GPU_POD),
    ),
    "drain-longer-than-grace": (
        deployment(container(pod_spec(), lifecycle={"preStop": {"sleep": {"seconds": 30}}})),
        deployment(
            container(pod_spec(terminationGracePeriodSeconds=90), lifecycle={"preStop": {"sleep": {"seconds": 30}}})
        ),
    ),
    "zone": (
        pool(requirements=[("topology.kubernetes.io/zone", "In", ["us-west-2a", "us-west-2x"])]),
        pool(requirements=[("topology.kubernetes.io/zone", "In", ["us-west-2a"])]),
    ),
    "gateway-model-unknown": (
        config_map("model_list: [{model_name: a}]\nrouter_settings: {fallbacks: [{a: [b]}]}"),
        config_map("model_list: [{model_name: a}, {model_name: b}]\nrouter_settings: {fallbacks: [{a: [b]}]}"),
    ),
    "model-outside-regions": (
        config_map("dataRegions: [eu-*]\nmodels: {a: {hosted: {kind: openai}}, b: {url: 'http://b.own:80'}}"),
        config_map(
            "dataRegions: [eu-*]\nmodels: {a: {hosted: {kind: openai}, regions: [eu-west-1]}, b: {url: 'http://b.own.svc'}}"
        ),
    ),
    "account-escalation": (account("create"), account("get")),
    "policy-any-namespace": (
        policy({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}),
        policy({"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "x"}}}]}),
    ),
    "namespace-open": (
        namespace({}),
        namespace({"pod-security.kubernetes.io/enforce": "restricted"}) + policy(namespace="own", selector={}),
    ),
    "port-within-reach": (
        deployment(container(pod_spec(), ports=[{"name": "metrics", "containerPort": 9090}])) + workflow("runner"),
        deployment(container(pod_spec(), ports=[{"name": "http", "containerPort": 8000}])) + workflow("runner"),
    ),
    "policy-misses-target": (
        deployment(pod_spec()) + objects(MODELS) + policy({"ports": [{"port": 80}]}, selector=MODEL),
        deployment(pod_spec()) + objects(MODELS) + policy({"ports": [{"port": 8000}]}, selector=MODEL),
    ),
    "credential-in-values": (
        deployment(container(pod_spec(), env=[{"name": "HF_TOKEN", "value": "hf_abcdef"}])),
        deployment(container(pod_spec(), env=[{"name": "HF_TOKEN_PATH", "value": "/tokens/hf"}])),
    ),
    "embedded-document": (config_map("a: [1"), config_map("a: [1]")),
    "metric-unknown": (scaler("vllm:gpu_cache_usage_perc"), scaler("vllm:kv_cache_usage_perc")),
    "wake-up-signal": (scaler("vllm:num_requests_waiting"), scaler("activator_requests")),
}
"""By rule: wrong, and put right."""

ELSEWHERE = {
    "accepted-unused",
    "replicas-too-few",
    "account-lacks",
    "account-snapshot-old",
    "field-owner",
    "vcpu-quota",
    "objective-unreachable",
    "gpu-driver",
    "reservation-unused",
    "values-unused",
    "values-file",
    "region",
    "values-schema",
    "values-duplicate-key",
    "render",
    "helm-lint",
    "object-schema",
    "render-differs",
    "server-dry-run",
    "target-storage",
    "target-load-balancer",
    "target-karpenter-gate",
    "ami-release",
    "auto-mode",
    "kubernetes-support",
}
"""Rules that need Helm, kubeconform, an API server or a certain target (test_cluster_contents.py)."""


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} - ELSEWHERE == set(CASES)


@pytest.mark.parametrize("check", sorted(CASES))
def test_a_rule_is_broken_and_kept(check: str) -> None:
    wrong, right = CASES[check]
    found = findings(wrong, check)
    assert found
    assert findings(right, check) == []
    (rule,) = (rule for rule in RULES if rule.id == check)
    for each in found:
        assert each.environment == "test"
        assert each.reason.endswith(".")
        assert each.remedy
        assert each.object
        assert each.chart == "vllm"
        assert each.file == "charts/vllm/templates/objects.yaml"
        assert each.pain == rule.pain


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("zonal-volume", pool() + objects(storage_class("Immediate"), claim()) + deployment(MOUNTED)),
        ("zonal-volume", pool() + objects(storage_class(), claim()) + deployment(MOUNTED, replicas=2)),
        ("engine-memory", G6 + engine("--max-num-seqs=512", "--max-num-batched-tokens=256")),
        ("engine-memory", G6 + engine("--max-model-len=many")),
        ("engine-refuses", G6 + engine("--max-model-len=16384", model="meta-llama/Meta-Llama-3-8B-Instruct")),
        ("engine-refuses", G6 + engine("--quantization=awq", "--max-model-len=4096")),
        ("engine-memory", G6 + configured("max-model-len: 131072\nsome-new-argument: 1")),
        ("engine-refuses", G6 + configured("max-model-len: 4096\nblock_size: 24")),
        (
            "engine-refuses",
            G6 + configured("block-size: 24", mount={"mountPath": "/etc/vllm/vllm.yaml", "subPath": "v"}, key="v"),
        ),
        ("engine-memory", G6 + ray_engine("meta-llama/Llama-3.3-70B-Instruct")),
        ("engine-refuses", G6 + ray_engine("meta-llama/Meta-Llama-3-8B-Instruct", max_modellen=4096)),
        ("engine-refuses", G6 + ray_engine("microsoft/phi-4", tensor_parallel_size=4)),
        ("engine-memory", G6 + engine(model="acme/mystery-70b")),
        (
            "engine-refuses",
            pool(requirements=[(FAMILY, "In", ["g4dn"])])
            + engine("--dtype=bfloat16", "--max-model-len=4096", model="meta-llama/Llama-3.2-1B-Instruct"),
        ),
        ("engine-memory", G6 + engine(model="Qwen/Qwen3-32B")),
        (
            "engine-memory",
            G6
            + deployment(
                container(
                    pod_spec({GPU: 1}), command=["sh", "-c", "echo start\nexec vllm serve Qwen/Qwen3-32B; echo end"]
                )
            ),
        ),
        (
            "engine-memory",
            G6
            + deployment(
                container(pod_spec({GPU: 1}), image="vllm/vllm-openai:v0.26.0", args=["--model=Qwen/Qwen3-32B"])
            ),
        ),
        (
            "engine-memory",
            G6
            + deployment(
                container(pod_spec({GPU: 1}), command=[], image="nvcr.io/nim/meta/llama-3.1-70b-instruct:1", args=[])
            ),
        ),
        (
            "engine-memory",
            G6
            + deployment(
                container(pod_spec({GPU: 1}), command=["sglang", "serve"], args=["--model-path", "acme/mystery-70b"])
            ),
        ),
        ("engine-memory", G6 + objects(inference_service("meta-llama/Llama-3.3-70B-Instruct"))),
        ("hub-download", deployment(FROM_HUB) + objects(autoscaler(2))),
        ("shared-memory", deployment(container(pod_spec({GPU: 1}), args=["--tensor-parallel-size", "4"]))),
        (
            "shared-memory",
            deployment({**container(PARALLEL, resources={"limits": {"memory": "4Gi", GPU: 4}}), "volumes": [SHM]}),
        ),
        ("public-endpoint", objects(service(type="LoadBalancer"))),
        (
            "public-endpoint",
            objects(service(type="LoadBalancer", annotations=PUBLIC, loadBalancerSourceRanges=["0.0.0.0/0"])),
        ),
        (
            "public-endpoint",
            objects(
                {
                    "kind": "Ingress",
                    "metadata": {"name": "in", "annotations": {"alb.ingress.kubernetes.io/scheme": "internet-facing"}},
                }
            ),
        ),
        ("mutable-image-tag", deployment(container(pod_spec(), image="registry.example.com:5000/model"))),
        ("mutable-image-tag", deployment(container(pod_spec(), image="example.com/model:nightly-2025"))),
        (
            "drain-longer-than-grace",
            deployment(container(pod_spec(), lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 45"]}}})),
        ),
        (
            "device-plugin-missing",
            G6 + daemon_set({**PLUGIN, "nodeSelector": {"nvidia.com/gpu.present": "true"}}) + deployment(GPU_POD),
        ),
        ("device-plugin-twice", G6 + daemon_set(PLUGIN, "one") + daemon_set(PLUGIN, "two") + deployment(GPU_POD)),
        (
            "pod-feasibility",
            G6 + deployment(pod_spec(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "gpu"}])),
        ),
    ],
)
def test_more_that_a_rule_complains_of(check: str, wrong: str) -> None:
    assert findings(wrong, check)


def test_a_secret_that_the_environment_expects_is_fine_but_for_its_keys() -> None:
    wanted = deployment(container(pod_spec(), env=TOKEN))
    assert findings(wanted, "secret-reference", secrets={"hf-secret": ("hf_api_token",)}) == []
    (wrong,) = findings(wanted, "secret-reference", secrets={"hf-secret": ("token",)})
    assert "key hf_api_token of the Secret hf-secret, which holds token" in wrong.reason


@pytest.mark.parametrize(("spec", "replicas"), [(FROM_HUB, 1), (SHARED_CACHE, 3)])
def test_weights_that_are_downloaded_once_are_fine(spec: dict[str, Any], replicas: int) -> None:
    assert findings(deployment(spec, replicas=replicas), "hub-download") == []


def test_a_rollout_that_only_goes_slower_is_a_warning() -> None:
    limits = pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 4})
    (found,) = findings(limits + deployment(GPU_POD, replicas=4), "rollout-headroom")
    assert found.severity is Severity.WARNING


def test_an_environment_without_node_pools_is_not_judged_by_them() -> None:
    assert findings(deployment(pod_spec({GPU: 16})), "pod-feasibility") == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("45s", 45), ("Never", None), ("", None), ("500ms", 0.5)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_an_engine_whose_shape_the_suite_holds_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = G6 + engine("--max-model-len=8192", model="acme/own")
    (unknown,) = findings(text, "engine-unknown-model")
    assert "values/shapes/acme--own.json" in unknown.remedy
    (tmp_path / "values" / "shapes").mkdir(parents=True)
    (tmp_path / "values" / "shapes" / "acme--own.json").write_text(json.dumps(LLAMA))
    monkeypatch.chdir(tmp_path)
    assert not [found for found in findings(text) if found.check.startswith("engine-")]
