"""Load generators to compare: how each is installed and started, and what it reports of every request.

All are given the same: so many requests at a constant rate, 64 tokens in, 128 out, streamed, and one worker process
where the tool lets that be chosen. A tokenizer of a thousand words is made on the spot; nothing is downloaded.
"""

import json
import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drydock.loadtest.benchmark.stream_server import MODEL, TOKENS
from drydock.loadtest.plan_file import plan_facts
from drydock.loadtest.run_files import load_run
from drydock.loadtest.settings import Constant, Lengths, LoadPlan, Stage, Target, Workload

Floats = NDArray[np.float64]
INPUT_TOKENS = 64


@dataclass(frozen=True)
class Seen:
    """What a tool reports of its requests, in the order in which it began them.

    Attributes:
        ttft: seconds to first token.
        gaps: a row a request of seconds between tokens; or one column, their mean, where it reports only that.
        tokens: of all answers together.
    """

    ttft: Floats
    gaps: Floats
    tokens: int


@dataclass(frozen=True)
class Order:
    """What a tool is to do.

    Attributes:
        rate: requests a second.
        folder: for its files.
    """

    port: int
    rate: float
    requests: int
    folder: Path

    @property
    def url(self) -> str:
        """Of the server."""
        return f"http://127.0.0.1:{self.port}"


class Tool(Protocol):
    """One generator."""

    @property
    def name(self) -> str:
        """With its version, once installed."""

    @property
    def package(self) -> str:
        """What is installed into an environment of its own; empty for none."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that it runs with."""

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """What starts it."""

    def read(self, folder: Path) -> Seen:
        """What it wrote."""


@dataclass(frozen=True)
class Drydock:
    """This project's."""

    name: str = "drydock loadtest"
    package: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """A master and one worker."""
        workload = Workload("benchmark", Lengths("fixed", INPUT_TOKENS), Lengths("fixed", TOKENS))
        stage = Stage(Constant(order.rate), order.requests / order.rate, max_conversations=order.requests)
        plan = order.folder / "plan.json"
        plan.write_text(json.dumps(plan_facts(LoadPlan(Target(order.url, MODEL), workload, stage))))
        node = [sys.executable, "-m", "drydock.loadtest.node", "all"]
        return [*node, "--plan", plan, "--output", order.folder / "run"]

    def read(self, folder: Path) -> Seen:
        """From its records."""
        records = load_run(folder / "run").records
        order = np.argsort(records.intended)
        rows = [np.diff(records.times_of(int(row))) for row in order]
        return Seen((records.first_token - records.sent)[order], _table(rows), int(records.output_tokens.sum()))


@dataclass(frozen=True)
class Bare:
    """The bound: a loop that stamps reads."""

    name: str = "bare loop"
    package: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """One process."""
        numbers = [str(order.port), str(order.rate), str(order.requests / order.rate)]
        return [sys.executable, "-m", "drydock.loadtest.benchmark.bare", *numbers, order.folder / "bare.npz"]

    def read(self, folder: Path) -> Seen:
        """From its times; it counts reads, of which each brought one token."""
        with np.load(folder / "bare.npz") as file:
            reads, sent = file["reads"], file["sent"]
        return Seen(reads[:, 0] - sent, np.diff(reads), int(np.isfinite(reads).sum()))


@dataclass(frozen=True)
class GuideLlm:
    """https://github.com/vllm-project/guidellm."""

    name: str = "guidellm"
    package: str = "guidellm"
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"GUIDELLM__MAX_WORKER_PROCESSES": "1", "HF_HUB_OFFLINE": "1"}
    )

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """A constant profile."""
        return [
            *(bin_folder / "guidellm", "run", "--disable-console"),
            *("--backend", f"kind=openai_http,target={order.url},model={MODEL}"),
            *("--profile", f"kind=constant,rate={order.rate}"),
            *("--constraint", f"kind=max_requests,count={order.requests}"),
            *("--tokenizer", f"kind=hf_auto,model={tokenizer(order.folder)}"),
            *("--data", f"kind=synthetic_text,prompt_tokens={INPUT_TOKENS},output_tokens={TOKENS}"),
            *("--output", f"kind=json,path={order.folder / 'guidellm.json'}"),
        ]

    def read(self, folder: Path) -> Seen:
        """From its report, which has the mean gap of each request."""
        told = json.loads((folder / "guidellm.json").read_text())["benchmarks"][0]["requests"]["successful"]
        told.sort(key=lambda each: float(each["request_start_time"]))
        return Seen(
            np.array([request["time_to_first_token_ms"] for request in told]) / 1e3,
            np.array([[request["inter_token_latency_ms"]] for request in told]) / 1e3,
            sum(request["output_tokens"] or 0 for request in told),
        )


