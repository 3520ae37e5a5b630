"""The chart vllm: prompts read by one model, answers written by another, and a router between them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name
from tests.charts.vllm_models import HUB

PREFILL, DECODE, ROUTER = "genai-vllm-reads", "genai-vllm-writes", "genai-vllm-small"


def pair(
    router: Mapping[str, Any] | None = None, reads: Mapping[str, Any] | None = None, **writes: Any
) -> dict[str, Any]:
    """Two models behind a router `small`."""
    return {
        "models": {"reads": {"source": HUB, **(reads or {})}, "writes": {"source": HUB, **writes}},
        "routers": {"small": {"prefill": "reads", "decode": "writes", **(router or {})}},
    }


def container(manifests: tuple[Manifest, ...], name: str) -> Any:
    (found,) = by_name(manifests, "Deployment")[name]["spec"]["template"]["spec"]["containers"]
    return found


def test_each_engine_has_its_part_of_the_transfer_and_both_the_routers_name(render_chart: RenderChart) -> None:
    manifests = render_chart("vllm", pair())
    for name, role in ((PREFILL, "kv_producer"), (DECODE, "kv_consumer")):
        engine = container(manifests, name)
        (transfer,) = (each.partition("=")[2] for each in engine["args"] if each.startswith("--kv-transfer-config="))
        policy = {"kv_load_failure_policy": "recompute"} if role == "kv_consumer" else {}
        assert json.loads(transfer) == {"kv_connector": "NixlConnector", "kv_role": role, **policy}
        assert "--served-model-name=small" in engine["args"]
        host = next(each for each in engine["env"] if each["name"] == "VLLM_NIXL_SIDE_CHANNEL_HOST")
        assert host["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


def test_the_router_knows_both_services_and_runs_its_program(render_chart: RenderChart) -> None:
    manifests = render_chart("vllm", pair())
    router = container(manifests, ROUTER)
    services = by_name(manifests, "Service")
    urls = {each["name"]: each["value"] for each in router["env"]}
    for variable, name in (("PREFILL_URL", PREFILL), ("DECODE_URL", DECODE)):
        assert urls[variable] == f"http://{name}:{services[name]['spec']['ports'][0]['port']}"
    (mount,) = router["volumeMounts"]
    (volume,) = by_name(manifests, "Deployment")[ROUTER]["spec"]["template"]["spec"]["volumes"]
    code = by_name(manifests, "ConfigMap")[volume["configMap"]["name"]]["data"]
    folder, _, file = router["command"][1].rpartition("/")
    assert (folder, volume["name"]) == (mount["mountPath"], mount["name"])
    assert "kv_transfer_params" in code[file]
    assert "resources" in router
    assert "nvidia.com/gpu" not in router["resources"]["limits"]


def test_the_routers_nodes_have_the_architecture_of_its_image(render_chart: RenderChart) -> None:
    for own, expected in ({}, "amd64"), ({"nodeSelector": {"kubernetes.io/arch": "arm64"}}, "arm64"):
        manifests = render_chart("vllm", pair(own))
        spec = by_name(manifests, "Deployment")[ROUTER]["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/arch": expected}


def test_engines_reach_one_another_and_the_router_reaches_both(render_chart: RenderChart) -> None:
    closed = {"networkPolicy": {"ingress": {"same-namespace": None}}}
    manifests = render_chart("vllm", pair(reads=closed, **closed))
    policies = by_name(manifests, "NetworkPolicy")

    def components(peers: Any) -> set[str]:
        return {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in peers}

    for name in (PREFILL, DECODE):
        requests, members = policies[name]["spec"]["ingress"]
        assert components(requests["from"]) == {"small"}
        assert [each["port"] for each in requests["ports"]] == [8000]
        assert components(members["from"]) == {"reads", "writes"}
        assert "ports" not in members  # UCX takes any
        assert components(policies[name]["spec"]["egress"][-1]["to"]) == {"reads", "writes"}
    assert policies[ROUTER]["spec"]["ingress"] == []
    assert components(policies[ROUTER]["spec"]["egress"][-1]["to"]) == {"reads", "writes"}


def test_others_see_one_model_at_the_router(render_chart: RenderChart) -> None:
    key = {"apiKeySecret": {"name": "engine"}}
    manifests = render_chart("vllm", pair(reads=key, **key))
    models = json.loads(by_name(manifests, "ConfigMap")["genai-vllm-catalogue"]["data"]["models.json"])
    assert set(models) == {"small"}
    assert models["small"]["names"] == ["small"]
    assert models["small"]["url"] == f"http://{ROUTER}.genai:8000"
    assert models["small"]["apiKeySecret"]["name"] == "engine"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pair({"decode": "reads"}), "name the same model"),
        (pair({"decode": "gone"}), r"routers\.small\.decode: 'gone' is no entry of models that is enabled"),
        (pair(apiKeySecret={"name": "key"}), "their apiKeySecret must be the same"),
        (pair(engine={"servedModelName": "other"}), r"their engine\.servedModelName must be the same"),
        (pair(accelerator={"kind": "none"}), "only vLLM models on the NVIDIA GPUs of one node"),
        (
            pair(autoscaling={"enabled": True, "kind": "ScaledObject", "minReplicas": 0}),
            "may have no pods, and the router does not wake it",
        ),
        ({**pair(), "routers": {"reads": {"prefill": "reads", "decode": "writes"}}}, "a model has this name"),
        (
            {**pair(), "routers": {"a": {"prefill": "reads", "decode": "writes"}, "b": {"prefill": "writes"}}},
            r"model writes is behind routers\.a already",
        ),
    ],
)
def test_what_two_engines_cannot_do_together_is_refused(
    render_chart: RenderChart, values: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(RenderError, match=reason):
        render_chart("vllm", values)


def test_a_router_that_is_off_leaves_two_ordinary_models(render_chart: RenderChart) -> None:
    manifests = render_chart("vllm", pair({"enabled": False}))
    assert set(by_name(manifests, "Deployment")) == {PREFILL, DECODE}
    assert not any(each.startswith("--kv-transfer-config") for each in container(manifests, PREFILL)["args"])


def test_both_engines_are_in_one_zone_and_the_router_where_its_image_runs(render_chart: RenderChart) -> None:
    """The KV cache crosses the network: between zones slowly, and billed both ways."""
    deployments = by_name(render_chart("vllm", pair()), "Deployment")
    for name in (PREFILL, DECODE):
        template = deployments[name]["spec"]["template"]
        (term,) = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "topology.kubernetes.io/zone"
        (members,) = term["labelSelector"]["matchExpressions"]
        assert members["values"] == ["reads", "writes"]
        labels = template["metadata"]["labels"]
        assert labels[members["key"]] in members["values"], "or the first of them would wait for the other"
        assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    assert deployments[ROUTER]["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    with pytest.raises(RenderError, match=r"their scheduling\.zone must be the same"):
        render_chart("vllm", pair(scheduling={"zone": "us-west-2a"}))
