"""The server's metrics, with the names, labels and buckets of `data/vllm/metrics.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)

_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram, "summary": Summary}


@dataclass(frozen=True, slots=True)
class Finished:
    """Times of one request, s of the engine's clock, and its tokens."""

    reason: str
    arrival: float
    scheduled: float
    first: float
    end: float
    prompt: int
    output: int
    cached: int
    max_tokens: int


class Metrics:
    """All metrics of one server."""

    def __init__(self, model_name: str, cache_config: Mapping[str, str], *, lora: bool = False) -> None:
        import yaml

        self._registry = CollectorRegistry()
        for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
            self._registry.register(collector)
        self._labels = {"engine": "0", "model_name": model_name}
        self._all: dict[str, Any] = {}
        definitions = yaml.safe_load((files("drydock") / "data/vllm/metrics.yaml").read_text())
        for name, facts in definitions.items():
            self._define(name, facts, cache_config)
        if lora:
            names = ("max_lora", "waiting_lora_adapters", "running_lora_adapters")
            self._lora = Gauge(
                "vllm:lora_requests_info", "Running stats on lora requests.", names, registry=self._registry
            )
        self._child("vllm:engine_sleep_state", "awake").set(1)

    def _define(self, name: str, facts: Mapping[str, Any], cache_config: Mapping[str, str]) -> None:
        own = tuple(facts.get("labels", ()))
        engine = name.startswith("vllm:")
        labels = (*own, *self._labels) if engine else own
        extra = {"buckets": facts["buckets"]} if "buckets" in facts else {}
        if name == "vllm:cache_config_info":
            labels, values = ("engine", *cache_config), {"engine": "0", **cache_config}
            gauge = Gauge(name, facts["help"], labels, registry=self._registry)
            gauge.labels(**values).set(1)
            return
        metric = _KINDS[facts["type"]](name, facts["help"], labels, registry=self._registry, **extra)
        if not engine:
            self._all[name] = metric
        elif own:
            for value in facts["children"]:
                self._all[f"{name} {value}"] = metric.labels(**{own[0]: value}, **self._labels)
        else:
            self._all[name] = metric.labels(**self._labels)

    def _child(self, name: str, value: str = "") -> Any:
        return self._all[f"{name} {value}" if value else name]

    def render(self) -> bytes:
        """The text that GET /metrics answers."""
        return generate_latest(self._registry)

    def queues(self, *, running: int, waiting: int, kv_usage: float) -> None:
        """Set what the scheduler holds now."""
        self._child("vllm:num_requests_running").set(running)
        self._child("vllm:num_requests_waiting").set(waiting)
        self._child("vllm:num_requests_waiting_by_reason", "capacity").set(waiting)
        self._child("vllm:kv_cache_usage_perc").set(kv_usage)

    def loras(self, limit: int, waiting: list[str], running: list[str]) -> None:
        """Set which adapters are in use."""
        self._lora.clear()
        self._lora.labels(str(limit), ",".join(waiting), ",".join(running)).set_to_current_time()

    def step(self, *, generated: int, prefill: int, preempted: int) -> None:
        """Count one engine step."""
        self._child("vllm:iteration_tokens_total").observe(generated + prefill)
        self._child("vllm:generation_tokens").inc(generated)
        if preempted:
            self._child("vllm:num_preemptions").inc(preempted)

    def gaps(self, seconds: float, times: int) -> None:
        """Count equal inter-token latencies."""
        histogram = self._child("vllm:inter_token_latency_seconds")
        for _ in range(times):
            histogram.observe(seconds)

    def first_token(self, seconds: float, *, prompt: int, cached: int, caching: bool) -> None:
        """Count the end of a prefill."""
        self._child("vllm:time_to_first_token_seconds").observe(seconds)
        self._child("vllm:prompt_tokens").inc(prompt)
        self._child("vllm:prompt_tokens_by_source", "local_compute").inc(prompt - cached)
        self._child("vllm:prompt_tokens_by_source", "local_cache_hit").inc(cached)
        self._child("vllm:prompt_tokens_cached").inc(cached)
        if caching:
            self._child("vllm:prefix_cache_queries").inc(prompt)
            self._child("vllm:prefix_cache_hits").inc(cached)

    def finished(self, request: Finished) -> None:
        """Count a request that has ended."""
        self._child("vllm:request_success", request.reason).inc()
        if request.reason == "abort":
            return
        decode = request.end - request.first
        observed = {
            "vllm:request_prompt_tokens": request.prompt,
            "vllm:request_generation_tokens": request.output,
            "vllm:request_max_num_generation_tokens": request.output,
            "vllm:request_params_n": 1,
            "vllm:request_params_max_tokens": request.max_tokens,
            "vllm:e2e_request_latency_seconds": request.end - request.arrival,
            "vllm:request_queue_time_seconds": request.scheduled - request.arrival,
            "vllm:request_inference_time_seconds": request.end - request.scheduled,
            "vllm:request_prefill_time_seconds": request.first - request.scheduled,
            "vllm:request_decode_time_seconds": decode,
            "vllm:request_prefill_kv_computed_tokens": request.prompt - request.cached,
        }
        if request.output > 1:
            observed["vllm:request_time_per_output_token_seconds"] = decode / (request.output - 1)
        for name, value in observed.items():
            self._child(name).observe(value)

    def http(self, handler: str, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count one HTTP request."""
        self._all["http_requests"].labels(handler=handler, method=method, status=f"{status // 100}xx").inc()
        self._all["http_request_size_bytes"].labels(handler=handler).observe(received)
        self._all["http_response_size_bytes"].labels(handler=handler).observe(sent)
        self._all["http_request_duration_highr_seconds"].observe(seconds)
        self._all["http_request_duration_seconds"].labels(handler=handler, method=method).observe(seconds)
