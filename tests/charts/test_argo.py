"""Argo Workflows, and the pipeline's WorkflowTemplate. What the stages do is in tests/charts/pipeline."""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from drydock.documents import load_yaml
from drydock.errors import RenderError
from drydock.project import UMBRELLA
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import POD_IDENTITY, by_name
from tests.charts.pipeline.conftest import SCRIPTS

CHART = "argo"
CONTROLLER = "genai-argo-workflow-controller"
SERVER = "genai-argo-server"
PIPELINE: dict[str, Any] = {
    "data": "s3://data/assistant",
    "baseModel": "org/base",
    "models": "s3://models/assistant/",
    "deployment": {"model": "assistant"},
}


def render(render_chart: RenderChart, pipeline: Mapping[str, Any] | None = None, **values: Any) -> tuple[Manifest, ...]:
    """The chart with one pipeline."""
    fixed = {
        "global": {"region": "us-west-2"},
        "artifactRepository": {"bucket": "artifacts"},
        "pipelines": {"assistant": {**PIPELINE, **(pipeline or {})}},
    }
    return render_chart(CHART, {**fixed, **values})


def workflow(manifests: Iterable[Manifest]) -> Any:
    """Spec of the one WorkflowTemplate."""
    (found,) = by_name(manifests, "WorkflowTemplate").values()
    return found["spec"]


