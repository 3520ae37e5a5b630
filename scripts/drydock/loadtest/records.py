"""What came back: one row a request, in columns.

All times are seconds since the stage's start, on one monotonic clock for all workers of a host; NaN where it never
happened.

    intended    when the request was due (open loop: by the arrival process; a later turn: the answer before it plus the
                thinking time; closed loop: when its client was free). Latencies count from here, so that a stalled
                generator or server is not flattered (coordinated omission).
    sent        when the generator took it up: its first system call for this request (connecting, where it has to)
    first_byte  the first read of the answer, whatever it holds
    first_token the read that completed the first event with content; role-only and empty deltas do not count
    finished    the read that completed the answer, or when it was given up
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from drydock.errors import UsageError
from drydock.loadtest.settings import Stage

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNKNOWN = -1
"""A count that the server did not report."""


class Outcome(IntEnum):
    """How a request ended."""

    OK = 0
    HTTP_ERROR = 1
    """An answer with a status other than 200; `Records.status` says which."""
    TIMEOUT = 2
    CONNECTION_REFUSED = 3
    CONNECTION_RESET = 4
    """Closed or reset before a complete header came, or while the request was written."""
    TRUNCATED = 5
    """The answer began and was cut off: no last chunk, too few bytes, or neither `[DONE]` nor a finish reason."""
    MALFORMED = 6
    """Not HTTP, or an event that is not JSON, or an answer of another API."""
    SERVER_ERROR = 7
    """An error object in an answer of status 200, most often inside a stream that had begun well."""
    INTERRUPTED = 8
    """Still under way when the run was stopped."""
    NOT_SENT = 9
    """The generator could not send it (no socket left, name not resolved): its own fault."""
    TLS_ERROR = 10
    """No agreement on encryption, or a certificate that does not verify."""
    EMPTY = 11
    """A complete answer of status 200 without output, and without tokens in its usage."""
    ENDED_EARLY = 12
    """Output came, and its finish reason does not mean that it is whole, or there is none."""
    TOKENS_NOT_SENT = 13
    """No output came, and usage counts tokens all the same: reasoning that the server keeps, or an answer lost."""


MEANINGS: Mapping[Outcome, str] = {
    Outcome.HTTP_ERROR: "the server answered with a status other than 200",
    Outcome.TIMEOUT: "the answer was not complete in time",
    Outcome.CONNECTION_REFUSED: "no server accepted the connection",
    Outcome.CONNECTION_RESET: "the connection ended before an answer began",
    Outcome.TRUNCATED: "the answer was cut off",
    Outcome.MALFORMED: "the answer cannot be read as one of this API",
    Outcome.SERVER_ERROR: "an error came within an answer of status 200",
    Outcome.INTERRUPTED: "the run was stopped meanwhile",
    Outcome.NOT_SENT: "the generator could not send it",
    Outcome.TLS_ERROR: "encryption failed, or the certificate does not verify",
    Outcome.EMPTY: "the answer was complete and held no output",
    Outcome.ENDED_EARLY: "output came and no finish reason that means an end (stop, length, tool_calls)",
    Outcome.TOKENS_NOT_SENT: "tokens were counted and none was sent, as when all of them were hidden reasoning",
}
"""What each failure means, for people."""


def in_words(outcome: Outcome, status: int) -> str:
    """An outcome for people: `ok`, `http 429`, `connection refused`."""
    return f"http {status}" if outcome is Outcome.HTTP_ERROR else outcome.name.lower().replace("_", " ")


@dataclass(frozen=True, eq=False)
class Records:
    """Requests in columns of equal length, in the order in which they ended.

    Attributes:
        prompt_tokens, output_tokens, cached_tokens: from the server's usage only; -1 where it reported none.
        asked_tokens: length that the answer must have (max_tokens with ignore_eos); -1 where it may be shorter.
        hidden_tokens: of the output tokens, reasoning that was counted and not sent.
        first_tokens: of the first content event, where the server counts tokens in every event; else -1.
        text_bytes, first_bytes: of output, in all content events and in the first one; -1 where not known.
        chunks: events with content (a chunk is not a token).
        chunk_times: when each event with content was complete, of all requests one after the other.
        chunk_offsets: request i has `chunk_times[chunk_offsets[i]:chunk_offsets[i + 1]]`; one longer than the others.
        response_bytes: read of the answer, header and framing included.
        outcome: of `Outcome`.
        status: of HTTP, 0 where none came.
        model: index into `models`.
        session: conversation, counted over all workers; turn: from 0.
        worker: which process sent it.
        retried: sent again because the server had just closed the kept connection (no byte of an answer had come).
        models: names that requests asked for.
    """

    intended: Floats
    sent: Floats
    first_byte: Floats
    first_token: Floats
    finished: Floats
    prompt_tokens: Integers
    output_tokens: Integers
    asked_tokens: Integers
    cached_tokens: Integers
    hidden_tokens: Integers
    first_tokens: Integers
    text_bytes: Integers
    first_bytes: Integers
    chunks: Integers
    response_bytes: Integers
    outcome: Integers
    status: Integers
    model: Integers
    session: Integers
    turn: Integers
    worker: Integers
    retried: Integers
    chunk_times: Floats
    chunk_offsets: Integers
    models: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.intended.size)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which rows ended well."""
        matches: NDArray[np.bool_] = self.outcome == int(Outcome.OK)
        return matches

    def times_of(self, row: int) -> Floats:
        """When each content event of a request was complete."""
        return self.chunk_times[self.chunk_offsets[row] : self.chunk_offsets[row + 1]]

    def gaps(self) -> Floats:
        """Seconds between successive content events of each request, of all requests one after the other."""
        if self.chunk_times.size == 0:
            return np.empty(0)
        differences = np.diff(self.chunk_times)
        last = self.chunk_offsets[1:-1] - 1
        inside = np.ones(differences.size, dtype=bool)
        inside[last[(last >= 0) & (last < differences.size)]] = False
        return differences[inside]

    def label(self, row: int) -> str:
        """A row's outcome in words."""
        return in_words(Outcome(int(self.outcome[row])), int(self.status[row]))

    def meaning(self, row: int) -> str:
        """What a row's failure means, in a sentence without a full stop; empty where it succeeded."""
        return MEANINGS.get(Outcome(int(self.outcome[row])), "")

    def counts(self) -> dict[str, int]:
        """Requests by outcome in words, most first."""
        pairs, numbers = np.unique(np.stack([self.outcome, self.status]), axis=1, return_counts=True)
        found: dict[str, int] = {}
        for (outcome, status), number in zip(pairs.T, numbers, strict=True):
            name = in_words(Outcome(int(outcome)), int(status))
            found[name] = found.get(name, 0) + int(number)
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def select(self, rows: NDArray[np.bool_]) -> "Records":
        """Only the rows marked true."""
        chosen = np.flatnonzero(rows)
        sizes = np.diff(self.chunk_offsets)
        kept = np.repeat(rows, sizes)
        offsets = np.concatenate([[0], np.cumsum(sizes[chosen])]).astype(np.int64)
        columns = {name: getattr(self, name)[chosen] for name in COLUMNS}
        return Records(**columns, chunk_times=self.chunk_times[kept], chunk_offsets=offsets, models=self.models)

    def save(self, path: Path | IO[bytes]) -> None:
        """Write all columns as one .npz file."""
        arrays = {name: getattr(self, name) for name in (*COLUMNS, "chunk_times", "chunk_offsets")}
        np.savez(path, **arrays, models=np.array(self.models, dtype=np.str_))

    @classmethod
    def load(cls, path: Path | IO[bytes]) -> Self:
        """Read what `save` wrote.

        Raises:
            UsageError: the file is absent or is not one of records.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Any] = {
                    name: file[name]
                    for name in (*COLUMNS, "chunk_times", "chunk_offsets")
                    if name in file or name not in _LATER
                }
                rows = arrays["intended"].size
                arrays |= {name: np.full(rows, _LATER[name]) for name in _LATER.keys() - arrays.keys()}
                models = tuple(str(name) for name in file["models"])
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"{path} holds no records of a load test: {error}", remedy="Make the load test again, with -o."
            ) from error
        return cls(**arrays, models=models)

    @classmethod
    def empty(cls, models: Sequence[str] = ()) -> Self:
        """No rows."""
        columns: dict[str, Any] = {name: np.empty(0, _dtype(name)) for name in COLUMNS}
        return cls(**columns, chunk_times=np.empty(0), chunk_offsets=np.zeros(1, np.int64), models=tuple(models))

    @classmethod
    def concatenate(cls, parts: Sequence["Records"]) -> Self:
        """All rows of all parts, by the time they ended."""
        models = tuple(dict.fromkeys(name for part in parts for name in part.models))
        if not any(len(part) for part in parts):
            return cls.empty(models)
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
        columns["model"] = np.concatenate(
            [
                np.array([models.index(name) for name in part.models], np.int64)[part.model]
                for part in parts
                if len(part)
            ]
        )
        order = np.argsort(columns["finished"], kind="stable")
        sizes = np.concatenate([np.diff(part.chunk_offsets) for part in parts])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        flat = np.concatenate([part.chunk_times for part in parts])
        offsets = np.concatenate([[0], np.cumsum(sizes[order])]).astype(np.int64)
        places = np.repeat(starts[order] - offsets[:-1], sizes[order]) + np.arange(flat.size)
        chosen: dict[str, Any] = {name: column[order] for name, column in columns.items()}
        return cls(**chosen, chunk_times=flat[places], chunk_offsets=offsets, models=models)


COLUMNS = tuple(
    attribute.name for attribute in fields(Records) if attribute.name not in ("chunk_times", "chunk_offsets", "models")
)
"""Names of the columns with one value a request."""

_LATER = {
    "hidden_tokens": 0,
    "first_tokens": UNKNOWN,
    "text_bytes": UNKNOWN,
    "first_bytes": UNKNOWN,
    "asked_tokens": UNKNOWN,
}
"""Columns that files of earlier versions lack, with what they hold then."""


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One worker's watch on itself.

    Attributes:
        cpu_share: processor time by wall time while it sent and read, of one core.
        wake_lag_p99_seconds: how much later than asked for it woke while nothing came, at the 99th percentile.
        read_delay_p99_seconds: most that a read may have waited for those before it, at the 99th percentile of reads.
        dropped: requests that it could not send.
    """

    worker: int
    cpu_share: float
    wake_lag_p99_seconds: float
    read_delay_p99_seconds: float
    dropped: int


