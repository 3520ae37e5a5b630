"""The models that the gateway serves, and LiteLLM's configuration of them.

Models come from two files: the catalogue that the chart vllm keeps in a
ConfigMap (absent without that chart), and this chart's own settings, which add models and say more of those in the
catalogue.
"""

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(os.environ.get("GATEWAY_FOLDER", "/etc/gateway"))
CATALOGUE = HERE / "catalogue" / "models.json"
SETTINGS = HERE / "settings" / "settings.json"
MODEL_KEYS = HERE / "model-keys"
ACTIVATOR_HEADER = "X-Drydock-Activator"
"""Header by which the activator knows requests that the gateway let in."""
ACTIVATOR_TOKEN = "ACTIVATOR_TOKEN"  # noqa: S105
"""Environment variable with its value."""
PROVIDERS = {
    "anthropic": "anthropic",
    "bedrock": "bedrock",
    "google": "gemini",
    "openai": "openai",
    "openaiCompatible": "hosted_vllm",
}
"""LiteLLM's names of the kinds of providers. Its `hosted_vllm` takes every route of an API that is like OpenAI's."""


@dataclass(frozen=True)
class Model:
    """An endpoint that serves a model.

    Attributes:
        name: in requests, to the gateway and to the endpoint alike.
        endpoint: its key in the catalogue or in the settings.
        url: of the endpoint, without `/v1`.
        key: file that holds its API key, None when it asks for none.
        scale_to_zero: whether it may have no pods, so that requests have to be held.
        settings: `requestsPerMinute`, `tokensPerMinute`, `prices`, `budget` and `fallbacks` of the model; `hosted` of
            one at a provider, with `kind`, `id`, `region` and `url`.
    """

    name: str
    endpoint: str
    url: str
    key: Path | None
    scale_to_zero: bool
    settings: Mapping[str, Any]


def activator_token(master_key: str) -> str:
    """What the gateway shows to the activator: both have the master key, and it cannot be had from the token."""
    return hmac.digest(master_key.encode(), b"activator", "sha256").hex()


def read_json(file: Path) -> dict[str, Any]:
    """Content of a file as it is now, empty when it is not there."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return {}
    return _parsed(file, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _parsed(file: Path, _node: int, _time: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def read_models() -> tuple[Model, ...]:
    """Every model, in the order of their names and endpoints."""
    settings = read_json(SETTINGS).get("models", {})
    found = [*_of_catalogue(read_json(CATALOGUE), settings), *_own(settings)]
    return tuple(sorted(found, key=lambda each: (each.name, each.endpoint)))


def _of_catalogue(catalogue: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Model]:
    for endpoint, entry in catalogue.items():
        for name in entry["names"]:
            own = settings.get(name, {})
            if own.get("enabled", True) and not _is_own(own):
                yield _model(name, endpoint, {**entry, **own, "url": entry["url"]})


def _own(settings: Mapping[str, Any]) -> Iterator[Model]:
    for name, entry in settings.items():
        if _is_own(entry) and entry.get("enabled", True):
            yield _model(name, name.replace("/", "--"), entry)


def _is_own(entry: Mapping[str, Any]) -> bool:
    """Whether the settings say where a model is, so that it is not the catalogue's."""
    return bool(entry.get("url") or entry.get("hosted"))


def _model(name: str, endpoint: str, entry: Mapping[str, Any]) -> Model:
    secret = entry.get("apiKeySecret") or {}
    key = MODEL_KEYS / secret["name"] / secret["key"] if secret.get("name") else None
    url = entry.get("url") or (entry.get("hosted") or {}).get("url") or ""
    return Model(name, endpoint, url.rstrip("/"), key, bool(entry.get("scaleToZero")), entry)


