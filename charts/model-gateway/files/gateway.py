"""What this chart adds to LiteLLM: keys from a Secret, budgets, an audit log, and models that need no restart."""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import audit
import configuration
import keys
import litellm
from fastapi import HTTPException, Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from prometheus_client import start_http_server
from request_filter import FIELDS, MARK, MODELS

DAY = 86400
SETTINGS = configuration.read_json(configuration.SETTINGS)


async def authenticate(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """The limits of the key that a request carries; LiteLLM enforces them."""
    key = api_key or ""
    caller = keys.caller(key)
    if caller is None or MARK not in request.scope:
        raise ProxyException("The API key is not known", type="auth_error", param="api_key", code=401)
    name = caller.name
    if caller.administrator:
        return UserAPIKeyAuth(api_key=key, key_alias=name, user_role=LitellmUserRoles.PROXY_ADMIN)
    limits, share = SETTINGS["keys"][name], SETTINGS["share"]
    per_model = limits.get("perModel") or {}
    return UserAPIKeyAuth(
        api_key=key,
        key_alias=name,
        user_id=name,
        user_role=LitellmUserRoles.INTERNAL_USER,
        allowed_routes=[*FIELDS, *MODELS],
        models=sorted(caller.models),
        rpm_limit=_share(limits.get("requestsPerMinute"), share),
        tpm_limit=_share(limits.get("tokensPerMinute"), share),
        max_parallel_requests=_share(limits.get("parallelRequests"), share),
        metadata={
            "model_rpm_limit": _shares(per_model, "requestsPerMinute", share),
            "model_tpm_limit": _shares(per_model, "tokensPerMinute", share),
        },
    )


def _share(limit: int | None, share: int) -> int | None:
    return None if limit is None else max(1, limit // share)


def _shares(per_model: Mapping[str, Mapping[str, int]], key: str, share: int) -> dict[str, int]:
    return {model: max(1, limits[key] // share) for model, limits in per_model.items() if limits.get(key)}


class Gateway(CustomLogger):
    """LiteLLM tells it of every request; it holds budgets, writes the audit log and looks for other models."""

    def __init__(self) -> None:
        super().__init__()
        self.task: asyncio.Task[None] | None = None
        self.seen = _identity()
        # Apart from the requests' port, so that whoever may send requests cannot read what others do.
        host = os.environ.get("GATEWAY_METRICS_HOST", "0.0.0.0")  # noqa: S104 (a pod's own network)
        start_http_server(int(os.environ.get("GATEWAY_METRICS_PORT", "9090")), host)
        try:
            self.task = asyncio.get_running_loop().create_task(self._watch())
        except RuntimeError:
            print("gateway: models are read once: there is no event loop to look for others", file=sys.stderr)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(keys.LOOK_SECONDS)
            if _identity() != self.seen and proxy_server.llm_router is not None:
                self.seen = _identity()
                _take_models(proxy_server.llm_router)

    async def async_pre_call_hook(
        self, user_api_key_dict: UserAPIKeyAuth, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Refuse a request whose key or model has spent its budget, and leave redaction to the chart."""
        _without_switches(data)
        for kind, name in (("keys", user_api_key_dict.key_alias), ("models", data.get("model"))):
            budget = SETTINGS[kind].get(name, {}).get("budget")
            if budget and await _spent(_counter(kind, str(name), budget)) >= budget["amount"]:
                left = int(DAY * budget["days"] - time.time() % (DAY * budget["days"])) + 1
                detail = f"The budget of {kind[:-1]} {name} is spent: {budget['amount']} in {budget['days']} days"
                raise HTTPException(429, {"error": detail}, headers={"retry-after": str(left)})

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """No endpoint of a model that has spent its budget, which a request may come to as to a fallback."""
        budget = SETTINGS["models"].get(model, {}).get("budget")
        spent = budget and await _spent(_counter("models", model, budget)) >= budget["amount"]
        return [] if spent else healthy_deployments

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        """Charge what a request cost, and write it down."""
        payload = kwargs.get("standard_logging_object") or {}
        key = (payload.get("metadata") or {}).get("user_api_key_alias")
        cost = float(payload.get("response_cost") or 0)
        for kind, name in (("keys", key), ("models", payload.get("model_group"))):
            budget = SETTINGS[kind].get(name, {}).get("budget")
            if budget and cost:
                await _charge(_counter(kind, str(name), budget), cost, int(DAY * budget["days"]))
        if SETTINGS["audit"]["stdout"]:
            audit.write(_of_success(payload, SETTINGS["audit"]["content"]))

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: UserAPIKeyAuth,
        traceback_str: str | None = None,
    ) -> None:
        """Write down what was refused, or failed after every retry and fallback."""
        if SETTINGS["audit"]["stdout"]:
            content = SETTINGS["audit"]["content"]
            audit.write(_of_failure(request_data, original_exception, user_api_key_dict, content))


def _without_switches(data: dict[str, Any]) -> None:
    """LiteLLM would let a client turn redaction on and off by a header."""
    for field in ("metadata", "litellm_metadata"):
        headers = (data.get(field) or {}).get("headers") or {}
        for name in [each for each in headers if "message-redaction" in each.lower()]:
            del headers[name]


def _identity() -> str:
    keys_of_models = sorted(each for each in configuration.MODEL_KEYS.glob("*/*") if each.is_file())
    files = (configuration.CATALOGUE, configuration.SETTINGS, *keys_of_models)
    return hashlib.sha256(b"".join(each.read_bytes() if each.exists() else b"-" for each in files)).hexdigest()


def _take_models(router: litellm.Router) -> None:
    try:
        models = configuration.read_models()
        found = configuration.model_list(models, SETTINGS)
    except (OSError, ValueError, KeyError) as error:
        print(f"gateway: the models stay as they were: {error}", file=sys.stderr, flush=True)
        return
    router.set_model_list(found)
    router.fallbacks = configuration.fallbacks(models)
    proxy_server.llm_model_list = router.get_model_list()
    print(f"gateway: models are {', '.join(sorted({each.name for each in models}))}", file=sys.stderr, flush=True)


def _counter(kind: str, name: str, budget: Mapping[str, Any]) -> str:
    return f"drydock:spend:{kind}:{name}:{int(time.time() // (DAY * budget['days']))}"


async def _spent(counter: str) -> float:
    cache = proxy_server.proxy_logging_obj.internal_usage_cache.dual_cache
    store = cache.redis_cache or cache.in_memory_cache
    return float(await store.async_get_cache(counter) or 0)


async def _charge(counter: str, cost: float, seconds: int) -> None:
    cache = proxy_server.proxy_logging_obj.internal_usage_cache.dual_cache
    store = cache.redis_cache or cache.in_memory_cache
    await store.async_increment(counter, cost, ttl=seconds)


def _of_success(payload: Mapping[str, Any], content: bool) -> dict[str, Any]:
    of_key = payload.get("metadata") or {}
    entry = {
        "key": of_key.get("user_api_key_alias"),
        "keyHash": of_key.get("user_api_key_hash"),
        "request": payload.get("litellm_call_id"),
        "model": payload.get("model_group"),
        "endpoint": payload.get("model_id"),
        "call": payload.get("call_type"),
        "status": "success",
        "promptTokens": payload.get("prompt_tokens"),
        "completionTokens": payload.get("completion_tokens"),
        "cost": payload.get("response_cost"),
        "seconds": round(float(payload.get("response_time") or 0), 3),
    }
    return entry | ({"prompt": payload.get("messages"), "response": payload.get("response")} if content else {})


def _of_failure(data: Mapping[str, Any], error: Exception, key: UserAPIKeyAuth, content: bool) -> dict[str, Any]:
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    entry = {
        "key": key.key_alias,
        "keyHash": key.token,
        "request": data.get("litellm_call_id"),
        "model": data.get("model"),
        "status": "failure",
        "code": int(code) if str(code).isdigit() else None,
        "error": type(error).__name__,
    }
    return entry | ({"prompt": data.get("messages") or data.get("prompt")} if content else {})


gateway = Gateway()
