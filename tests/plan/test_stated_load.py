"""The load that an environment states against the replicas of its values."""

import json
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.registry import run_checks
from drydock.documents import load_yaml_file
from drydock.loadtest.presets import presets
from drydock.plan.stated_load import CHECK, check
from drydock.suite.environments import Accepted, Load
from tests.checks.helpers import subject
from tests.conftest import ROOT
from tests.scheduling.builders import deployment, pod_spec, pool

GPU = "nvidia.com/gpu"
NAME = "llama-3-8b"
OBJECTIVES = {"ttft_p95_ms": 1000}


def engine(replicas: int, *arguments: str) -> str:
    spec = pod_spec({GPU: 1})
    words = ["serve", "meta-llama/Meta-Llama-3-8B-Instruct", "--dtype=bfloat16", "--max-model-len=8192"]
    container = {**spec["containers"][0], "command": ["vllm"], "args": [*words, f"--served-model-name={NAME}"]}
    return deployment({**spec, "containers": [container]}, replicas=replicas)


def found(replicas: int, text: str = "", **environment: Any) -> list[Finding]:
    pools = pool("gpu", [("karpenter.k8s.aws/instance-family", "In", ["g5"])])
    return list(check(subject(f"{pools}{engine(replicas)}{text}", environment=environment)))


def test_replicas_that_miss_the_objectives_at_the_stated_load_are_found_with_what_would_do() -> None:
    (short,) = found(1, load={NAME: Load(8.0)}, objectives=OBJECTIVES)
    assert "llama-3-8b must serve 8 requests/s of chat, and with 1 replica on a10g" in short.reason
    assert "ttft_p95_ms is" in short.reason
    needed = int(short.remedy.split(" to ")[1].split()[0])
    assert needed > 1
    assert found(needed - 1, load={NAME: Load(8.0)}, objectives=OBJECTIVES)
    assert not found(needed, load={NAME: Load(8.0)}, objectives=OBJECTIVES)


def test_nothing_is_said_where_no_load_is_stated_or_it_is_met() -> None:
    assert not found(1, objectives=OBJECTIVES)
    assert not found(1, load={NAME: Load(0.1)}, objectives=OBJECTIVES)
    assert not found(0, load={NAME: Load(8.0)}, objectives=OBJECTIVES), "asleep on purpose"


def test_the_maximum_of_an_autoscaler_counts() -> None:
    scaler: dict[str, Any] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "model"}, "minReplicas": 1, "maxReplicas": 64},
    }
    load = {NAME: Load(8.0)}
    assert not found(1, f"\n---\n{json.dumps(scaler)}", load=load, objectives=OBJECTIVES)
    scaler["spec"]["maxReplicas"] = 1
    (short,) = found(1, f"\n---\n{json.dumps(scaler)}", load=load, objectives=OBJECTIVES)
    assert "1 replica at most" in short.reason
    assert "maxReplicas" in short.remedy


def test_a_model_that_nothing_serves_is_named_with_the_nearest() -> None:
    (unknown,) = found(1, load={"llama-3-8": Load(8.0)})
    assert unknown.reason == "load names llama-3-8, which no engine of the environment serves."
    assert "Did you mean llama-3-8b?" in unknown.remedy


def test_an_entry_under_accepted_takes_it_away_as_any_other_finding() -> None:
    pools = pool("gpu", [("karpenter.k8s.aws/instance-family", "In", ["g5"])])
    entry = Accepted(CHECK, "Deployment/model", "Nights are slow on purpose.")
    environment = {"load": {NAME: Load(8.0)}, "objectives": OBJECTIVES, "accepted": (entry,)}
    kept = run_checks(subject(f"{pools}{engine(1)}", environment=environment), (check,))
    assert {each.check for each in kept if not each.accepted}.isdisjoint({CHECK, "accepted-unused"})


def test_the_workloads_of_the_schema_are_the_load_tests() -> None:
    schema = load_yaml_file(ROOT / "scripts/drydock/data/environment.schema.yaml")
    stated = schema["properties"]["load"]["additionalProperties"]["properties"]["workload"]["enum"]
    assert stated == list(presets())