def templates(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """Templates of the workflow by name."""
    return {each["name"]: each for each in workflow(manifests)["templates"]}


def parameters(manifests: Iterable[Manifest]) -> dict[str, str]:
    """Parameters of the workflow by name."""
    return {each["name"]: each["value"] for each in workflow(manifests)["arguments"]["parameters"]}


def tasks(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """Tasks of the pipeline by name."""
    return {each["name"]: each for each in templates(manifests)["pipeline"]["dag"]["tasks"]}


def configuration(manifests: Iterable[Manifest]) -> Any:
    """What the controller reads."""
    return load_yaml(by_name(manifests, "ConfigMap")["workflow-controller-configmap"]["data"]["config"])


def rules(manifests: Iterable[Manifest], name: str) -> Any:
    """Rules of a Role."""
    return by_name(manifests, "Role")[name]["rules"]


def arguments(container: Any, name: str) -> Any:
    """Deployment's arguments that name a flag."""
    return [each.partition("=")[2] for each in container["args"] if each.partition("=")[0] == f"--{name}"]


def test_the_seven_stages_follow_one_another(render_chart: RenderChart) -> None:
    manifests = render(render_chart)
    used = [each["template"] for each in tasks(manifests).values()]
    stages = [
        "data-preparation",
        "model-configuration",
        "fine-tuning",
        "validation",
        "hyperparameter-tuning",
        "model-evaluation",
        "deployment",
    ]
    assert [each for each in used if each in stages] == stages
    scripts = by_name(manifests, "ConfigMap")["genai-argo-scripts"]["data"]
    for stage in stages:
        command, script = templates(manifests)[stage]["container"]["command"]
        assert command == "python3"
        assert script.removeprefix("/opt/pipeline/") in scripts
    depends = {name: task.get("depends", "") for name, task in tasks(manifests).items()}
    assert depends["deploy"] == "evaluate && (approve.Succeeded || approve.Skipped)"
    assert depends["evaluate"] == "choose"
    assert depends["choose"] == "validate && (tune.Succeeded || tune.Skipped)"


def test_what_a_stage_reads_another_has_written_under_the_same_key(render_chart: RenderChart) -> None:
    written: dict[str, str] = {}
    read: dict[str, list[str]] = {}
    for name, template in templates(render(render_chart)).items():
        for artifact in template.get("outputs", {}).get("artifacts", ()):
            written[artifact["s3"]["key"]] = name
            assert artifact["archive"] == {"none": {}}
        for artifact in template.get("inputs", {}).get("artifacts", ()):
            read.setdefault(artifact["s3"]["key"], []).append(name)
    prefix = "workflows/{{workflow.namespace}}/{{workflow.name}}"
    assert {key.removeprefix(f"{prefix}/") for key in read} == {
        "dataset",
        "configuration.json",
        "candidates",
        "best.json",
    }
    assert set(read) - {f"{prefix}/candidates"} <= set(written)
    assert f"{prefix}/candidates/{{{{inputs.parameters.name}}}}.json" in written


def test_a_grid_becomes_trials_beside_the_settings(render_chart: RenderChart) -> None:
    grid = {"learningRate": [0.00003, 0.0001], "epochs": [1, 2], "batchSize": None}
    with pytest.raises(RenderError):
        render(render_chart, {"grid": {"learningRate": []}})
    manifests = render(render_chart, {"grid": {key: value for key, value in grid.items() if value}})
    trials = json.loads(parameters(manifests)["trials"])
    seen = [(each["learningRate"], each["epochs"]) for each in trials]
    assert sorted(seen) == sorted(itertools.product([0.00003, 0.0001], [1, 2]))
    assert len({each["name"] for each in trials}) == 4
    assert tasks(manifests)["tune"]["withParam"] == "{{workflow.parameters.trials}}"
    assert json.loads(parameters(render(render_chart))["trials"]) == []


def test_a_trial_that_fails_stops_none_of_the_others(render_chart: RenderChart) -> None:
    trial = templates(render(render_chart, {"parallelTrials": 3}))["trial"]
    for (step,) in trial["steps"]:
        assert step["continueOn"] == {"failed": True, "error": True}
    (semaphore,) = trial["synchronization"]["semaphores"]
    held = by_name(render(render_chart, {"parallelTrials": 3}), "ConfigMap")[semaphore["configMapKeyRef"]["name"]]
    assert held["data"][semaphore["configMapKeyRef"]["key"]] == "3"


def test_only_what_trains_and_measures_has_an_accelerator(render_chart: RenderChart) -> None:
    wanted = {"accelerator": {"kind": "nvidia", "count": 2, "pool": "gpu", "gpuNames": ["l40s"]}}
    for name, template in templates(render(render_chart, wanted)).items():
        if "container" not in template:
            continue
        limits = template["container"]["resources"]["limits"]
        if name in ("fine-tuning", "validation", "model-evaluation"):
            assert limits["nvidia.com/gpu"] == "2"
            assert template["nodeSelector"] == {"karpenter.sh/nodepool": "gpu"}
            assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in template["tolerations"]
            assert template["metadata"]["annotations"] == {"karpenter.sh/do-not-disrupt": "true"}
        else:
            assert "nvidia.com/gpu" not in limits
            assert "nodeSelector" not in template


def test_an_interrupted_stage_is_tried_again_and_a_failed_one_is_not(render_chart: RenderChart) -> None:
    template = templates(render(render_chart, {"retry": {"limit": 3, "backoffSeconds": 10}}))["fine-tuning"]
    retry = template["retryStrategy"]
    assert retry["limit"] == "3"
    for sign in ('lastRetry.status == "Error"', '"75"', '"143"', "imminent node shutdown", "pod deleted"):
        assert sign in retry["expression"]
    assert "137" not in retry["expression"], "out of memory would be out of memory again"
    assert arguments(template["container"], "checkpoint") == [
        "s3://artifacts/workflows/{{workflow.namespace}}/{{workflow.name}}/checkpoints/{{inputs.parameters.name}}"
    ]
    patch = json.loads(workflow(render(render_chart, {"graceSeconds": 100}))["podSpecPatch"])
    assert patch == {"enableServiceLinks": False, "terminationGracePeriodSeconds": 100}


def test_deployment_has_a_gate_and_an_approval(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {"minimumScore": 0.7, "minimumGain": 0.05, "approval": False})
    assert parameters(manifests)["approval"] == "false"
    assert tasks(manifests)["approve"]["when"] == "{{workflow.parameters.approval}} == true"
    assert templates(manifests)["approval"]["suspend"] == {}
    assert (parameters(manifests)["minimumScore"], parameters(manifests)["minimumGain"]) == ("0.7", "0.05")
    assert parameters(render(render_chart))["approval"] == "true", "unasked, nothing is deployed without somebody"
    without = render(render_chart, {"deployment": {"enabled": False}})
    assert not {"approve", "deploy"} & set(tasks(without))
    assert "genai-argo-assistant-deployment" not in by_name(without, "Role")


def test_deployment_may_touch_one_deployment_that_vllm_has(render_chart: RenderChart) -> None:
    model = {"source": {"s3": {"uri": "s3://models/assistant"}, "size": "2Gi"}}
    values = {
        "global": {"clusterName": "dev", "region": "us-west-2"},
        "argo": {"enabled": True, "artifactRepository": {"bucket": "artifacts"}, "pipelines": {"assistant": PIPELINE}},
        "vllm": {"models": {"assistant": model}},
    }
    manifests = render_chart(UMBRELLA, values)
    (rule,) = rules(manifests, "genai-argo-assistant-deployment")
    (name,) = rule["resourceNames"]
    assert set(rule["verbs"]) == {"get", "watch", "patch"}
    deployment = by_name(manifests, "Deployment")[name]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    stage = templates(manifests)["deployment"]
    assert arguments(stage["container"], "deployment") == [name]
    (mounted,) = arguments(stage["container"], "mount-path")
    stage_script = (SCRIPTS / "deployment.py").read_text()
    (variable,) = re.findall(r'^VARIABLE = "(.+)"$', stage_script, re.M)
    (annotation,) = re.findall(r'^ANNOTATION = "(.+)"$', stage_script, re.M)
    assert container["args"][0] == f"{mounted}{variable}"
    folder = {entry["name"]: entry for entry in container["env"]}[variable[2:-1]]
    assert folder["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.annotations['{annotation}']"
    assert annotation not in deployment["spec"]["template"]["metadata"].get("annotations", {}), "Helm would set it back"
    (subject,) = by_name(manifests, "RoleBinding")["genai-argo-assistant-deployment"]["subjects"]
    assert subject["name"] == stage["serviceAccountName"]


def test_long_names_stay_those_of_the_vllm_chart(render_chart: RenderChart) -> None:
    long = "a-model-with-a-name-that-is-rather-long-in-truth"
    values = {
        "global": {"clusterName": "dev", "region": "us-west-2"},
        "argo": {
            "enabled": True,
            "artifactRepository": {"bucket": "artifacts"},
            "pipelines": {"a": {**PIPELINE, "deployment": {"model": long}}},
        },
        "vllm": {"models": {long: {"source": {"s3": {"uri": "s3://models/a"}, "size": "2Gi"}}}},
    }
    manifests = render_chart(UMBRELLA, values)
    (rule,) = rules(manifests, "genai-argo-a-deployment")
    assert rule["resourceNames"][0] in by_name(manifests, "Deployment")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (None, "is not an enabled model of vllm.models"),
        ({"source": {"huggingFace": {"id": "org/a"}, "size": "2Gi"}}, "does not follow a pipeline"),
        (
            {"source": {"s3": {"uri": "s3://models/a"}, "size": "2Gi"}, "multiNode": {"enabled": True}},
            "does not follow",
        ),
    ],
)
def test_a_model_that_no_pipeline_can_change_is_refused(render_chart: RenderChart, model: Any, reason: str) -> None:
    values = {
        "global": {"clusterName": "dev", "region": "us-west-2"},
        "argo": {
            "enabled": True,
            "artifactRepository": {"bucket": "artifacts"},
            "pipelines": {"a": {**PIPELINE, "deployment": {"model": "served"}}},
        },
        "vllm": {"models": {"served": model}},
    }
    with pytest.raises(RenderError, match=f"argo.pipelines.a.deployment.model: .*{reason}"):
        render_chart(UMBRELLA, values)


def test_each_kind_of_stage_has_a_service_account_that_may_only_report(render_chart: RenderChart) -> None:
    manifests = render(render_chart)
    used = {each["serviceAccountName"] for each in templates(manifests).values() if "serviceAccountName" in each}
    assert used == {f"genai-argo-{kind}" for kind in ("data", "training", "evaluation", "deployment")}
    assert used <= set(by_name(manifests, "ServiceAccount"))
    assert rules(manifests, "genai-argo-executor") == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]
    bound = {
        subject["name"]: name
        for name, binding in by_name(manifests, "RoleBinding").items()
        for subject in binding["subjects"]
        if name != "genai-argo-executor" and subject["name"] in used
    }
    assert bound == {"genai-argo-deployment": "genai-argo-assistant-deployment"}


