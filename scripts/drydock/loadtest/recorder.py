"""Collects what a worker's exchanges came to, and reads their answers in spare time."""

from array import array
from collections import deque
from collections.abc import Sequence
from math import nan

import numpy as np

from drydock.loadtest.answers import Answer, read_answer
from drydock.loadtest.exchange import Exchange
from drydock.loadtest.records import COLUMNS, Outcome, Records, in_words
from drydock.loadtest.secrets import Secret
from drydock.loadtest.vocabulary import told

_SPARE_READS = 256
"""Answers of more reads wait for the end of the stage: one is read at a stroke, and 256 reads take 0.3 ms."""
_MOST_BYTES = 256 * 2**20
"""Kept unread at most; beyond that reading them takes time from the load, which the watch then sees."""
_RECENT = 400


class Recorder:
    """One worker's rows.

    Args:
        secrets: that no word of the server may hold.

    Attributes:
        finished, errors, reads: so far.
        said: what the server said of its failures, by their kind: of the first of each.
        recent: seconds to first byte of recent answers.
    """

    def __init__(self, *, stream: bool, models: tuple[str, ...], worker: int, secrets: Sequence[Secret]) -> None:
        self._stream, self._models, self._worker, self._secrets = stream, models, worker, secrets
        self.said: dict[str, str] = {}
        self._columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
        self._times: list[array[float]] = []
        self._backlog: deque[tuple[Exchange, int, int, int]] = deque()
        self._long: list[tuple[Exchange, int, int, int]] = []
        self._bytes = 0
        self.finished = self.errors = self.reads = 0
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, exchange: Exchange, *, model: int, session: int, turn: int) -> None:
        """Keep an ended exchange, to be read later."""
        self._count(exchange)
        self._backlog.append((exchange, model, session, turn))
        self._bytes += sum(map(len, exchange.pieces))
        while self._bytes > _MOST_BYTES and self._backlog:
            self._read(*self._backlog.popleft())

    def add_read(self, exchange: Exchange, answer: Answer, *, model: int, session: int, turn: int) -> None:
        """Keep an ended exchange whose answer had to be read at once."""
        self._count(exchange)
        self._append(exchange, answer, model, session, turn)

    def spare_work(self) -> bool:
        """Read one answer that waits, and return whether there was one."""
        while self._backlog:
            item = self._backlog.popleft()
            if len(item[0].pieces) > _SPARE_READS:
                self._long.append(item)
                continue
            self._read(*item)
            return True
        return False

    def records(self, start: float) -> Records:
        """All rows, after reading what waits; times count from `start`, of the monotonic clock."""
        for item in (*self._backlog, *self._long):
            self._read(*item)
        self._backlog.clear()
        self._long.clear()
        empty = Records.empty()
        columns = {name: np.array(self._columns[name], getattr(empty, name).dtype) for name in COLUMNS}
        for name in ("intended", "sent", "first_byte", "first_token", "finished"):
            columns[name] = columns[name] - start
        times = np.concatenate([np.array(time) for time in self._times]) if self._times else np.empty(0)
        offsets = np.concatenate([[0], np.cumsum([len(time) for time in self._times])]).astype(np.int64)
        return Records(**columns, chunk_times=times - start, chunk_offsets=offsets, models=self._models)

    def _count(self, exchange: Exchange) -> None:
        self.finished += 1
        self.errors += exchange.failed
        self.reads += len(exchange.stamps)
        if exchange.stamps:
            self.recent.append(exchange.stamps[0] - exchange.due)

    def _read(self, exchange: Exchange, model: int, session: int, turn: int) -> None:
        self._append(exchange, read_answer(exchange, stream=self._stream), model, session, turn)
        self._bytes -= sum(map(len, exchange.pieces))

    def _append(self, exchange: Exchange, answer: Answer, model: int, session: int, turn: int) -> None:
        values = {
            "intended": exchange.due,
            "sent": exchange.sent,
            "first_byte": exchange.stamps[0] if exchange.stamps else nan,
            "first_token": float(answer.times[0]) if answer.times.size else nan,
            "finished": exchange.finished,
            "prompt_tokens": answer.prompt_tokens,
            "output_tokens": answer.output_tokens,
            "asked_tokens": exchange.asked,
            "cached_tokens": answer.cached_tokens,
            "hidden_tokens": answer.hidden_tokens,
            "first_tokens": answer.first_tokens,
            "text_bytes": answer.text_bytes,
            "first_bytes": answer.first_bytes,
            "chunks": answer.times.size,
            "response_bytes": sum(map(len, exchange.pieces)),
            "outcome": answer.outcome,
            "status": exchange.status,
            "model": model,
            "session": session,
            "turn": turn,
            "worker": self._worker,
            "retried": exchange.retried,
        }
        for name, column in self._columns.items():
            column.append(values[name])
        self._times.append(array("d", answer.times.tobytes()))
        if answer.outcome is not exchange.outcome:
            self.errors += (answer.outcome is not Outcome.OK) - exchange.failed
        if answer.words and answer.outcome is not Outcome.OK:
            kind = in_words(answer.outcome, exchange.status)
            if kind not in self.said:
                self.said[kind] = told(answer.words, self._secrets)
