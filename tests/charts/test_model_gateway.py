"""The gateway's objects. What its Python files do is in tests/charts/gateway."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from drydock.errors import RenderError
from drydock.project import UMBRELLA
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import POD_IDENTITY, by_name

CHART = "model-gateway"
GATEWAY = "genai-model-gateway"
ACTIVATOR = f"{GATEWAY}-activator"
TENANTS = {"namespaceSelector": {"matchExpressions": [{"key": "drydock.dev/tenant", "operator": "Exists"}]}}
ASLEEP = {"autoscaling": {"enabled": True, "kind": "ScaledObject", "minReplicas": 0}}
WITH_MODELS: dict[str, Any] = {
    "global": {"clusterName": "dev"},
    CHART: {"enabled": True, "modelKeySecrets": {"engine": ["api_key"]}},
    "vllm": {
        "models": {
            "small": {"source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"}, **ASLEEP},
            "large": {
                "source": {"huggingFace": {"id": "org/large"}, "size": "15Gi"},
                "engine": {"servedModelName": "large-v2", "loraAdapters": {"sql": {"path": "org/sql"}, "gone": None}},
                "apiKeySecret": {"name": "engine"},
            },
        }
    },
}


def _settings(manifests: Iterable[Manifest]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(by_name(manifests, "ConfigMap")[GATEWAY]["data"]["settings.json"])
    return found


def _pod(manifests: Iterable[Manifest], name: str = GATEWAY) -> Any:
    return by_name(manifests, "Deployment")[name]["spec"]["template"]["spec"]


def _volumes(manifests: Iterable[Manifest], name: str = GATEWAY) -> dict[str, Any]:
    return {each["name"]: each for each in _pod(manifests, name)["volumes"]}


def _policy(manifests: Iterable[Manifest], name: str) -> Any:
    return by_name(manifests, "NetworkPolicy")[name]["spec"]


def _ports(rule: Mapping[str, Any]) -> set[int]:
    return {each["port"] for each in rule.get("ports", [])}


def test_it_finds_the_models_of_its_release_and_needs_none(render_chart: RenderChart) -> None:
    manifests = render_chart(UMBRELLA, WITH_MODELS)
    for name in GATEWAY, ACTIVATOR:
        reference = _volumes(manifests, name)["catalogue"]["configMap"]
        assert reference["optional"] is True
        catalogue = json.loads(by_name(manifests, "ConfigMap")[reference["name"]]["data"]["models.json"])
    assert catalogue == {
        "small": {"names": ["small"], "url": "http://genai-vllm-small.genai:8000", "scaleToZero": True},
        "large": {
            "names": ["large-v2", "sql"],
            "url": "http://genai-vllm-large.genai:8000",
            "scaleToZero": False,
            "apiKeySecret": {"name": "engine", "key": "api_key"},
        },
    }
    assert set(catalogue) == {name.removeprefix("genai-vllm-") for name in _model_services(manifests)}


def _model_services(manifests: Iterable[Manifest]) -> set[str]:
    return {each.name for each in manifests if each.kind == "Service" and each.chart == "vllm"}


def test_what_wakes_a_model_is_counted_where_its_requests_wait(render_chart: RenderChart) -> None:
    manifests = render_chart(UMBRELLA, WITH_MODELS)
    (scaled,) = by_name(manifests, "ScaledObject").values()
    assert scaled["spec"]["minReplicaCount"] == 0
    (trigger,) = scaled["spec"]["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    assert (url.hostname, url.path) == (f"{ACTIVATOR}.genai.svc", "/models/small")
    # KEDA splits host and port at the dots, and asks the pods of the Service in the namespace that it finds there.
    assert url.netloc.split(".")[:2] == [ACTIVATOR, "genai"]
    service = by_name(manifests, "Service")[ACTIVATOR]["spec"]
    (container,) = _pod(manifests, ACTIVATOR)["containers"]
    named = {each["name"]: each["containerPort"] for each in container["ports"]}
    # KEDA asks each pod, at the number of the Service's port.
    assert {each["port"] for each in service["ports"] if named[each["targetPort"]] == each["port"]} == {8080, url.port}
    assert trigger["metadata"]["aggregateFromKubeServiceEndpoints"] == "true"
    assert trigger["metadata"]["aggregationType"] == "sum"
    assert url.port in {port for rule in _policy(manifests, ACTIVATOR)["ingress"] for port in _ports(rule)}
    assert _settings(manifests)["activator"]["url"] == f"http://{ACTIVATOR}.genai:8080"


@pytest.mark.parametrize("url", ["http://other.genai:8081", "http://other:8081", "http://other.genai.svc:8081/path"])
def test_an_activator_that_keda_would_not_find_is_refused(render_chart: RenderChart, url: str) -> None:
    model = {"source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"}}
    scaling = {**ASLEEP["autoscaling"], "keda": {"activatorUrl": url}}
    with pytest.raises(RenderError, match="activatorUrl"):
        render_chart("vllm", {"models": {"small": {**model, "autoscaling": scaling}}})


def test_prometheus_or_the_pods_themselves_tell_of_the_engine(render_chart: RenderChart) -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    def triggers(fewest: int = 1, readers: Any = {"prometheus": monitoring}, **keda: Any) -> dict[str, Any]:  # noqa: B006
        values = {
            "autoscaling": {"enabled": True, "kind": "ScaledObject", "minReplicas": fewest, "keda": keda},
            "networkPolicy": {"metrics": readers},
        }
        model = {"source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"}, **values}
        (scaled,) = by_name(render_chart("vllm", {"models": {"small": model}}), "ScaledObject").values()
        return {each["name"]: each for each in scaled["spec"]["triggers"]}

    of_pods = triggers()
    assert set(of_pods) == {"requests-waiting", "kv-cache"}
    assert of_pods["requests-waiting"]["metadata"]["valueLocation"] == 'vllm:num_requests_waiting{model_name="small"}'
    assert of_pods["requests-waiting"]["metricType"] == "AverageValue"
    assert of_pods["kv-cache"]["metricType"] == "Value"
    asked = triggers(source="prometheus", prometheusAddress="http://prometheus:9090", triggers={"kv-cache": None})
    assert set(asked) == {"requests-waiting"}
    assert asked["requests-waiting"]["metadata"] == {
        "serverAddress": "http://prometheus:9090",
        "query": 'sum(vllm:num_requests_waiting{model_name="small"})',
        "threshold": "5",
        "ignoreNullValues": "false",
    }
    with pytest.raises(RenderError, match=r"networkPolicy\.metrics: Prometheus .* would not reach the pods"):
        triggers(readers={}, source="prometheus", prometheusAddress="http://prometheus.monitoring:9090")
    with pytest.raises(RenderError, match=r"networkPolicy\.metrics: Prometheus .* would not reach the pods"):
        triggers(readers={}, source="prometheus", prometheusAddress="http://prometheus.genai-monitoring.svc:9090")
    assert triggers(readers={}, source="prometheus", prometheusAddress="http://prometheus.genai.svc:9090")
    # KEDA fails at pods that are not there; Prometheus has no value for them.
    assert set(triggers(0)) == {"requests"}
    asleep = triggers(0, source="prometheus", prometheusAddress="http://prometheus:9090")
    assert set(asleep) == {"requests", "requests-waiting", "kv-cache"}
    assert "ignoreNullValues" not in asleep["requests-waiting"]["metadata"], "it sleeps, so it has no series"


@pytest.mark.parametrize(("fewest", "asks"), [(0, False), (1, True)])
def test_keda_reaches_the_pods_that_it_asks(render_chart: RenderChart, fewest: int, asks: bool) -> None:
    scaling = {"enabled": True, "kind": "ScaledObject", "minReplicas": fewest}
    model = {"source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"}, "autoscaling": scaling}
    manifests = render_chart("vllm", {"models": {"small": model}})
    (scaled,) = by_name(manifests, "ScaledObject").values()
    asked = [urlsplit(each["metadata"]["url"]).netloc.split(".")[:2] for each in scaled["spec"]["triggers"]]
    assert (["genai-vllm-small", "genai"] in asked) is asks
    peers = [peer for rule in _policy(manifests, "genai-vllm-small")["ingress"] for peer in rule["from"]]
    keda = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    assert (keda in peers) is asks


def test_keys_are_mounted_and_nothing_secret_is_rendered(render_chart: RenderChart) -> None:
    values = {"keys": {"search": {}, "chat": {}, "gone": None}, "modelKeySecrets": {"engine.keys": ["api_key"]}}
    manifests = render_chart(CHART, values)
    assert not by_name(manifests, "Secret")
    volumes = _volumes(manifests)
    assert volumes["keys"]["secret"] == {
        "secretName": "model-gateway-keys",
        "items": [{"key": "chat", "path": "chat"}, {"key": "search", "path": "search"}],
    }
    assert volumes["model-key-engine-keys"]["secret"]["secretName"] == "engine.keys"
    (container,) = _pod(manifests)["containers"]
    paths = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert paths["/etc/gateway/model-keys/engine.keys"] == "model-key-engine-keys"
    (master,) = (each for each in container["env"] if each["name"] == "LITELLM_MASTER_KEY")
    assert master["valueFrom"] == {"secretKeyRef": {"name": "model-gateway", "key": "master_key"}}
    assert "keys" not in _volumes(manifests, ACTIVATOR)


def test_replicas_without_redis_share_the_limits(render_chart: RenderChart) -> None:
    assert _settings(render_chart(CHART, {"replicas": 3}))["share"] == 3
    assert _settings(render_chart(CHART, {"replicas": 3, "redis": {"host": "redis.example"}}))["share"] == 1


def test_only_what_is_needed_reaches_and_is_reached(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART)
    gateway = _policy(manifests, GATEWAY)
    requests, metrics = gateway["ingress"]
    assert (_ports(requests), requests["from"]) == ({4000}, [{"podSelector": {}}, TENANTS])
    assert _ports(metrics) == {9090}
    assert not [peer for peer in metrics["from"] if not any(peer.values())], "not every pod, and not every namespace"
    assert [_ports(rule) for rule in gateway["egress"]] == [{53}, {8000}, {8080}]
    activator = _policy(manifests, ACTIVATOR)
    assert [_ports(rule) for rule in activator["egress"]] == [{53}, {8000}]
    (requests, _) = activator["ingress"]
    (peer,) = requests["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"
    closed = render_chart(
        CHART,
        {
            "networkPolicy": {
                "ingress": {"same-namespace": None, "tenants": None},
                "metrics": {"collector": None, "namespaces": None},
            }
        },
    )
    assert _policy(closed, GATEWAY)["ingress"] == []
    assert len(_policy(closed, ACTIVATOR)["ingress"]) == 1
    more = {
        "models": {"a": {"url": "https://a.example"}, "b": {"url": "http://b:9000/x", "scaleToZero": True}},
        "audit": {"s3": {"bucket": "logs"}},
        "redis": {"host": "redis.example"},
        "database": {"urlSecret": {"name": "litellm"}},
    }
    manifests = render_chart(CHART, more)
    *wider, pod_identity = _policy(manifests, GATEWAY)["egress"][3:]
    assert [_ports(rule) for rule in wider] == [{443}, {9000}, {6379}, {5432}]
    assert pod_identity == POD_IDENTITY
    assert [_ports(rule) for rule in _policy(manifests, ACTIVATOR)["egress"]] == [{53}, {8000}, {9000}]


HOSTED: dict[str, Any] = {
    "global": {"region": "eu-central-1"},
    "providers": {
        "aws": {"kind": "bedrock"},
        "anthropic": {"kind": "anthropic", "apiKeySecret": {"name": "providers", "key": "anthropic"}},
        "own": {"kind": "openaiCompatible", "url": "http://models.example:8443", "regions": ["fsn"]},
        "gone": None,
    },
    "models": {
        "nova": {"provider": "aws", "id": "eu.amazon.nova-lite-v1:0"},
        "here": {"provider": "aws", "id": "amazon.nova-lite-v1:0"},
        "all": {"provider": "aws", "id": "global.amazon.nova-2-lite-v1:0"},
        "unheard-of": {"provider": "aws", "id": "ca.amazon.nova-lite-v1:0", "prices": {"inputPerMillionTokens": 1}},
        "claude-haiku-4-5": {"provider": "anthropic"},
        "open": {"provider": "own", "id": "org/open", "contextTokens": 8192},
    },
}


def test_what_is_known_of_hosted_models_stands_in_the_settings(render_chart: RenderChart) -> None:
    models = _settings(render_chart(CHART, HOSTED))["models"]
    assert models["nova"]["hosted"] == {
        "kind": "bedrock",
        "id": "eu.amazon.nova-lite-v1:0",
        "region": "eu-central-1",
        "prices": {"inputPerMillionTokens": 0.078, "outputPerMillionTokens": 0.312},
    }
    assert models["nova"]["contextTokens"] == 300000
    assert {"eu-central-1", "eu-west-2"} < set(models["nova"]["regions"])
    assert {region.partition("-")[0] for region in models["nova"]["regions"]} == {"eu"}
    assert models["here"]["regions"] == ["eu-central-1"]
    assert models["all"]["regions"] == ["*", "eu-central-1"]
    assert "regions" not in models["unheard-of"], "a geography that is not on the list"
    assert models["claude-haiku-4-5"]["hosted"]["id"] == "claude-haiku-4-5"
    assert models["claude-haiku-4-5"]["apiKeySecret"] == {"name": "providers", "key": "anthropic"}
    assert "regions" not in models["claude-haiku-4-5"]
    assert (models["open"]["regions"], models["open"]["contextTokens"]) == (["fsn"], 8192)


def test_providers_are_reached_with_their_keys_and_as_the_role(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {**HOSTED, "modelKeySecrets": {"providers": ["other"]}})
    items = _volumes(manifests)["model-key-providers"]["secret"]["items"]
    assert [item["key"] for item in items] == ["other", "anthropic"]
    *wider, pod_identity = _policy(manifests, GATEWAY)["egress"][3:]
    assert [_ports(rule) for rule in wider] == [{443}, {8443}]
    assert pod_identity == POD_IDENTITY
    assert [_ports(rule) for rule in _policy(manifests, ACTIVATOR)["egress"]] == [{53}, {8000}]


def test_pods_are_restricted_and_survive_drains(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART)
    for name in GATEWAY, ACTIVATOR:
        pod = _pod(manifests, name)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["topologySpreadConstraints"]
        assert pod["terminationGracePeriodSeconds"] > 15 + 300
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
        assert container["readinessProbe"]
    assert set(by_name(manifests, "PodDisruptionBudget")) == {GATEWAY, ACTIVATOR}
    assert set(by_name(render_chart(CHART, {"replicas": 1}), "PodDisruptionBudget")) == {ACTIVATOR}
    assert {each["spec"]["type"] for each in by_name(manifests, "Service").values()} == {"ClusterIP"}
    assert not by_name(manifests, "Role") | by_name(manifests, "ClusterRole")


def test_changed_settings_restart_the_pods(render_chart: RenderChart) -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        pod = by_name(render_chart(CHART, values), "Deployment")[GATEWAY]["spec"]["template"]
        found: str = pod["metadata"]["annotations"]["checksum/settings"]
        return found

    assert checksum({"retries": 1}) != checksum({"retries": 3})


def test_without_the_activator_nothing_of_it_is_left(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"activator": {"enabled": False}})
    assert ACTIVATOR not in {each.name for each in manifests}
    assert [_ports(rule) for rule in _policy(manifests, GATEWAY)["egress"]] == [{53}, {8000}]


def test_both_helms_give_the_same_objects(render_chart: RenderChart) -> None:
    values = {"keys": {"b": {}, "a": {}}, "models": {"z": {"url": "http://z:1"}, "y": {"url": "http://y:1"}}}
    assert render_chart(CHART, values, helm="helm3") == render_chart(CHART, values, helm="helm4")


AWS = {"kind": "bedrock", "region": "eu-central-1"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"keys": {"a": {"budget": {"amount": 1, "days": 1}}}}, r"keys\.a\.budget: .* set redis\.host"),
        ({"models": {"a": {"budget": {"amount": 1, "days": 1}}}}, r"models\.a\.budget: .* set redis\.host"),
        (
            {"keys": {"a": {}}, "database": {"urlSecret": {"name": "db"}}},
            "keys: with a database LiteLLM keeps the keys",
        ),
        (
            {"models": {"a": {"url": "http://a:1", "apiKeySecret": {"name": "s", "key": "k"}}}},
            r"models\.a\.apiKeySecret: .* set modelKeySecrets\.s to \[k\]",
        ),
        (
            {"models": {"a": {"url": "http://a:1", "scaleToZero": True}}, "activator": {"enabled": False}},
            r"models\.a\.scaleToZero: nothing would hold its requests",
        ),
        ({"keys": {"a": {"requestPerMinute": 1}}}, "/keys/a.*additional properties 'requestPerMinute' not allowed"),
        (
            {"models": {"a": {"provider": "b"}}, "providers": {"c": AWS}},
            r"a\.provider: there is no provider b: .*\[c\]",
        ),
        ({"models": {"a": {"id": "b"}}}, r"models\.a\.id: only a hosted model"),
        (
            {"models": {"a": {"provider": "c", "url": "http://a:1"}}, "providers": {"c": AWS}},
            r"models\.a: a hosted model has the url and the key of its provider",
        ),
        (
            {"models": {"a": {"provider": "c"}}, "providers": {"c": AWS}},
            r"models\.a\.prices: what a costs is not known",
        ),
        (
            {"models": {"a": {"provider": "c", "id": "arn:aws:bedrock:x"}}, "providers": {"c": AWS}},
            r"models\.a\.id: .* not by an ARN",
        ),
        (
            {"models": {"a": {"provider": "c"}}, "providers": {"c": {"kind": "bedrock"}}},
            r"providers\.c\.region: no region to call",
        ),
        (
            {
                "models": {"a": {"provider": "c"}},
                "providers": {"c": {**AWS, "apiKeySecret": {"name": "s", "key": "k"}}},
            },
            r"providers\.c\.apiKeySecret: Amazon Bedrock takes the role",
        ),
        (
            {"models": {"a": {"provider": "c"}}, "providers": {"c": {"kind": "openai"}}},
            r"providers\.c\.apiKeySecret: set name and key",
        ),
        (
            {"models": {"a": {"provider": "c"}}, "providers": {"c": {"kind": "openaiCompatible"}}},
            r"providers\.c\.url: set the URL",
        ),
        ({"providers": {"c": {"kind": "azure"}}}, "/providers/c/kind"),
        ({"image": {"tag": "latest"}}, "latest can change under a running release"),
    ],
)
def test_settings_that_cannot_work(render_chart: RenderChart, values: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(CHART, values)


def test_an_autoscaler_of_kubernetes_keeps_a_pod(render_chart: RenderChart) -> None:
    model = {
        "source": {"huggingFace": {"id": "org/a"}, "size": "1Gi"},
        "autoscaling": {"enabled": True, "minReplicas": 0},
    }
    with pytest.raises(RenderError, match=r"autoscaling\.minReplicas: a HorizontalPodAutoscaler keeps one pod"):
        render_chart("vllm", {"models": {"a": model}})