@dataclass(frozen=True)
class AiPerf:
    """https://github.com/ai-dynamo/aiperf."""

    name: str = "aiperf"
    package: str = "aiperf"
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """A constant arrival pattern."""
        return [
            *(bin_folder / "aiperf", "profile", "--model", MODEL, "--url", order.url, "--endpoint-type", "chat"),
            *("--streaming", "--tokenizer", tokenizer(order.folder), "--use-server-token-count", "--ui", "none"),
            *("--request-rate", str(order.rate), "--arrival-pattern", "constant"),
            *("--request-count", str(order.requests), "--isl", str(INPUT_TOKENS), "--osl", str(TOKENS)),
            *("--workers-max", "1", "--record-processors", "1", "--output-artifact-dir", order.folder / "aiperf"),
        ]

    def read(self, folder: Path) -> Seen:
        """From its record of each request."""
        lines = (folder / "aiperf" / "profile_export.jsonl").read_text().splitlines()
        told = [line for line in map(json.loads, lines) if not line.get("error")]
        told.sort(key=lambda each: int(each["metadata"]["request_start_ns"]))
        metrics: list[dict[str, Any]] = [request["metrics"] for request in told]
        return Seen(
            np.array([metric["time_to_first_token"]["value"] for metric in metrics]) / 1e3,
            _table([np.array(metric["inter_chunk_latency"]["value"]) / 1e3 for metric in metrics]),
            sum(metric["output_sequence_length"]["value"] for metric in metrics),
        )


@dataclass(frozen=True)
class InferencePerf:
    """https://github.com/kubernetes-sigs/inference-perf; its random prompts go to /v1/completions only."""

    name: str = "inference-perf"
    package: str = "inference-perf"
    environment: Mapping[str, str] = field(default_factory=lambda: {"HF_HUB_OFFLINE": "1"})

    def command(self, order: Order, bin_folder: Path) -> Sequence[str | Path]:
        """A constant load."""
        fixed = {"std_dev": 0, "total_count": order.requests}
        facts = {
            "load": {
                "type": "constant",
                "num_workers": 1,
                "worker_max_concurrency": 100_000,
                "stages": [{"rate": order.rate, "duration": round(order.requests / order.rate)}],
            },
            "api": {"type": "completion", "streaming": True},
            "server": {"type": "vllm", "model_name": MODEL, "base_url": order.url, "ignore_eos": True},
            "tokenizer": {"pretrained_model_name_or_path": str(tokenizer(order.folder))},
            "data": {
                "type": "random",
                "input_distribution": {"min": INPUT_TOKENS, "max": INPUT_TOKENS, "mean": INPUT_TOKENS, **fixed},
                "output_distribution": {"min": TOKENS, "max": TOKENS, "mean": TOKENS, **fixed},
            },
            "report": {"request_lifecycle": {"summary": True, "per_stage": False, "per_request": True}},
            "storage": {"local_storage": {"path": str(order.folder / "inference-perf")}},
        }
        file = order.folder / "config.yml"
        file.write_text(json.dumps(facts))
        return [bin_folder / "inference-perf", "--config_file", file]

    def read(self, folder: Path) -> Seen:
        """From its record of each request."""
        told = json.loads((folder / "inference-perf" / "per_request_lifecycle_metrics.json").read_text())
        told = sorted((request for request in told if not request["error"]), key=lambda each: float(each["start_time"]))
        metrics = [request["info"]["response_metrics"] for request in told]
        times = [np.array(metric["output_token_times"]) for metric in metrics]
        starts = np.array([request["start_time"] for request in told])
        return Seen(
            np.array([time[0] for time in times]) - starts,
            _table([np.diff(time[:TOKENS]) for time in times]),
            sum(metric["output_tokens"] for metric in metrics),
        )


PEERS: tuple[Tool, ...] = (GuideLlm(), AiPerf(), InferencePerf())


def _table(rows: Sequence[Floats]) -> Floats:
    """Rows of gaps; the means alone where a tool saw other than one event a token."""
    if all(len(row) == TOKENS - 1 for row in rows):
        return np.array(rows)
    return np.array([[float(np.sum(row)) / (TOKENS - 1)] for row in rows])


def tokenizer(folder: Path) -> Path:
    """A tokenizer that peers can load and make prompts with: a thousand words, split at blanks."""
    path = folder / "tokenizer"
    path.mkdir(exist_ok=True)
    special = ["<unk>", "<s>", "</s>"]
    words = [*special, *string.ascii_letters, *string.digits, *string.punctuation, "the", "end"]
    words += [f"w{number}" for number in range(900)]
    model = {"type": "WordLevel", "vocab": {word: place for place, word in enumerate(words)}, "unk_token": "<unk>"}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": place, "content": word, **flags} for place, word in enumerate(special)]
    facts = {"version": "1.0", "added_tokens": added, "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    nothing = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    (path / "tokenizer.json").write_text(json.dumps({**facts, **nothing}))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}))
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return path