def test_training_on_ray_is_the_same_script(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {"ray": {"enabled": True}, "accelerator": {"pool": "gpu"}})
    template = templates(manifests)["fine-tuning"]
    job = load_yaml(template["resource"]["manifest"])
    assert job["kind"] == "RayJob"
    assert job["spec"]["entrypoint"] == "python3 /opt/pipeline/fine_tuning.py"
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert head["resources"]["limits"]["memory"] == "5Gi", "a bare head takes 2.7 GiB"
    assert {entry["name"]: entry.get("value") for entry in head["env"]}["AWS_DEFAULT_REGION"] == "us-west-2"
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert cluster["workerGroupSpecs"][0]["rayStartParams"] == {"num-gpus": str(job["spec"]["entrypointNumGpus"])}
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert worker["nodeSelector"] == {"karpenter.sh/nodepool": "gpu"}
    policy = by_name(manifests, "NetworkPolicy")["genai-argo-ray"]["spec"]
    for group in cluster["headGroupSpec"], *cluster["workerGroupSpecs"]:
        assert policy["podSelector"]["matchLabels"].items() <= group["template"]["metadata"]["labels"].items()
    own = [{"podSelector": policy["podSelector"]}]
    members, jobs = policy["ingress"]
    assert members == {"from": own}
    assert jobs["ports"] == [{"port": 8265, "protocol": "TCP"}]
    (operator,) = jobs["from"]
    (names,) = operator["namespaceSelector"]["matchExpressions"]
    assert (names["key"], names["values"]) == ("kubernetes.io/metadata.name", ["genai"])
    assert {"to": own} in policy["egress"]
    assert POD_IDENTITY in policy["egress"]
    (rule,) = rules(manifests, "genai-argo-assistant-ray")
    assert rule["resources"] == ["rayjobs"]
    without = render(render_chart)
    assert "genai-argo-assistant-ray" not in by_name(without, "Role")
    assert "genai-argo-ray" not in by_name(without, "NetworkPolicy")