def model_list(models: tuple[Model, ...], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`model_list` of LiteLLM, without models that may not be served or whose key is not mounted, which it logs."""
    allowed = settings.get("dataRegions") or []
    return [_deployment(model, settings) for model in models if _may_be_served(model, allowed) and _has_key(model)]


def _may_be_served(model: Model, allowed: Sequence[str]) -> bool:
    outside = regions_outside(model.settings, allowed)
    if outside:
        print(
            f"gateway: model {model.name} is left out: its requests may be processed in {', '.join(outside)}, and "
            f"dataRegions of the chart model-gateway allows {', '.join(allowed)} alone.",
            file=sys.stderr,
            flush=True,
        )
    return not outside


def regions_outside(entry: Mapping[str, Any], allowed: Sequence[str]) -> list[str]:
    """Regions of a model that are not allowed, or `an unknown region`. Models of the cluster have none."""
    if not allowed or not (entry.get("hosted") or is_outside_of_cluster(entry.get("url") or "")):
        return []
    regions = entry.get("regions") or ["an unknown region"]
    return [region for region in regions if not any(fnmatchcase(region, pattern) for pattern in allowed)]


def is_outside_of_cluster(url: str) -> bool:
    """Whether a URL leads to a host that is not a Service by its short name or by one that ends in `svc`."""
    host = urlsplit(url).hostname or ""
    return "." in host and not host.endswith((".svc", ".svc.cluster.local"))


def _has_key(model: Model) -> bool:
    if model.key is None or (model.key.exists() and model.key.read_text().strip()):
        return True
    print(
        f"gateway: model {model.name} is left out: it asks for the API key in Secret {model.key.parent.name}, key "
        f"{model.key.name}, which is not mounted or empty: name it under modelKeySecrets of the chart model-gateway.",
        file=sys.stderr,
        flush=True,
    )
    return False


def _deployment(model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    held = float(settings["activator"]["holdSeconds"]) if model.scale_to_zero else 0.0
    timeout = float(settings["timeoutSeconds"]) + held
    base = f"{settings['activator']['url']}/models/{model.endpoint}" if model.scale_to_zero else model.url
    share = settings["share"]
    hosted = model.settings.get("hosted")
    parameters = {
        **(_of_provider(model, hosted) if hosted else _of_engine(model, base)),
        # LiteLLM looks up no environment below the first level.
        "extra_headers": {ACTIVATOR_HEADER: os.environ[ACTIVATOR_TOKEN]} if model.scale_to_zero else None,
        "timeout": timeout,
        "stream_timeout": timeout,
        "max_retries": 0,
        # A request that has been held in vain is not held again.
        "num_retries": 0 if model.scale_to_zero else None,
        "rpm": _share(model.settings.get("requestsPerMinute"), share),
        # LiteLLM reads the count of a model's tokens from each replica's own memory, with Redis too.
        "tpm": _share(model.settings.get("tokensPerMinute"), settings["replicas"]),
        **_costs(model, hosted),
    }
    return {
        "model_name": model.name,
        "litellm_params": {name: value for name, value in parameters.items() if value is not None},
        "model_info": {"id": f"{model.endpoint}/{model.name}"},
    }


def _of_engine(model: Model, base: str) -> dict[str, Any]:
    return {"model": f"hosted_vllm/{model.name}", "api_base": f"{base}/v1", "api_key": _key_reference(model)}


def _of_provider(model: Model, hosted: Mapping[str, Any]) -> dict[str, Any]:
    """Where LiteLLM finds a hosted model. A key for Amazon Bedrock would take the place of the pod's role."""
    kind = hosted["kind"]
    # LiteLLM adds the version for the others.
    version = {"openai": "/v1", "openaiCompatible": "/v1", "google": "/v1beta"}.get(kind, "")
    found = {
        "model": f"{PROVIDERS[kind]}/{hosted['id']}",
        "api_base": f"{model.url}{version}" if model.url else None,
    }
    if kind == "bedrock":
        return {**found, "aws_region_name": hosted["region"]}
    return {**found, "api_key": _key_reference(model)}


def _costs(model: Model, hosted: Mapping[str, Any] | None) -> dict[str, float]:
    """Costs of a token, none where LiteLLM's own list has them, with those of cached tokens and long prompts."""
    prices = model.settings.get("prices") or {}
    if hosted and not prices and hosted["kind"] != "openaiCompatible":
        return {}
    return {
        "input_cost_per_token": prices.get("inputPerMillionTokens", 0) / 1e6,
        "output_cost_per_token": prices.get("outputPerMillionTokens", 0) / 1e6,
    }


def _share(limit: int | None, share: int) -> int | None:
    """What one replica may give of a limit that it counts alone: 1 at least, since 0 would close the model."""
    return None if limit is None else max(1, limit // share)


def _key_reference(model: Model) -> str:
    """Where LiteLLM finds the key: the environment, so that no file and no log shows it."""
    if model.key is None:
        return "none"
    # Of the file's whole path: no two keys share a variable, so that none is sent to another's endpoint.
    variable = f"MODEL_KEY_{hashlib.sha256(str(model.key).encode()).hexdigest()[:32].upper()}"
    os.environ[variable] = model.key.read_text().strip()
    return f"os.environ/{variable}"


def fallbacks(models: tuple[Model, ...]) -> list[dict[str, list[str]]]:
    """`fallbacks` of LiteLLM: models that take over, in their order, for a model that does not answer."""
    found = {each.name: list(each.settings["fallbacks"]) for each in models if each.settings.get("fallbacks")}
    return [{name: others} for name, others in sorted(found.items())]


def litellm_configuration(models: tuple[Model, ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `litellm --config` reads."""
    return {
        "model_list": model_list(models, settings),
        "router_settings": {
            "num_retries": settings["retries"],
            "fallbacks": fallbacks(models),
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
            **_redis_of_router(settings.get("redis") or {}),
        },
        "litellm_settings": _library(settings),
        "general_settings": _proxy(settings),
    }


def _redis_of_router(redis: Mapping[str, Any]) -> dict[str, Any]:
    """The router's own client takes whether it talks TLS from `cache_kwargs` alone."""
    settings = _redis(redis)
    tls = {"cache_kwargs": {"ssl": True}} if settings.get("ssl") else {}
    return {**{f"redis_{name}": value for name, value in settings.items() if name != "ssl"}, **tls}


def _redis(redis: Mapping[str, Any]) -> dict[str, Any]:
    if not redis.get("host"):
        return {}
    password = {"password": "os.environ/REDIS_PASSWORD"} if "REDIS_PASSWORD" in os.environ else {}
    return {"host": redis["host"], "port": redis["port"], "ssl": redis["tls"], **password}


def _library(settings: Mapping[str, Any]) -> dict[str, Any]:
    audit = settings["audit"]
    found: dict[str, Any] = {
        "callbacks": ["gateway.gateway", "prometheus", *(["s3_v2"] if audit["s3"]["bucket"] else [])],
        "request_timeout": settings["timeoutSeconds"] + settings["activator"]["holdSeconds"],
        "turn_off_message_logging": not audit["content"],
        "enable_post_custom_auth_checks": True,
        # Nobody takes a request of their own out of the audit log.
        "global_disable_no_log_param": True,
        "telemetry": False,
        # Of a model with a name like llama-3 it would fetch a tokenizer from huggingface.co in the middle of the first
        # request, and answer nothing else until that succeeds or gives up.
        "disable_hf_tokenizer_download": True,
    }
    if audit["s3"]["bucket"]:
        place = audit["s3"]
        found["s3_callback_params"] = {
            "s3_bucket_name": place["bucket"],
            "s3_region_name": place["region"],
            "s3_path": place["prefix"],
            "s3_endpoint_url": place["endpoint"] or None,
        }
    if redis := _redis(settings.get("redis") or {}):
        # No answer is kept: a cache without call types only counts, for all replicas.
        found |= {"cache": True, "cache_params": {"type": "redis", "supported_call_types": [], **redis}}
    return found


def _proxy(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    if settings["database"]:
        return {**found, "database_url": "os.environ/DATABASE_URL"}
    return {**found, "custom_auth": "gateway.authenticate", "custom_auth_run_common_checks": True}
