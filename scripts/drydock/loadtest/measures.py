"""What a run's rows come to. Times in ms, rates a second; latencies count from the intended send time.

    TTFT    intended to the first event with content (role-only and empty deltas do not count); streams only.
            vLLM's `benchmark_serving` has the same but counts from sending; MLPerf inference counts from the schedule.
    ITL     between two successive events with content of one answer, each gap counted (vLLM: `itl`).
    E2E     intended to the last event with content; without streaming, to the end of the answer.
            So TTFT + the sum of an answer's ITL is its E2E.
    TPOT    (E2E - TTFT) / tokens that were sent after the first event of each answer: with a token an event, output
            tokens - 1 (vLLM: `tpot`, MLPerf: TPOT). Tokens of the first event, and hidden reasoning, do not count.
    chunks per token    events with content by tokens that were sent, over all answers.

Of an answer that came in one piece or in bursts neither ITL nor TPOT is known (`deliveries.py`): in percentiles it
counts as slower than all others, and where a percentile falls among such answers it is null.

Percentiles are numpy's, linear between two values, from all rows. Rows due in the warm-up are left out. Rates are of
the time from the end of the warm-up to the end of sending (or to the last end, where all ended sooner): answers that
ended in it, and tokens by the share of an answer's events that came in it, so that neither the filling nor the
emptying of the server counts. Where most answers end after the sending, as in a load that is shorter than its answers,
rates are of the time until the last end, so that answers that came are not left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drydock.loadtest.deliveries import FEWEST_CHUNKS_PER_TOKEN, Deliveries, Delivery, deliveries, gap_rows
from drydock.loadtest.deliveries import MEANINGS as WAYS
from drydock.loadtest.observations import observations
from drydock.loadtest.records import MEANINGS, UNKNOWN, Floats, Outcome, Records, Run, in_words
from drydock.suite.objectives import PERCENTILES

MOST_LEFT_OUT = 0.01
"""Share of values that a mean may lack."""
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
        judged: requests that no interrupt cut off.
        deliveries: of those that succeeded, how their tokens came (`Delivery`).
        worst: times as in `values`, with the requests that failed counted as slower than all others.
        notes: what the figures alone do not show, in whole sentences.
    """

    requests: int
    ok: int
    errors: Mapping[str, int]
    values: Mapping[str, float | None]
    reasons: Mapping[str, str]
    said: Mapping[str, str] = field(default_factory=dict)
    judged: int = 0
    deliveries: Mapping[str, int] = field(default_factory=dict)
    worst: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "requests": self.requests,
            "ok": self.ok,
            "errors": dict(self.errors),
            "said": dict(self.said),
            "deliveries": dict(self.deliveries),
            "meanings": self.meanings(),
            "values": dict(self.values),
            "reasons": dict(self.reasons),
        }

    def meanings(self) -> dict[str, str]:
        """What each kind of failure, and each way in which tokens came, means."""
        failures = {in_words(kind, 0): words for kind, words in MEANINGS.items() if kind is not Outcome.HTTP_ERROR}
        failures |= {name: MEANINGS[Outcome.HTTP_ERROR] for name in self.errors if name.startswith("http ")}
        ways = {str(kind): words for kind, words in WAYS.items()}
        return {name: (failures | ways)[name] for name in (*self.errors, *self.deliveries)}


def counted(run: Run) -> Records:
    """Rows that were due after the warm-up."""
    return run.records.select(run.records.intended >= run.stage.warm_up_seconds)


def times(records: Records) -> dict[str, Floats]:
    """TTFT, E2E and TPOT of each row in ms: NaN where it has none, infinite where it cannot be known."""
    return _times(records, deliveries(records))


