"""How the tokens of answers came, which decides what can be measured of them.

Times between tokens can only be known where tokens came one by one. No engine computes a token in less than a
millisecond, so events closer than that were computed earlier and held back on their way: by a proxy that buffers, a
compressing gateway, a server that sends an answer when it is complete.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from drydock.loadtest.records import Floats, Integers, Records

HELD_BACK_SECONDS = 0.001
"""Events closer than that came together."""
MOST_HELD_BACK = 0.5
"""Share of an answer's events that came together with the one before, from which on it came in bursts."""
FEWEST_CHUNKS_PER_TOKEN = 0.95
"""Below it a chunk is no token, and times between chunks are not those between tokens."""
_FEWEST_BYTES_PER_TOKEN = 0.5
"""A token is a byte of text at least; what has fewer was not all sent (special tokens have no text)."""


class Delivery(IntEnum):
    """How an answer came."""

    STREAMED = 0
    """Token by token."""
    SEVERAL_TOKENS = 1
    """Several tokens an event, evenly."""
    ONE_PIECE = 2
    """All tokens at once, though a stream was asked for."""
    BURSTS = 3
    """Several events at once, again and again."""
    HIDDEN_TOKENS = 4
    """More tokens were counted than sent: reasoning that the server keeps to itself."""
    UNCOUNTED = 5
    """Streamed, and the server did not say how many tokens there were."""
    NOT_STREAMED = 6
    """In one piece, as it was asked for."""

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


MEANINGS: Mapping[Delivery, str] = {
    Delivery.STREAMED: "token by token",
    Delivery.SEVERAL_TOKENS: "several tokens an event: times between events are not those between tokens",
    Delivery.ONE_PIECE: "all tokens at once: the time to the first token equals that to the last",
    Delivery.BURSTS: "several events at once, again and again: something on the way holds them back",
    Delivery.HIDDEN_TOKENS: "more tokens were counted than sent: reasoning that the server keeps to itself",
    Delivery.UNCOUNTED: "streamed, without a count of tokens",
    Delivery.NOT_STREAMED: "in one piece, as asked for",
}
"""What each means, for people."""


@dataclass(frozen=True)
class Deliveries:
    """How each row's tokens came.

    Attributes:
        kinds: of `Delivery`.
        streamed: tokens that were sent; NaN where they cannot be known.
        first: of these, tokens of the first event and of those that came together with it.
        known: rows of which the time per token can be known.
    """

    kinds: Integers
    streamed: Floats
    first: Floats
    known: np.ndarray[tuple[int], np.dtype[np.bool_]]

    def counts(self) -> dict[str, int]:
        """Rows by kind in words."""
        return {str(kind): number for kind in Delivery if (number := int((self.kinds == kind).sum()))}


def deliveries(records: Records) -> Deliveries:
    """Describe how the answers came that succeeded."""
    chunks = np.diff(records.chunk_offsets)
    tokens: Floats = np.where(records.output_tokens >= 0, records.output_tokens, np.nan).astype(np.float64)
    sent: Floats = tokens - records.hidden_tokens
    short = (records.text_bytes > 0) & (records.text_bytes < _FEWEST_BYTES_PER_TOKEN * sent)
    # a count of hidden tokens that leaves fewer than there were events is not to be trusted either
    untold = (short | (sent < 1)) & (chunks > 0)
    hidden = untold | ((records.hidden_tokens > 0) & (chunks > 0))
    sent = np.where(untold, np.nan, sent)
    close, leading, spans = _held_back(records)
    several = (sent > 1) | (np.isnan(sent) & (chunks > 1))
    whole = (chunks > 0) & several & ((chunks == 1) | (spans < HELD_BACK_SECONDS * np.maximum(chunks - 1, 1)))
    bursts = (chunks > 1) & (close >= MOST_HELD_BACK * (chunks - 1))
    kinds = np.full(len(records), int(Delivery.STREAMED), np.int64)
    rules = (
        (np.isfinite(sent) & (chunks < FEWEST_CHUNKS_PER_TOKEN * sent), Delivery.SEVERAL_TOKENS),
        (np.isnan(tokens) & (chunks > 0), Delivery.UNCOUNTED),
        (hidden, Delivery.HIDDEN_TOKENS),
        (bursts, Delivery.BURSTS),
        (whole, Delivery.ONE_PIECE),
        (chunks == 0, Delivery.NOT_STREAMED),
    )
    for rows, kind in rules:
        kinds[rows] = int(kind)
    known = np.isfinite(sent) & (chunks > 0) & ~whole & ~bursts
    first = np.minimum(_first_tokens(records, chunks, sent) * (1 + leading), np.maximum(sent, 1.0))
    return Deliveries(kinds, sent, first, known)


def gap_rows(records: Records) -> Integers:
    """The row to which each of `Records.gaps` belongs."""
    return np.repeat(np.arange(len(records)), np.maximum(np.diff(records.chunk_offsets) - 1, 0))


def _held_back(records: Records) -> tuple[Integers, Integers, Floats]:
    """For each row: events that came together with the one before, those with the first one, and seconds overall."""
    gaps, rows = records.gaps(), gap_rows(records)
    size = len(records)
    together = gaps < HELD_BACK_SECONDS
    leading = np.bincount(rows, minlength=size).astype(np.int64)
    place = np.arange(rows.size) - np.concatenate([[0], np.cumsum(leading)])[rows] if rows.size else rows
    np.minimum.at(leading, rows[~together], place[~together])
    close = np.bincount(rows[together], minlength=size).astype(np.int64)
    spans: Floats = np.bincount(rows, weights=gaps, minlength=size).astype(np.float64)
    return close, leading, spans


def _first_tokens(records: Records, chunks: Integers, sent: Floats) -> Floats:
    """Tokens of the first event: as counted by the server, else by its share of the text."""
    share = np.where(records.text_bytes > 0, records.first_bytes / np.maximum(records.text_bytes, 1), np.nan)
    share = np.where(np.isnan(share) | (share <= 0), 1 / np.maximum(chunks, 1), share)
    # as many events as tokens: one each
    guess = np.where(chunks >= FEWEST_CHUNKS_PER_TOKEN * sent, 1.0, share * sent)
    guess = np.where(records.first_tokens > 0, records.first_tokens, guess)
    most = np.maximum(sent - np.maximum(chunks - 1, 0), 1.0)
    found: Floats = np.clip(guess, 1.0, most)
    return found
