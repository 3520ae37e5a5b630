"""The server's own view: its /metrics scraped while it is loaded, to set beside the client's."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from drydock.loadtest.settings import Target
from drydock.loadtest.wire import tls_context

INTERVAL_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_GAUGES = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "kv_cache_usage": "vllm:kv_cache_usage_perc",
}
_HISTOGRAMS = {
    "ttft": "vllm:time_to_first_token_seconds",
    "queue": "vllm:request_queue_time_seconds",
    "e2e": "vllm:e2e_request_latency_seconds",
}
_QUANTILES = (50, 95, 99)

Buckets = Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the server.

    Attributes:
        at: s since the epoch.
        gauges: requests running and waiting, share of the KV cache in use; those that it has.
        histograms: requests by upper bound in s, cumulative, summed over engines and models.
        sums: sum of each histogram, s.
    """

    at: float
    gauges: Mapping[str, float]
    histograms: Mapping[str, Buckets]
    sums: Mapping[str, float]


@dataclass(slots=True)
class ServerView:
    """What was scraped; empty where the server has no metrics."""

    samples: list[Sample] = field(default_factory=list)
    trouble: str = ""

    def summary(self) -> dict[str, float | None]:
        """Means and quantiles in ms of what the server measured between first and last look, and peaks of gauges.

        Quantiles are interpolated linearly within a bucket, as Prometheus' `histogram_quantile` does, but never within
        the first one, of which nothing is known but its upper bound: there they are None, and `<name>_at_most` is that.
        """
        if len(self.samples) < 2:  # noqa: PLR2004 (a difference needs two)
            return {}
        first, last = self.samples[0], self.samples[-1]
        found: dict[str, float | None] = {}
        for name in last.histograms:
            before = first.histograms.get(name, {})
            counts = {bound: count - before.get(bound, 0.0) for bound, count in last.histograms[name].items()}
            total = max(counts.values(), default=0.0)
            spent = last.sums.get(name, 0.0) - first.sums.get(name, 0.0)
            found[f"{name}_mean_ms"] = 1e3 * spent / total if total else None
            for part in _QUANTILES:
                value, bound = _quantile(counts, part / 100)
                found[f"{name}_p{part}_ms"] = value
                if bound is not None:
                    found[f"{name}_p{part}_ms_at_most"] = bound
        for name in _GAUGES:
            values = [sample.gauges[name] for sample in self.samples if name in sample.gauges]
            found[f"{name}_max"] = max(values) if values else None
        return found

    def series(self, started_at: float) -> dict[str, list[float]]:
        """Gauges over the seconds since the stage's start."""
        found: dict[str, list[float]] = {"seconds": [round(sample.at - started_at, 3) for sample in self.samples]}
        for name in _GAUGES:
            if all(name in sample.gauges for sample in self.samples):
                found[name] = [sample.gauges[name] for sample in self.samples]
        return found


@contextmanager
def watched(target: Target, metrics_url: str | None = None) -> Iterator[ServerView]:
    """Scrape /metrics once a second while the block runs; a server without them is no error.

    Args:
        target: the endpoint, with its key, headers and certificates.
        metrics_url: where the server's metrics are, when that is not the endpoint.
    """
    parts = urlsplit(metrics_url or target.base_url)
    url = f"{parts.scheme}://{parts.netloc}/metrics"
    view, ended = ServerView(), threading.Event()
    thread = threading.Thread(target=_scrape, args=(url, target, view, ended), daemon=True)
    thread.start()
    try:
        yield view
    finally:
        ended.set()
        thread.join(_TIMEOUT_SECONDS + INTERVAL_SECONDS)


def _scrape(url: str, target: Target, view: ServerView, ended: threading.Event) -> None:
    import urllib3
    from urllib3.exceptions import HTTPError

    headers = target.dialect.header_fields({}, target.api_key)
    pool = urllib3.PoolManager(retries=False, ssl_context=tls_context(target))
    last = False
    while not last:
        last = ended.wait(INTERVAL_SECONDS if view.samples else 0.0)
        try:
            answer = pool.request("GET", url, headers=headers, timeout=_TIMEOUT_SECONDS)
            if answer.status != 200:  # noqa: PLR2004
                view.trouble = f"{url} answered {answer.status}"
                return
            view.samples.append(read_page(answer.data.decode()))
        except (HTTPError, ValueError) as error:
            view.trouble = f"{url}: {error}"
            return


def read_page(text: str, at: float | None = None) -> Sample:
    """The metrics of a page in Prometheus' text format.

    Raises:
        ValueError: it is another format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    gauges: dict[str, float] = {}
    histograms: dict[str, dict[float, float]] = {}
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for short, name in _GAUGES.items():
            if family.name == name:
                values = [sample.value for sample in family.samples]
                gauges[short] = max(values) if short == "kv_cache_usage" else sum(values)
        for short, name in _HISTOGRAMS.items():
            if family.name == name:
                _add_histogram(family.samples, histograms.setdefault(short, {}), sums, short)
    return Sample(time.time() if at is None else at, gauges, histograms, sums)


def _add_histogram(samples: Sequence[Any], buckets: dict[float, float], sums: dict[str, float], name: str) -> None:
    for sample in samples:
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + sample.value
        elif sample.name.endswith("_sum"):
            sums[name] = sums.get(name, 0.0) + sample.value


def _quantile(counts: Buckets, share: float) -> tuple[float | None, float | None]:
    """In ms; and its upper bound where it lies in the first bucket and is not known otherwise."""
    total = max(counts.values(), default=0.0)
    below_bound, below_count = None, 0.0
    for bound, count in sorted(counts.items()):
        if total and count >= share * total:
            if below_bound is None:
                return None, 1e3 * bound if bound != float("inf") else None
            if bound == float("inf"):
                return 1e3 * below_bound, None
            part = (share * total - below_count) / (count - below_count) if count > below_count else 1.0
            return 1e3 * (below_bound + part * (bound - below_bound)), None
        below_bound, below_count = bound, count
    return None, None
