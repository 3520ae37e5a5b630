"""An environment that asks for more than the GPUs give that its pools may buy is told so before anything is bought."""

from typing import Any

import pytest

from drydock.checks.findings import Severity
from tests.checks.helpers import findings
from tests.scheduling.builders import deployment, pod_spec, pool

GPU = "nvidia.com/gpu"
FAMILY = "karpenter.k8s.aws/instance-family"
CHECK = "objective-unreachable"


def engine(*arguments: str) -> str:
    spec = pod_spec({GPU: 1})
    words = ["serve", "meta-llama/Meta-Llama-3-8B-Instruct", "--dtype=bfloat16", "--max-model-len=8192", *arguments]
    return deployment({**spec, "containers": [{**spec["containers"][0], "command": ["vllm"], "args": words}]})


def asked(families: list[str], **objectives: Any) -> list[Any]:
    text = pool("gpu", [(FAMILY, "In", families)]) + engine()
    return findings(text, CHECK, environment={"objectives": objectives})


def test_a_gpu_that_is_too_slow_for_one_request_is_an_error_that_names_the_others() -> None:
    (found,) = asked(["g5", "g6"], tpot_p95_ms=40)
    assert found.severity is Severity.ERROR
    assert "on l4 a request alone has a tpot of 63" in found.reason
    assert "g6.xlarge" in found.reason
    assert "g5.xlarge" not in found.reason
    assert found.remedy.startswith("Let it have only a10g")


def test_where_no_gpu_will_do_the_objective_is_what_to_raise() -> None:
    (found,) = asked(["g6"], tpot_p95_ms=40)
    assert "raise tpot_p95_ms to 63 or more" in found.remedy


def test_what_is_within_the_models_margin_is_a_warning() -> None:
    (found,) = asked(["g6"], tpot_p95_ms=60)
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    "objectives",
    [
        {"tpot_p95_ms": 64},
        {"ttft_p95_ms": 1000},
        {"error_rate": 0.01},
        {"e2e_p95_ms": 1},
        {"request": {"ttft_ms": 1}},
        {},
    ],
)
def test_objectives_that_one_request_meets_or_that_it_says_nothing_of(objectives: dict[str, Any]) -> None:
    assert asked(["g6"], **objectives) == []