def _times(records: Records, came: Deliveries) -> dict[str, Floats]:
    sizes = np.diff(records.chunk_offsets)
    last = records.finished.copy()
    streamed = sizes > 0
    last[streamed] = records.chunk_times[records.chunk_offsets[1:][streamed] - 1]
    ttft = 1e3 * (records.first_token - records.intended)
    e2e = 1e3 * (last - records.intended)
    after = came.streamed - came.first
    tpot = np.where(after > 0, (e2e - ttft) / np.where(after > 0, after, 1.0), np.nan)
    # an answer of one token has no time between tokens; of one that came at once it is not known
    tpot[~came.known & streamed & (records.output_tokens != 1)] = np.inf
    return {"ttft": ttft, "e2e": e2e, "tpot": tpot}


def measure(run: Run, limits: Mapping[str, float] | None = None) -> Measures:
    """Measure a run.

    Args:
        run: what the generator recorded.
        limits: ms that each request must keep to be good, by `ttft`, `tpot` and `e2e` (vLLM's `--goodput`).
    """
    rows = counted(run)
    good = rows.select(rows.ok)
    came = deliveries(good)
    values: dict[str, float | None] = {}
    found = _times(good, came)
    found["itl"] = _gaps(good, came)
    counted_rows = np.isfinite(came.streamed) & (came.streamed > 0) & (good.chunks > 0)
    total = float(came.streamed[counted_rows].sum())
    ratio = float(good.chunks[counted_rows].sum()) / total if total else None
    values["chunks_per_token"] = ratio
    reasons = _reasons(came, ratio)
    for name in ("ttft", "itl", "tpot", "e2e"):
        values |= _spread(name, np.empty(0) if name == "itl" and "itl" in reasons else found[name])
        if values[f"{name}_mean_ms"] is None:
            reasons.setdefault(name, _unknown(came) or "no request gave one")
        elif any(values[known_name] is None for known_name in _names(name)):
            reasons.setdefault(name, _unknown(came))
    interrupted = rows.counts().get("interrupted", 0) if len(rows) else 0
    judged = len(rows) - interrupted
    values["error_rate"] = 1 - len(good) / judged if judged else None
    values |= _rates(run)
    if untold := int((good.output_tokens == UNKNOWN).sum()):
        values |= dict.fromkeys(TOKEN_RATES)
        reasons["tokens a second"] = f"the server reported no usage for {untold} answers"
    values["goodput"] = values["goodput_rps"] = None
    if limits and judged:
        kept = np.ones(len(good), dtype=bool)
        for name, most in limits.items():
            kept &= ~(found[name] > most) if name == "tpot" else found[name] <= most
        values["goodput"] = float(kept.sum()) / judged
        values["goodput_rps"] = float(kept.sum()) / run.stage.duration_seconds
    errors = {name: number for name, number in rows.counts().items() if name != "ok"} if len(rows) else {}
    return Measures(
        requests=len(rows),
        ok=len(good),
        errors=errors,
        values=values,
        reasons=reasons,
        said={name: run.said[name] for name in errors if name in run.said},
        judged=judged,
        deliveries=came.counts(),
        worst=_worst(found, judged - len(good)),
        notes=(*observations(run, good, came, found), *_short(run)),
    )


def _short(run: Run) -> tuple[str, ...]:
    if not outlast_the_sending(run):
        return ()
    return (
        "most answers ended after the sending: rates count until the last one, and the server was never full for long; "
        f"give a --duration several times the {run.stage.duration_seconds:g} s",
    )


def _gaps(good: Records, came: Deliveries) -> Floats:
    """ITL in ms; infinite in answers that came at once or in bursts."""
    gaps = 1e3 * good.gaps()
    together = np.isin(came.kinds, (Delivery.ONE_PIECE, Delivery.BURSTS))
    gaps[together[gap_rows(good)]] = np.inf
    # an answer that came as one event has no gap to measure
    alone = int((together & (good.chunks == 1)).sum())
    return np.concatenate([gaps, np.full(alone, np.inf)])


def _reasons(came: Deliveries, ratio: float | None) -> dict[str, str]:
    if ratio is None:
        return {"itl": "no streamed answer reported its number of tokens"}
    if ratio < FEWEST_CHUNKS_PER_TOKEN:
        words = f"a chunk is not a token: {ratio:.3f} chunks/token, fewer than {FEWEST_CHUNKS_PER_TOKEN}"
        return {"itl": words}
    return {}


