"""Every preset of a model stacks on an environment, and fits the GPUs that it names."""

from pathlib import Path

import pytest
import yaml

from drydock.checks.registry import run_checks
from drydock.checks.subject import Subject, subject_of
from drydock.documents import load_yaml_file
from drydock.engines.served_models import served_models
from drydock.project import Project
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.instance_types.quantity import amount
from drydock.scheduling.instance_types.region import load_catalogue
from drydock.testing.pytest_plugin import RenderEnvironment
from tests.conftest import ROOT

MODELS = sorted((ROOT / "values" / "models").glob("*.yaml"))
CHEAPEST = {
    "llama-3-8b": {"g5.xlarge", "g6.xlarge"},
    "llama-3-1-8b-nim": {"g5.2xlarge", "g6.2xlarge"},
    "llama-3-70b": {"g5.48xlarge", "g6.48xlarge", "p4d.24xlarge", "p5.48xlarge"},
    "qwen3-32b": {"g5.12xlarge", "g6.12xlarge"},
    "qwen3-32b-prefill-decode": {"g6.12xlarge", "g6e.12xlarge"},
    "qwen3-1.7b-inferentia2": {"inf2.8xlarge"},
    "llama-3-70b-trainium": {"trn1.32xlarge"},
    "deepseek-r1": {"p5en.48xlarge"},
    "deepseek-r1-multi-node": {"p5.48xlarge"},
}
"""Instance types among those that may host each preset."""


BENEATH = {"deepseek-r1-multi-node": ROOT / "values" / "capacity" / "efa-cluster.yaml"}
"""Presets of capacity that those of models need."""

HUB = "vllm.models.llama-3-8b.source.huggingFace.id=meta-llama/Meta-Llama-3-8B-Instruct"
"""The environment's own model, from where its preset takes it."""


def stacked(render_environment: RenderEnvironment, project: Project, file: Path) -> Subject:
    beneath = [BENEATH[file.stem]] if file.stem in BENEATH else []
    rendered = render_environment("airgap", [*beneath, file], ["vllm.models.llama-3-8b.source.s3.uri=", HUB])
    return subject_of(rendered, load_catalogue(project.cache_dir, "us-west-2"))


def verdict_of(subject: Subject, file: Path) -> PodVerdict:
    names = load_yaml_file(file)["vllm"]["models"]
    found, *others = (each for each in subject.verdicts if any(f"vllm-{name}" in each.pod.name for name in names))
    assert all(each.pools == found.pools for each in others)
    return found


def test_every_preset_is_listed() -> None:
    assert {file.stem for file in MODELS} == set(CHEAPEST)
    page = (ROOT / "docs" / "environments.md").read_text()
    assert [file.name for file in MODELS if f"models/{file.name}" not in page] == []


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_a_preset_can_run_on_the_instance_types_it_is_for(
    render_environment: RenderEnvironment, drydock_project: Project, file: Path
) -> None:
    subject = stacked(render_environment, drydock_project, file)
    types = frozenset[str]().union(*(each.types for each in verdict_of(subject, file).pools if each.hosts))
    assert types >= CHEAPEST[file.stem]


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_the_weights_fit_the_memory_of_every_type_that_may_be_bought(
    render_environment: RenderEnvironment, drydock_project: Project, file: Path
) -> None:
    model, *_ = load_yaml_file(file)["vllm"]["models"].values()
    weights = amount("memory", model["source"]["size"]) / 1024**2
    subject = stacked(render_environment, drydock_project, file)
    verdict = verdict_of(subject, file)
    devices = model["accelerator"].get("count", 1) * model.get("multiNode", {}).get("size", 1)
    for name in frozenset[str]().union(*(each.types for each in verdict.pools if each.hosts)):
        facts = subject.catalogue.types[name]
        (device, *_) = facts.gpus or facts.neuron
        assert weights < 0.9 * devices * device.memory, f"{name}: {devices} x {device.memory} MiB"


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_nothing_is_found_in_a_preset(
    render_environment: RenderEnvironment, drydock_project: Project, file: Path
) -> None:
    found = run_checks(stacked(render_environment, drydock_project, file))
    expected = {
        "secret-reference",  # the environment under it takes no model from the Hub
        "vcpu-quota",  # nor has its account the quota of another model's GPUs
        "account-escalation",  # the Neuron plugins write annotations of pods, which an environment accepts in its file
    }
    assert {each.check for each in found} <= expected


def test_an_engine_over_several_nodes_is_one_engine(
    render_environment: RenderEnvironment, drydock_project: Project
) -> None:
    subject = stacked(render_environment, drydock_project, ROOT / "values" / "models" / "deepseek-r1-multi-node.yaml")
    (engine,) = (each for each in served_models(subject.pods) if each.names == ("deepseek-r1",))
    assert engine.args.tensor_parallel_size * engine.args.pipeline_parallel_size == 16


def test_models_on_hybrid_nodes_ask_nothing_of_karpenter(
    render_environment: RenderEnvironment, drydock_project: Project
) -> None:
    rendered = render_environment("dev", [ROOT / "values" / "capacity" / "hybrid-nodes.yaml"])
    subject = subject_of(rendered, load_catalogue(drydock_project.cache_dir, "us-west-2"))
    (pod,) = (each for each in subject.pods if each.manifest.name.endswith("vllm-llama-3-8b"))
    assert pod.spec["nodeSelector"]["eks.amazonaws.com/compute-type"] == "hybrid"
    assert "karpenter" not in yaml.safe_dump(pod.spec), "the preset of the model asks for GPUs by Karpenter's label"
    assert pod.name not in {each.pod.name for each in subject.verdicts}
    assert [each.check for each in run_checks(subject) if not each.accepted] == []
