"""`drydock diagram`: boxes and arrows that follow from the objects."""

import json
import re
from pathlib import Path

from tests.conftest import ROOT, Drydock

PAGE = ROOT / "docs" / "what-gets-installed.md"


def test_workloads_lead_to_their_pools_and_to_the_services_that_they_name(drydock: Drydock, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "vllm: {models: {llama-3-8b: {extraEnv: {UPSTREAM: 'http://genai-vllm-second:8000/v1'}},"
        " second: {source: {huggingFace: {id: Qwen/Qwen3-0.6B}, size: 2Gi}, accelerator: {gpuNames: [l4]}}}}\n"
    )
    done = drydock("diagram", "dev", "-f", values, "--format", "json")
    assert done.returncode == 0, done.stderr
    diagram = json.loads(done.stdout)
    first, second = "Deployment genai-vllm-llama-3-8b", "Deployment genai-vllm-second"
    assert diagram["frames"]["vllm"] == [first, second]
    assert diagram["frames"]["Nodes"] == ["node pool gpu"]
    arrows = {(each["source"], each["target"], each["dotted"]) for each in diagram["arrows"]}
    assert (first, second, False) in arrows
    assert (second, first, False) not in arrows
    assert {(each, "node pool gpu", True) for each in (first, second)} <= arrows


def test_the_architecture_page_shows_what_prod_installs_today(drydock: Drydock) -> None:
    drawn = drydock("diagram", "prod").stdout
    shown = re.findall(r"^```mermaid\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert shown == [drawn], "write it anew: drydock diagram prod"
    boxes = set(re.findall(r"^ +(b\d+)\[", drawn, re.MULTILINE))
    ends = re.findall(r"^  (b\d+) -\.?->? (b\d+)$", drawn, re.MULTILINE)
    assert boxes
    assert {each for pair in ends for each in pair} <= boxes
