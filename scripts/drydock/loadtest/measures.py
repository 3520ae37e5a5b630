"""What a run's rows come to. Times in ms, rates a second; latencies count from the intended send time.

    TTFT    intended to the first event with content (role-only and empty deltas do not count); streams only.
            vLLM's `benchmark_serving` has the same but counts from sending; MLPerf inference counts from the schedule.
    ITL     between two successive events with content of one answer, each gap counted (vLLM: `itl`).
    E2E     intended to the last event with content; without streaming, to the end of the answer.
            So TTFT + the sum of an answer's ITL is its E2E.
    TPOT    (E2E - TTFT) / (output tokens - 1) of each answer with two tokens or more (vLLM: `tpot`, MLPerf: TPOT).
    chunks per token    events with content by output tokens of the server's usage, over all answers.

Percentiles are numpy's, linear between two values, from all rows. Rows due in the warm-up are left out. Rates are of
the time from the end of the warm-up to the end of sending (or to the last end, where all ended sooner): answers that
ended in it, and tokens by the share of an answer's events that came in it, so that neither the filling nor the
emptying of the server counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drydock.loadtest.records import UNKNOWN, Floats, Records, Run
from drydock.suite.objectives import PERCENTILES

FEWEST_CHUNKS_PER_TOKEN = 0.95
"""Below it a chunk is no token, and times between chunks are not those between tokens."""

TOKEN_RATES = ("output_tokens_per_second", "total_tokens_per_second")


@dataclass(frozen=True, slots=True)
class Measures:
    """What one run came to.

    Attributes:
        requests: due after the warm-up; ok: of these, ended well.
        errors: the others by kind.
        values: by name: `ttft_p95_ms`, `itl_mean_ms`, `error_rate`, `output_tokens_per_second`, ...; None where
            there is nothing to measure or the figure would be wrong, with the reason in `reasons`.
        reasons: why a group of values (`itl`, `tpot`, ...) is None.
        said: what the server said of errors, a short sample of each kind.
    """

    requests: int
    ok: int
    errors: Mapping[str, int]
    values: Mapping[str, float | None]
    reasons: Mapping[str, str]
    said: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "requests": self.requests,
            "ok": self.ok,
            "errors": dict(self.errors),
            "said": dict(self.said),
            "values": dict(self.values),
            "reasons": dict(self.reasons),
        }


def counted(run: Run) -> Records:
    """Rows that were due after the warm-up."""
    return run.records.select(run.records.intended >= run.stage.warm_up_seconds)


def times(records: Records) -> dict[str, Floats]:
    """TTFT, E2E and TPOT of each row in ms, NaN where it has none."""
    sizes = np.diff(records.chunk_offsets)
    last = records.finished.copy()
    streamed = sizes > 0
    last[streamed] = records.chunk_times[records.chunk_offsets[1:][streamed] - 1]
    ttft = 1e3 * (records.first_token - records.intended)
    e2e = 1e3 * (last - records.intended)
    tokens = records.output_tokens
    tpot = np.where(tokens > 1, (e2e - ttft) / np.maximum(tokens - 1, 1), np.nan)
    return {"ttft": ttft, "e2e": e2e, "tpot": tpot}


def measure(run: Run, limits: Mapping[str, float] | None = None) -> Measures:
    """Measure a run.

    Args:
        run: what the generator recorded.
        limits: ms that each request must keep to be good, by `ttft`, `tpot` and `e2e` (vLLM's `--goodput`).
    """
    rows = counted(run)
    good = rows.select(rows.ok)
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    found = times(good)
    found["itl"] = 1e3 * good.gaps()
    tokens = good.output_tokens > 0
    total = int(good.output_tokens[tokens].sum())
    ratio = float(good.chunks[tokens].sum()) / total if total and good.chunk_times.size else None
    values["chunks_per_token"] = ratio
    if not tokens.all():
        reasons["tpot"] = f"the server told no usage for {int((~tokens).sum())} answers"
    if ratio is None:
        reasons["itl"] = "no streamed answer told its number of tokens"
    elif ratio < FEWEST_CHUNKS_PER_TOKEN:
        reasons["itl"] = f"a chunk is not a token: {ratio:.3f} chunks/token, fewer than {FEWEST_CHUNKS_PER_TOKEN}"
    for name in ("ttft", "itl", "tpot", "e2e"):
        values |= _spread(name, np.empty(0) if name == "itl" and name in reasons else found[name])
        if values[f"{name}_mean_ms"] is None:
            reasons.setdefault(name, "no request gave one")
    interrupted = rows.counts().get("interrupted", 0) if len(rows) else 0
    judged = len(rows) - interrupted
    values["error_rate"] = 1 - len(good) / judged if judged else None
    values |= _rates(run)
    if untold := int((good.output_tokens == UNKNOWN).sum()):
        values |= dict.fromkeys(TOKEN_RATES)
        reasons["tokens a second"] = f"the server told no usage for {untold} answers"
    values["goodput"] = values["goodput_rps"] = None
    if limits and judged:
        kept = np.ones(len(good), dtype=bool)
        for name, most in limits.items():
            kept &= ~(found[name] > most) if name == "tpot" else found[name] <= most
        values["goodput"] = float(kept.sum()) / judged
        values["goodput_rps"] = float(kept.sum()) / run.stage.duration_seconds
    errors = {name: number for name, number in rows.counts().items() if name != "ok"} if len(rows) else {}
    said = {name: run.said[name] for name in errors if name in run.said}
    return Measures(len(rows), len(good), errors, values, reasons, said)


def _spread(name: str, values: Floats) -> dict[str, float | None]:
    names = [f"{name}_mean_ms", *(f"{name}_p{part}_ms" for part in PERCENTILES)]
    finite = values[np.isfinite(values)]
    if not finite.size:
        return dict.fromkeys(names)
    return dict(zip(names, map(float, (finite.mean(), *np.percentile(finite, PERCENTILES))), strict=True))


def _rates(run: Run) -> dict[str, float | None]:
    names = ("completed_rps", *TOKEN_RATES, "sent_rps")
    rows = run.records.select(run.records.ok)
    begin = run.stage.warm_up_seconds
    ends = run.records.finished[np.isfinite(run.records.finished)]
    end = min(run.stage.sending_seconds, float(ends.max())) if ends.size else begin
    if end <= begin:
        return dict.fromkeys(names)
    inside = (rows.finished >= begin) & (rows.finished <= end)
    sizes = np.diff(rows.chunk_offsets)
    within = np.concatenate([[0], np.cumsum((rows.chunk_times >= begin) & (rows.chunk_times <= end))])
    events = within[rows.chunk_offsets[1:]] - within[rows.chunk_offsets[:-1]]
    share = np.where(sizes > 0, events / np.maximum(sizes, 1), inside)
    output = float((share * np.maximum(rows.output_tokens, 0)).sum())
    prompts = float((inside * np.maximum(rows.prompt_tokens, 0)).sum())
    sent = np.count_nonzero((run.records.sent >= begin) & (run.records.sent <= end))
    rates = (int(inside.sum()), output, output + prompts, int(sent))
    return dict(zip(names, (rate / (end - begin) for rate in rates), strict=True))