def test_what_people_choose_stays_data_in_a_ray_job(render_chart: RenderChart) -> None:
    """Argo puts parameters into the manifest's text. Only what makes base64 of them may stand there."""
    manifests = render(render_chart, {"ray": {"enabled": True}})
    text = templates(manifests)["fine-tuning"]["resource"]["manifest"]
    variables = set(re.findall(r"\{\{([^}]*)\}\}", text))
    assert {each for each in variables if not each.startswith("=sprig.b64enc(")} == {
        "workflow.name",
        "workflow.namespace",
    }
    job = load_yaml(text)
    (container,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["TRAINING_CHANGES"] == "{{=sprig.b64enc(inputs.parameters.changes)}}"
    assert environment["TRAINING_FOLDER"] == "s3://artifacts/workflows/{{workflow.namespace}}/{{workflow.name}}"


def test_training_on_ray_finds_a_share_of_a_gpu(render_chart: RenderChart) -> None:
    def worker(**values: Any) -> Any:
        sharing = {"region": "us-west-2", "gpuSharing": {"halves": "nvidia.com/gpu.shared"}}
        manifests = render(render_chart, {"ray": {"enabled": True}, **values}, **{"global": sharing})
        job = load_yaml(templates(manifests)["fine-tuning"]["resource"]["manifest"])
        (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        return group, {
            key: job["spec"][key] for key in ("entrypointNumGpus", "entrypointNumCpus") if key in job["spec"]
        }

    group, asked = worker(accelerator={"share": "halves"})
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"
    assert (group["rayStartParams"], asked) == ({"num-gpus": "1"}, {"entrypointNumGpus": 1}), (
        "Ray counts what KubeRay does not see"
    )
    group, asked = worker(accelerator={"kind": "none"})
    assert (group["rayStartParams"], asked) == ({}, {"entrypointNumCpus": 1}), "the head has no CPU of Ray's"


def test_without_the_controller_our_own_objects_stay(render_chart: RenderChart) -> None:
    manifests = render(render_chart, controller={"enabled": False}, server={"enabled": False})
    kinds = {each.kind for each in manifests}
    assert not {"Deployment", "Service", "PodDisruptionBudget", "ClusterRole"} & kinds
    assert not [each.name for each in manifests if "controller" in each.name or "server" in each.name]
    assert {"WorkflowTemplate", "ServiceAccount", "Role", "ConfigMap", "NetworkPolicy"} <= kinds
    assert workflow(manifests)["artifactRepositoryRef"]["configMap"] in by_name(manifests, "ConfigMap")


def test_rights_are_named_one_by_one(render_chart: RenderChart) -> None:
    secrets: set[str] = set()
    for wide in (False, True):
        manifests = render(render_chart, controller={"clusterWide": wide}, archive={"enabled": True, "host": "db"})
        assert bool(by_name(manifests, "ClusterRole")) == wide
        for manifest in manifests:
            if manifest.kind not in ("Role", "ClusterRole"):
                continue
            for rule in manifest.content["rules"]:
                assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
                if "secrets" in rule["resources"]:
                    secrets |= {*rule["resourceNames"]}
                    assert rule["verbs"] == ["get"]
    assert secrets == {"argo-workflows-agent-ca-certificates", "argo-postgres"}
    (controller,) = _containers(render(render_chart), CONTROLLER)
    assert "--namespaced" in controller["args"]
    (controller,) = _containers(render(render_chart, controller={"clusterWide": True}), CONTROLLER)
    assert "--namespaced" not in controller["args"]


def _containers(manifests: Iterable[Manifest], name: str) -> Any:
    return by_name(manifests, "Deployment")[name]["spec"]["template"]["spec"]["containers"]


def test_the_server_is_not_public_and_asks_who_comes(render_chart: RenderChart) -> None:
    manifests = render(render_chart)
    assert by_name(manifests, "Service")[SERVER]["spec"]["type"] == "ClusterIP"
    policy = by_name(manifests, "NetworkPolicy")[SERVER]["spec"]
    assert policy["ingress"] == []
    assert POD_IDENTITY in policy["egress"]  # artifacts and kept logs come from S3
    (server,) = _containers(manifests, SERVER)
    assert [each for each in server["args"] if "auth-mode" in each] == ["--auth-mode=client"]
    assert "--secure=true" in server["args"]
    with pytest.raises(RenderError, match="no user could log in"):
        render(render_chart, server={"auth": {"client": False}})
    for rule in rules(manifests, SERVER):
        if "argoproj.io" in rule["apiGroups"]:
            assert rule["verbs"] == ["get", "list", "watch"]


def test_single_sign_on_gives_groups_their_own_rights(render_chart: RenderChart) -> None:
    groups = {
        "research": {"rule": "'research' in groups", "access": "edit"},
        "everybody": {"rule": "true", "access": "view", "precedence": 0},
    }
    sso = {"enabled": True, "issuer": "https://id.example", "redirectUrl": "https://a.example/oauth2/callback"}
    with pytest.raises(RenderError, match=r"sso\.groups"):
        render(render_chart, server={"auth": {"sso": sso}})
    with pytest.raises(RenderError, match="set issuer and redirectUrl"):
        render(render_chart, server={"auth": {"sso": {"enabled": True}}})
    manifests = render(render_chart, server={"auth": {"client": False, "sso": {**sso, "groups": groups}}})
    (server,) = _containers(manifests, SERVER)
    assert [each for each in server["args"] if "auth-mode" in each] == ["--auth-mode=sso"]
    assert configuration(manifests)["sso"]["rbac"] == {"enabled": True}
    account = by_name(manifests, "ServiceAccount")["genai-argo-group-research"]
    assert account["metadata"]["annotations"]["workflows.argoproj.io/rbac-rule"] == "'research' in groups"
    verbs = {
        name: {verb for rule in rules(manifests, f"genai-argo-group-{name}") for verb in rule["verbs"]}
        for name in groups
    }
    assert "create" in verbs["research"]
    assert verbs["everybody"] == {"get", "list", "watch"}
    for secret in by_name(manifests, "Secret").values():
        assert not {"data", "stringData"} & set(secret)


def test_retention_and_archive_are_configured(render_chart: RenderChart) -> None:
    retention = {"successSeconds": 60, "failureSeconds": 120, "completed": 5, "failed": 7}
    archive = {"enabled": True, "host": "db.example", "ttl": "30d"}
    config = configuration(render(render_chart, retention=retention, archive=archive))
    assert config["workflowDefaults"]["spec"]["ttlStrategy"] == {"secondsAfterSuccess": 60, "secondsAfterFailure": 120}
    assert config["retentionPolicy"] == {"completed": 5, "failed": 7, "errored": 7}
    assert config["persistence"]["archiveTTL"] == "30d"
    assert config["persistence"]["postgresql"]["passwordSecret"] == {"name": "argo-postgres", "key": "password"}
    with pytest.raises(RenderError, match=r"archive\.host"):
        render(render_chart, archive={"enabled": True})


def test_pods_of_workflows_are_restricted(render_chart: RenderChart) -> None:
    manifests = render(render_chart)
    spec = workflow(manifests)
    assert spec["securityContext"]["runAsNonRoot"] is True
    executor = configuration(manifests)["executor"]["securityContext"]
    assert (executor["allowPrivilegeEscalation"], executor["capabilities"]) == (False, {"drop": ["ALL"]})
    assert "readOnlyRootFilesystem" not in executor, "the init container of a resource template writes to /tmp"
    for template in spec["templates"]:
        if "container" in template:
            assert template["container"]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    policy = by_name(manifests, "NetworkPolicy")["genai-argo-pipeline"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= spec["podMetadata"]["labels"].items()
    assert policy["ingress"] == []
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert ports == {53, 80, 443, 6443}


def test_stages_without_accelerator_may_have_an_image_of_their_own(render_chart: RenderChart) -> None:
    small = templates(render(render_chart, {"cpuImage": {"repository": "own/small", "tag": "1"}}))
    images = {name: each["container"]["image"] for name, each in small.items() if "container" in each}
    own = {name for name, image in images.items() if image == "docker.io/own/small:1"}
    assert own == {"data-preparation", "model-configuration", "hyperparameter-tuning", "deployment"}
    assert {image for name, image in images.items() if name not in own} == {"docker.io/vllm/vllm-openai:v0.26.0"}