@dataclass(frozen=True, slots=True)
class GeneratorHealth:
    """Whether the generator itself kept up; when not, its figures describe it and not the server.

    Attributes:
        send_lag_p50_seconds, send_lag_p99_seconds, send_lag_max_seconds: sent minus intended. NaN without requests.
        intended_rate: conversations due a second of sending; None in a closed loop.
        achieved_rate: conversations begun a second of sending.
        valid: whether the run counts.
        reasons: why not, in whole sentences.
    """

    send_lag_p50_seconds: float
    send_lag_p99_seconds: float
    send_lag_max_seconds: float
    intended_rate: float | None
    achieved_rate: float
    workers: tuple[WorkerHealth, ...]
    valid: bool
    reasons: tuple[str, ...]

    @property
    def dropped(self) -> int:
        """Requests that could not be sent."""
        return sum(worker.dropped for worker in self.workers)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "dropped": self.dropped}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run under way, about twice a second, over all workers.

    Attributes:
        seconds: since the stage's start (below 0 while workers get ready).
        sent, finished, errors: requests so far; in_flight: now.
        sent_per_second, chunks_per_second: over the last two seconds; `chunks` are reads that brought something.
        ttft_seconds: median time to first byte over the last interval; NaN without answers.
    """

    seconds: float
    sent: int
    in_flight: int
    finished: int
    errors: int
    sent_per_second: float
    chunks_per_second: float
    ttft_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One stage, done.

    Attributes:
        stage: what was asked for; rows with `intended` below its `warm_up_seconds` are warm-up.
        started_at: wall-clock time of the stage's start, s since the epoch.
        complete: false when it was interrupted or a worker was lost; what had been recorded is there.
        interrupted: a user or a signal ended it early.
        notes: what went otherwise than asked for, in whole sentences.
        said: what the server said of failures, by their kind: one short sample each; of what cannot be read, its
            first bytes.
    """

    records: Records
    health: GeneratorHealth
    stage: Stage
    started_at: float
    complete: bool
    notes: tuple[str, ...] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False


def _dtype(name: str) -> type[np.generic]:
    return np.float64 if name in ("intended", "sent", "first_byte", "first_token", "finished") else np.int64