def _unknown(came: Deliveries) -> str:
    """Why times per token are not known, or not of enough answers."""
    kinds = (Delivery.ONE_PIECE, Delivery.BURSTS, Delivery.HIDDEN_TOKENS, Delivery.UNCOUNTED)
    counts = {kind: int(((came.kinds == kind) & ~came.known).sum()) for kind in kinds}
    words = {
        Delivery.ONE_PIECE: "came in one piece",
        Delivery.BURSTS: "came in bursts",
        Delivery.HIDDEN_TOKENS: "counted tokens that were not sent",
        Delivery.UNCOUNTED: "reported no usage",
    }
    told = [f"{number} {words[kind]}" for kind, number in counts.items() if number]
    return f"of {came.kinds.size} answers {', '.join(told)}" if told else ""


def _names(name: str) -> list[str]:
    return [f"{name}_mean_ms", *(f"{name}_p{part}_ms" for part in PERCENTILES)]


def _spread(name: str, values: Floats, lost: int = 0) -> dict[str, float | None]:
    """Mean and percentiles of what is not NaN; infinite values, and those that were lost, are slower than all others.

    Where a percentile falls among them it is None, and so is the mean of more than one in a hundred of them.
    """
    finite = np.sort(values[np.isfinite(values)])
    total = finite.size + int(np.isposinf(values).sum()) + lost
    if not finite.size:
        return dict.fromkeys(_names(name))
    mean = float(finite.mean()) if total - finite.size <= MOST_LEFT_OUT * total else None
    return dict(zip(_names(name), (mean, *(_percentile(finite, total, part) for part in PERCENTILES)), strict=True))


def _percentile(ordered: Floats, total: int, part: int) -> float | None:
    """Linear between two values, as numpy's, of `total` values of which only the lowest are known."""
    place = (total - 1) * part / 100
    below = int(place)
    above = min(below + (place > below), total - 1)
    if above >= ordered.size:
        return None
    return float(ordered[below] + (ordered[above] - ordered[below]) * (place - below))


def _worst(found: Mapping[str, Floats], failed: int) -> dict[str, float | None]:
    """Times with the requests that failed counted as slower than all others."""
    return {name: value for each, values in found.items() for name, value in _spread(each, values, failed).items()}


def outlast_the_sending(run: Run) -> bool:
    """Whether most answers ended after the sending did: a load shorter than its answers."""
    rows = counted(run)
    finished = rows.finished[rows.ok]
    return bool(finished.size) and float(np.mean(finished <= run.stage.sending_seconds)) < 0.5  # noqa: PLR2004 (most)


def _rates(run: Run) -> dict[str, float | None]:
    names = ("completed_rps", *TOKEN_RATES, "sent_rps")
    rows = run.records.select(run.records.ok)
    begin = run.stage.warm_up_seconds
    ends = run.records.finished[np.isfinite(run.records.finished)]
    end = min(run.stage.sending_seconds, float(ends.max())) if ends.size else begin
    if end <= begin:
        return dict.fromkeys(names)
    sending_end = end
    if outlast_the_sending(run):
        end = float(ends.max())
    inside = (rows.finished >= begin) & (rows.finished <= end)
    sizes = np.diff(rows.chunk_offsets)
    within = np.concatenate([[0], np.cumsum((rows.chunk_times >= begin) & (rows.chunk_times <= end))])
    events = within[rows.chunk_offsets[1:]] - within[rows.chunk_offsets[:-1]]
    share = np.where(sizes > 0, events / np.maximum(sizes, 1), inside)
    output = float((share * np.maximum(rows.output_tokens, 0)).sum())
    prompts = float((inside * np.maximum(rows.prompt_tokens, 0)).sum())
    sent = np.count_nonzero((run.records.sent >= begin) & (run.records.sent <= sending_end))
    ended = dict(
        zip(names, (rate / (end - begin) for rate in (int(inside.sum()), output, output + prompts)), strict=False)
    )
    return {**ended, "sent_rps": int(sent) / (sending_end - begin)}
