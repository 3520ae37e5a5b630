"""What a rehearsal bought against the environment's objectives."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drydock.outcome.observe import Scene
from drydock.plan.bought_models import judged_models
from drydock.report.model import ModelReport
from drydock.suite.environments import Environment, Load

LLAMA = ("vllm", "serve", "meta-llama/Meta-Llama-3-8B-Instruct", "--served-model-name", "llama", "--max-model-len=8192")
OWNED = {"ownerReferences": [{"kind": "StatefulSet", "name": "llama", "uid": "s", "controller": True}]}
ENVIRONMENT = Environment("test", Path("test.yaml"), "", (), objectives={"tpot_p95_ms": 40, "error_rate": 0.01})


def scene(instance_type: str, *command: str, replicas: int = 1, **container: Any) -> Scene:
    found = Scene()
    node = {"metadata": {"uid": "n", "name": "n", "labels": {"node.kubernetes.io/instance-type": instance_type}}}
    found.objects["Node"]["n"] = node
    limits = {"nvidia.com/gpu": "1"}
    image = {"name": "engine", "image": "engine:1", "command": list(command), "resources": {"limits": limits}}
    for number in range(replicas):
        found.objects["Pod"][str(number)] = {
            "metadata": {"uid": str(number), "name": f"llama-{number}", "namespace": "genai", "labels": {}, **OWNED},
            "spec": {"nodeName": "n", "containers": [{**image, **container}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    return found


def judged(found: Scene, load: Load | None = None) -> ModelReport:
    (model, *_) = judged_models(found, replace(ENVIRONMENT, load={"llama": load} if load else {}))
    return model


def test_one_request_alone_shows_what_a_gpu_cannot() -> None:
    slow, fast = judged(scene("g6.xlarge", *LLAMA)), judged(scene("g5.xlarge", *LLAMA))
    assert (slow.model, slow.gpu, slow.meets) == ("llama", "l4", False)
    assert slow.missed[0].startswith("tpot_p95_ms is 6")
    assert (fast.gpu, fast.meets, fast.load) == ("a10g", True, "chat, one request alone")


def test_the_expected_load_is_shared_by_the_replicas() -> None:
    load = Load(rate=10, workload="chat")
    alone = judged(scene("g5.xlarge", *LLAMA), load)
    assert alone.meets is False
    assert alone.load == "chat, 10 requests/s over 1"
    assert any("do not keep up with 10 requests/s" in each for each in alone.missed)
    assert judged(scene("p5.48xlarge", *LLAMA), load).meets
    assert judged(scene("g5.xlarge", *LLAMA, replicas=10), load).meets


@pytest.mark.parametrize(
    ("instance_type", "command", "words"),
    [
        ("g6.xlarge", ("vllm", "serve", "acme/own"), "the shape of acme/own is not known"),
        ("x9.large", LLAMA, "the GPU of x9.large is not known"),
        ("g6.xlarge", (*LLAMA[:3], "--max-model-len=8192", "--config=/etc/vllm.yaml"), "stand in a file"),
        ("g6.xlarge", (*LLAMA[:3], "--quantization=awq"), "does not start"),
    ],
)
def test_what_is_not_known_has_its_reason(instance_type: str, command: tuple[str, ...], words: str) -> None:
    found = judged(scene(instance_type, *command))
    assert found.meets is None
    assert words in found.reason


def test_a_nim_chooses_its_engine() -> None:
    found = judged(scene("g6.xlarge", image="nvcr.io/nim/meta/llama-3.1-8b-instruct:1", command=[]))
    assert "a NIM chooses its profile when it starts, taken for 16-bit weights on 1 GPU" in found.reason


def test_nothing_is_judged_without_objectives_of_times() -> None:
    environment = replace(ENVIRONMENT, objectives={"error_rate": 0.01})
    assert judged_models(scene("g6.xlarge", *LLAMA), environment) == ()
