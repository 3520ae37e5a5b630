"""`drydock images`: every image, where it comes from and where it runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from drydock.documents import load_yaml_file
from drydock.inventory.image_support import supported_until
from drydock.inventory.images import UsedImage, skopeo_copies, skopeo_sync, used_images, with_registry
from drydock.project import Project
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import load_environment
from tests.conftest import ROOT, Drydock

SUPPORT = ROOT / "scripts" / "drydock" / "data" / "image-support.yaml"
REGISTRY = "111122223333.dkr.ecr.us-west-2.amazonaws.com"


@pytest.fixture
def images_of(
    drydock_project: Project, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> Callable[..., tuple[UsedImage, ...]]:
    def images(name: str, *set_values: str) -> tuple[UsedImage, ...]:
        environment = load_environment(drydock_project, name).stacked((), set_values)
        return used_images(drydock_project, drydock_tool("helm4"), drydock_charts, environment)

    return images


def test_each_image_is_listed_with_its_charts_and_the_architectures_of_its_nodes(
    images_of: Callable[..., tuple[UsedImage, ...]],
) -> None:
    images = {each.upstream.rpartition(":")[0]: each for each in images_of("dev")}
    engine = images["docker.io/vllm/vllm-openai"]
    assert engine.charts == ("vllm",)
    assert engine.objects == ("Deployment/genai/genai-vllm-llama-3-8b",)
    assert engine.architectures == ("amd64",)
    assert images["nvcr.io/nvidia/k8s-device-plugin"].architectures == ("amd64",)


@pytest.mark.parametrize(
    ("image", "until"),
    [
        ("quay.io/argoproj/workflow-controller:v3.7.18", "2026-08-11"),
        ("registry.example.com/mirror/argoproj/argocli:v3.7.1", "2026-08-11"),
        ("public.ecr.aws/aws-observability/aws-for-fluent-bit:2.34.3.20260423", "2026-06-30"),
        ("public.ecr.aws/aws-observability/aws-for-fluent-bit:3.4.8", "2028-12-31"),
        ("public.ecr.aws/aws-observability/aws-for-fluent-bit:33.0", ""),
        ("quay.io/argoproj/argocli:latest", ""),
        ("example.com/other:v3.7.18", ""),
        ("UPPER CASE", ""),
    ],
)
def test_the_end_of_a_releases_support_is_known_by_repository_and_version(image: str, until: str) -> None:
    assert str(supported_until(image) or "") == until


def test_what_runs_past_its_support_has_a_reason(images_of: Callable[..., tuple[UsedImage, ...]]) -> None:
    """Argo Workflows: the reason stands in the README of the chart."""
    read = load_yaml_file(SUPPORT)["read"].isoformat()
    ended = [each for each in images_of("prod") if each.supported_until and each.supported_until < read]
    assert {chart for each in ended for chart in each.charts} == {"argo"}
    assert "no longer kept up" in " ".join((ROOT / "charts" / "argo" / "README.md").read_text().split())


def test_a_redirected_image_is_copied_to_where_the_pods_look_for_it(
    images_of: Callable[..., tuple[UsedImage, ...]],
) -> None:
    images = images_of("airgap")
    assert all(each.image.startswith(f"{REGISTRY}/") and not each.upstream.startswith(REGISTRY) for each in images)
    (engine,) = [each for each in images if "vllm-openai" in each.image]
    tag = engine.image.rpartition(":")[2]
    wanted = f"docker://docker.io/vllm/vllm-openai:{tag} docker://{REGISTRY}/vllm/vllm-openai:{tag}"
    assert f"skopeo copy --all {wanted}" in skopeo_copies(images)
    assert len(skopeo_copies(images)) == len(images)
    assert skopeo_copies(images_of("dev")) == ()


def test_skopeo_gets_tags_and_digests_by_registry_and_repository() -> None:
    digest = f"sha256:{'a' * 64}"
    images = [
        UsedImage(image, with_registry(image), (), (), ())
        for image in ("vllm/vllm-openai:v1", f"vllm/vllm-openai:v2@{digest}", "quay.io/a/b:v1", "busybox:1")
    ]
    assert skopeo_sync(images) == {
        "docker.io": {"images": {"library/busybox": ["1"], "vllm/vllm-openai": [digest, "v1"]}},
        "quay.io": {"images": {"a/b": ["v1"]}},
    }


@pytest.mark.parametrize("form", ["json", "skopeo-sync", "skopeo-copy", "table"])
def test_the_verb_writes_each_form(drydock: Drydock, form: str) -> None:
    done = drydock("images", "airgap", "--format", form)
    assert done.returncode == 0, done.stderr
    if form == "json":
        rows = json.loads(done.stdout)
        assert {"image", "upstream", "charts", "objects", "architectures", "supported_until"} == set(rows[0])
    elif form == "skopeo-sync":
        assert "vllm/vllm-openai" in yaml.safe_load(done.stdout)["docker.io"]["images"]
    else:
        assert "vllm/vllm-openai" in "".join(done.stdout.split())


def test_an_unknown_environment_is_told(drydock: Drydock) -> None:
    done = drydock("images", "nowhere")
    assert done.returncode == 2
    assert "unknown environment 'nowhere'" in done.stderr
