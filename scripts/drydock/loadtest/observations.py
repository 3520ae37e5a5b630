"""What a run's figures alone do not show, in whole sentences: streams that were held back, a server that stalled."""

from collections.abc import Mapping
from math import ceil

import numpy as np

from drydock.loadtest.deliveries import Deliveries, Delivery
from drydock.loadtest.records import Floats, Records, Run

STALL_SECONDS, STALL_FACTOR = 1.0, 10.0
"""A silence of the server is reported when it is longer than both: seconds, and so many usual times to first token."""
_MOST_GAPS = 5
_ROUNDING = 1e-6


def observations(run: Run, good: Records, came: Deliveries, found: Mapping[str, Floats]) -> tuple[str, ...]:
    """Observe a run.

    Args:
        run: all of it.
        good: rows that succeeded and are measured.
        came: how their tokens came.
        found: their times in ms, by name.
    """
    notes = []
    size = len(good)
    for kind, how in ((Delivery.ONE_PIECE, "all at once"), (Delivery.BURSTS, "in bursts")):
        rows = came.kinds == kind
        if rows.any():
            first, last = np.median(found["ttft"][rows]), np.median(found["e2e"][rows])
            notes.append(
                f"{int(rows.sum())} of {size} answers came {how}: first token after {first:.0f} ms, last one after "
                f"{last:.0f} ms (medians); a proxy buffers the stream, or the server does not stream"
            )
    rows = came.kinds == Delivery.HIDDEN_TOKENS
    if rows.any():
        notes.append(
            f"{int(rows.sum())} of {size} answers counted more tokens than they sent (hidden reasoning): times per "
            "token are of those that were sent, tokens a second of all"
        )
    short = (good.asked_tokens > 0) & (good.output_tokens >= 0) & (good.output_tokens < good.asked_tokens)
    if short.any():
        given, asked = np.median(good.output_tokens[short]), np.median(good.asked_tokens[short])
        notes.append(
            f"{int(short.sum())} of {size} answers were shorter than asked for although ignore_eos was sent: "
            f"{given:.0f} tokens in place of {asked:.0f} (medians); the server or a gateway limits them, and the load "
            "is lighter than it seems"
        )
    return (*notes, *([stall] if (stall := _stall(run)) else []))


def _stall(run: Run) -> str:
    """The longest time after the warm-up in which nothing came although requests were under way, if it stands out."""
    records = run.records
    events = np.sort(records.chunk_times)
    if not events.size:
        return ""
    moments = np.concatenate([[np.nanmin(records.sent)], events])
    gaps = np.diff(moments)
    first = records.first_token - records.sent
    for place in np.argsort(-gaps)[:_MOST_GAPS]:
        begin, end = float(moments[place]), float(moments[place + 1])
        if end - begin < STALL_SECONDS:
            break
        later = first[(records.sent >= end) & np.isfinite(first)]
        usual = float(np.median(later if later.size else first[np.isfinite(first)]))
        waiting = int(((records.sent <= begin + _ROUNDING) & (records.finished >= end)).sum())
        if waiting and end > run.stage.warm_up_seconds and end - begin > STALL_FACTOR * usual:
            cause = "engines compile kernels at their first requests" if place == 0 else "the server stalled"
            return (
                f"nothing came for {end - begin:.1f} s from {begin:.1f} s on, with requests under way ({waiting}); "
                f"later the first token took {1e3 * usual:.0f} ms: {cause}; --warm-up {ceil(end) + 1} leaves it out"
            )
    return ""
