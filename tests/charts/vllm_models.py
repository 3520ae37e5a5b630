"""Models for the chart vllm, and what it renders of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart

HUB: dict[str, Any] = {"size": "15Gi", "huggingFace": {"id": "some/model"}}
S3: dict[str, Any] = {"size": "15Gi", "s3": {"uri": "s3://weights/some/model"}}


def values(model: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    """Values of one model `small` from the Hub, unless it says where else it comes from."""
    return {"models": {"small": {"source": HUB, **model}}, **others}


def render(render_chart: RenderChart, model: Mapping[str, Any], **others: Any) -> tuple[Manifest, ...]:
    """Objects of one model `small`."""
    return render_chart("vllm", values(model, **others))


def the(manifests: Iterable[Manifest], kind: str) -> Any:
    """Content of the one object of a kind, beside the catalogue of all models and the policy of the namespace."""
    of_all = ("/catalogue.yaml", "/networkpolicy-default-deny.yaml")
    own = (each for each in manifests if not each.template.endswith(of_all))
    (found,) = (each.content for each in own if each.kind == kind)
    return found


def pod(render_chart: RenderChart, model: Mapping[str, Any], **others: Any) -> Any:
    """Spec of the pod of one model."""
    return the(render(render_chart, model, **others), "Deployment")["spec"]["template"]["spec"]


def container(render_chart: RenderChart, model: Mapping[str, Any], **others: Any) -> Any:
    """The container of one model."""
    (found,) = pod(render_chart, model, **others)["containers"]
    return found


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Variables of a container: the value, or the reference to it."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def volumes(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Volumes of a pod by where they are mounted."""
    (container,) = pod["containers"]
    by_name = {each["name"]: each for each in pod["volumes"]}
    return {each["mountPath"]: by_name[each["name"]] for each in container["volumeMounts"]}
