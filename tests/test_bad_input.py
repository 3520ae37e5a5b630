"""Bad input: each kind gets an error that a platform engineer understands, before anything is started."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Drydock

MODEL = "vllm.models.llama-3-8b"
NVIDIA_POOL = "karpenter-nodepools.nodePools.gpu"


def findings(drydock: Drydock, *arguments: str | Path) -> list[dict[str, Any]]:
    """What `validate dev` finds, with its exit status and silence checked."""
    done = drydock("validate", "dev", "--format", "json", *arguments)
    assert "Traceback" not in done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == int(any(each["severity"] == "error" for each in found))
    return found


def test_the_environment_itself_is_clean(drydock: Drydock) -> None:
    assert findings(drydock) == []


@pytest.mark.parametrize("verb", ["render", "validate", "rehearse"])
def test_an_unknown_environment(drydock: Drydock, verb: str) -> None:
    done = drydock(verb, "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown environment 'nope'\n  Known: airgap, auto-mode, dev, prod" in done.stderr


def test_an_unknown_key_and_a_wrong_type_with_file_and_line(drydock: Drydock, tmp_path: Path) -> None:
    values = tmp_path / "mine.yaml"
    values.write_text("vllm:\n  models:\n    llama-3-8b:\n      replicaz: 2\n      replicas: two\n")
    by_line = {each["line"]: each for each in findings(drydock, "-f", values)}
    assert by_line[4]["path"] == f"{MODEL}.replicaz"
    assert "Did you mean replicas?" in by_line[4]["remedy"]
    assert by_line[5]["path"] == f"{MODEL}.replicas"
    assert by_line[5]["file"].endswith("mine.yaml")
    assert "integer" in by_line[5]["remedy"]


def test_a_values_file_that_is_not_yaml(drydock: Drydock, tmp_path: Path) -> None:
    values = tmp_path / "mine.yaml"
    values.write_text("vllm:\n  models: [\n")
    for verb in ("validate", "render"):
        done = drydock(verb, "dev", "-f", values)
        assert done.returncode != 0
        assert "mine.yaml" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_model_that_asks_for_more_gpus_than_any_allowed_instance_has(drydock: Drydock) -> None:
    (found,) = (
        each
        for each in findings(drydock, "--set", f"{MODEL}.accelerator.count=16")
        if each["check"] == "pod-feasibility"
    )
    assert found["object"] == "Deployment/genai/genai-vllm-llama-3-8b"
    assert "needs 16 nvidia.com/gpu" in found["reason"]
    assert "Ask for 1 nvidia.com/gpu or less" in found["remedy"]


def test_a_pool_whose_requirements_match_no_instance_type(drydock: Drydock) -> None:
    key = r"karpenter\.k8s\.aws/instance-family"
    found = findings(drydock, "--set", f"{NVIDIA_POOL}.requirements.{key}.values={{g99}}")
    (pool,) = (each for each in found if each["check"] == "pool-without-types")
    assert pool["object"] == "NodePool/gpu"
    assert "no instance type" in pool["reason"]


def test_a_model_pinned_to_a_pool_without_its_accelerator(drydock: Drydock) -> None:
    (found,) = (
        each
        for each in findings(drydock, "--set", f"{MODEL}.accelerator.pool=general-cpu")
        if each["check"] == "pod-feasibility"
    )
    assert "general-cpu: none of its" in found["reason"]


def test_an_internet_facing_endpoint_without_key_allow_list_or_certificate(drydock: Drydock) -> None:
    public = [
        "--set",
        f"{MODEL}.service.type=LoadBalancer",
        "--set",
        f"{MODEL}.service.loadBalancer.scheme=internet-facing",
    ]
    key = ["--set", f"{MODEL}.apiKeySecret.name=llama-key"]
    ranges = ["--set", f"{MODEL}.service.loadBalancer.sourceRanges.office=203.0.113.0/24"]
    certificate = [
        "--set",
        f"{MODEL}.service.loadBalancer.certificateArn=arn:aws:acm:us-west-2:111122223333:certificate/1",
    ]
    guards = (key, ranges, certificate)
    for missing in guards:
        arguments = public + [argument for guard in guards if guard is not missing for argument in guard]
        (found,) = (finding for finding in findings(drydock, *arguments) if finding["severity"] == "error")
        assert "internet-facing" in found["reason"]
    assert drydock("render", "dev", *public, *key, *ranges).returncode == 1
    assert drydock("render", "dev", *public, *key, *ranges, *certificate).returncode == 0


def test_a_missing_values_file(drydock: Drydock) -> None:
    done = drydock("rehearse", "dev", "-f", "nowhere.yaml")
    assert done.returncode == 2
    assert "error: -f nowhere.yaml: no such file" in done.stderr


def test_an_unknown_verb_and_option_are_refused_with_a_hint(drydock: Drydock) -> None:
    assert drydock("rehearze", "dev").returncode == 2
    done = drydock("render", "dev", "--chrat", "vllm")
    assert done.returncode == 2
    assert "--chart" in done.stderr


def test_a_chart_that_does_not_exist(drydock: Drydock) -> None:
    done = drydock("render", "dev", "--chart", "vlmm")
    assert done.returncode == 2
    assert "--chart vlmm: no such chart" in done.stderr
    assert "vllm" in done.stderr


def test_a_project_without_the_charts(drydock: Drydock, tmp_path: Path) -> None:
    done = drydock("environments", env={"DRYDOCK_PROJECT": str(tmp_path)})
    assert done.returncode == 2
    assert "has no charts/genai-platform/Chart.yaml" in done.stderr


@pytest.mark.parametrize("verb", ["render", "rehearse"])
def test_values_that_helm_refuses_start_nothing(drydock: Drydock, verb: str) -> None:
    done = drydock(verb, "dev", "--set", f"{MODEL}.service.type=Sideways")
    assert done.returncode == 1
    assert f"{MODEL}.service.type" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["images", "diagram"])
def test_the_error_of_helm_without_what_it_logs_beside_it(drydock: Drydock, verb: str) -> None:
    done = drydock(verb, "dev", "--set", "vllm.models=5")
    assert done.returncode == 1
    assert "does not render: values don't meet the specifications of the schema(s)" in done.stderr
    assert "at '/models': got number, want object" in done.stderr
    assert "level=" not in done.stderr


def test_a_chart_whose_values_are_not_a_map(drydock: Drydock) -> None:
    done = drydock("images", "dev", "--set", "vllm=3")
    assert "does not render: vllm: 3 is not a map of values" in done.stderr


def test_what_a_template_refuses_has_no_hint_of_helm(drydock: Drydock) -> None:
    public = f"{MODEL}.service.type=LoadBalancer,{MODEL}.service.loadBalancer.scheme=internet-facing"
    done = drydock("images", "dev", "--set", public)
    assert "set apiKeySecret.name, or scheme to internal" in done.stderr
    assert "--debug" not in done.stderr


@pytest.mark.cluster
def test_what_only_a_real_api_server_refuses(drydock: Drydock) -> None:
    arguments = ("--set", r"karpenter-nodepools.nodePools.gpu.labels.karpenter\.sh/custom=x")
    assert findings(drydock, *arguments) == []
    (found,) = findings(drydock, "--server", *arguments)
    assert (found["check"], found["object"]) == ("server-dry-run", "NodePool/gpu")
    assert 'label domain "karpenter.sh" is restricted' in found["reason"]


def test_a_port_in_use_is_told_before_anything_starts(drydock: Drydock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = drydock("rehearse", "dev", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in done.stderr
    assert "Start the control plane" not in done.stderr


def test_a_rehearsal_is_refused_by_what_validation_finds(drydock: Drydock) -> None:
    done = drydock("rehearse", "dev", "--set", f"{MODEL}.accelerator.count=16")
    assert done.returncode == 1
    assert "needs 16 nvidia.com/gpu" in done.stderr
    assert "nothing was started" in done.stderr
