"""What an answer says, read from the kept bytes when no request waits for it.

An event counts as content when it holds output in any field (`answer_events.py`). Nearly all events of a stream differ
only in that text, so one that begins and ends as an earlier content event did, with text without quotation marks
between, is known to be content without reading its JSON.

Line ends are those of server-sent events (LF, CRLF, CR). As lenient clients do, lines of data without an empty line
between are also read one by one, and a line that is an object of JSON without `data:` before it is read too.
"""

import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from drydock.loadtest.answer_events import ENDS, Said, Usage, is_error, parse
from drydock.loadtest.exchange import Exchange
from drydock.loadtest.records import UNKNOWN, Floats, Outcome
from drydock.loadtest.wire import MalformedError, chunk_spans

_DATA, _NAME = b"data:", b"event:"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ERROR = b'"error"'
"""As a key: within a text its quotation marks would stand behind backslashes."""
_TAIL_BYTES = 2048
_END = re.compile(rb'"finish_reason":\s*"(?:stop|length|tool_calls)"')
_QUOTED_BYTES = 400
_ZIPPED = {b"gzip": 31, b"x-gzip": 31, b"deflate": 47}
"""Window bits of zlib by Content-Encoding; 47 finds out whether deflate has a header."""
_NOTHING = np.empty(0)


@dataclass(slots=True)
class Answer:
    """What was read.

    Attributes:
        times: of the monotonic clock, when each content event was complete; empty for an answer in one piece that was
            asked for as such.
        prompt_tokens, output_tokens, cached_tokens: from usage; -1 where it says nothing.
        hidden_tokens: of the output tokens, those counted as reasoning of which nothing was sent.
        first_tokens: of the first content event, where the server counts tokens in every event; else -1.
        text_bytes, first_bytes: of output, in all content events and in the first one.
        text: of the first choice, kept only when asked for.
        words: what the server says of a failure, or the first bytes of what cannot be read.
    """

    outcome: Outcome
    times: Floats = field(default_factory=lambda: _NOTHING)
    prompt_tokens: int = UNKNOWN
    output_tokens: int = UNKNOWN
    cached_tokens: int = UNKNOWN
    hidden_tokens: int = 0
    first_tokens: int = UNKNOWN
    text_bytes: int = 0
    first_bytes: int = 0
    text: str = ""
    words: bytes = b""


def seems_well(exchange: Exchange, *, stream: bool) -> bool:
    """Whether a complete answer of status 200 ends as good ones do: a glance, where reading it would take longer.

    False for all that are failures but look complete, and for short answers, which are quickly read.
    """
    if not stream or sum(map(len, exchange.pieces)) <= 2 * _TAIL_BYTES:
        return False
    tail = _tail(exchange.pieces)
    return _ERROR not in tail and _END.search(tail) is not None


def _tail(pieces: Sequence[bytes]) -> bytes:
    """The last pieces that were read, about two kilobytes of them."""
    size, first = 0, len(pieces)
    while first and size < _TAIL_BYTES:
        first -= 1
        size += len(pieces[first])
    return b"".join(pieces[first:])[-_TAIL_BYTES:]


def read_answer(exchange: Exchange, *, stream: bool, keep_text: bool = False) -> Answer:
    """Read an exchange that has ended, however it ended."""
    outcome = Outcome.INTERRUPTED if exchange.outcome is None else exchange.outcome
    answer = Answer(outcome)
    if exchange.head is None or exchange.status != 200:  # noqa: PLR2004
        if exchange.head is not None or outcome is Outcome.MALFORMED:
            answer.words = _raw_words(exchange)
        return answer
    reader = _Reader(answer, keep_text)
    try:
        body = _Body(exchange)
        try:
            reader.read(body, stream=stream)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            # an answer that was cut off may well end within an event
            if outcome is Outcome.OK:
                answer.outcome = Outcome.MALFORMED
    except MalformedError as error:
        answer.outcome = Outcome.MALFORMED if outcome is Outcome.OK else outcome
        answer.words = str(error).encode() or _raw_words(exchange)
        return answer
    _judge(answer, reader, body)
    answer.times = _NOTHING if body.whole and not stream else body.times(reader.ends)
    return answer


def _raw_words(exchange: Exchange) -> bytes:
    """The body of an answer that reports an error; the first bytes of what is not HTTP."""
    if exchange.head is None:
        return b"".join(exchange.pieces[:2])[:_QUOTED_BYTES]
    try:
        return _Body(exchange).data
    except MalformedError as error:
        return str(error).encode()


def _judge(answer: Answer, reader: "_Reader", body: "_Body") -> None:
    """How an answer of status 200 ended, by what it says."""
    if reader.spoken and answer.output_tokens == 0:
        answer.output_tokens = UNKNOWN
    if answer.outcome not in (Outcome.OK, Outcome.TRUNCATED):
        answer.words = answer.words or reader.unread
        return
    unfinished = [index for index in reader.spoken if reader.finished.get(index) not in ENDS]
    if reader.failed:
        answer.outcome = Outcome.SERVER_ERROR
    elif answer.outcome is Outcome.TRUNCATED:
        # a connection that broke after all had been said took nothing away
        if reader.done and reader.spoken and not unfinished:
            answer.outcome = Outcome.OK
    elif not reader.spoken:
        answer.outcome = _without_output(answer, reader, body)
        answer.words = reader.unread or body.data[:_QUOTED_BYTES]
    elif not (reader.finished or reader.done or body.whole):
        answer.outcome = Outcome.TRUNCATED
    elif unfinished:
        answer.outcome = Outcome.ENDED_EARLY
        reasons = sorted({reader.finished[index] for index in unfinished if index in reader.finished})
        answer.words = f"finish_reason {', '.join(reasons)}".encode() if reasons else b"no finish_reason"


def _without_output(answer: Answer, reader: "_Reader", body: "_Body") -> Outcome:
    if answer.output_tokens > 0:
        return Outcome.TOKENS_NOT_SENT
    return Outcome.EMPTY if reader.events or reader.done or not body.data.strip() else Outcome.MALFORMED


class _Body:
    """An answer's body without framing, compression and carriage returns.

    Attributes:
        data: the body.
        whole: it is one object of JSON, not a stream of events.

    Raises:
        MalformedError: the framing is broken, or the compression is not supported.
    """

    def __init__(self, exchange: Exchange) -> None:
        head = exchange.head
        raw = b"".join(exchange.pieces)
        start = head.end if head else 0
        encoding = head.encoding if head else b""
        parts = chunk_spans(raw, start) if head and head.chunked else [(start, len(raw))]
        self._stamps = exchange.stamps
        self._read_ends = np.cumsum([len(piece) for piece in exchange.pieces])
        # where bytes change or go, a part must lie within one read to have its time
        self._split = bool(encoding) or any(b"\r" in raw[begin:end] for begin, end in parts)
        if self._split:
            parts = _within_reads(parts, self._read_ends.tolist())
        payloads = [raw[begin:end] for begin, end in parts]
        if encoding:
            payloads = _unzipped(payloads, encoding)
        self._raw_ends = np.array([end for _, end in parts], np.int64)
        self._ends = np.cumsum([len(payload) for payload in payloads], dtype=np.int64)
        self.data = b"".join(payloads)
        if self.data.startswith(_BYTE_ORDER_MARK):
            self.data = b"\n" * len(_BYTE_ORDER_MARK) + self.data[len(_BYTE_ORDER_MARK) :]
        if b"\r" in self.data:
            self._plain_line_ends()
        self.whole = self.data.lstrip().startswith(b"{") and b"\ndata:" not in self.data

    def _plain_line_ends(self) -> None:
        """Line ends as one character, and where the parts end then."""
        found = np.frombuffer(self.data, np.uint8)
        pairs = np.flatnonzero((found[:-1] == ord("\r")) & (found[1:] == ord("\n")))
        self._ends = self._ends - np.searchsorted(pairs, self._ends)
        self.data = self.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def times(self, ends: Sequence[int]) -> Floats:
        """When the read came that completed each event, by where the event ends in the body."""
        if not ends or not self._ends.size:
            return _NOTHING
        places = np.minimum(np.array(ends), len(self.data))
        part = np.minimum(np.searchsorted(self._ends, places), self._ends.size - 1)
        back = 0 if self._split else np.maximum(self._ends[part] - places, 0)
        read = np.searchsorted(self._read_ends, self._raw_ends[part] - back)
        times: Floats = np.array(self._stamps)[np.minimum(read, len(self._stamps) - 1)]
        return times


def _within_reads(parts: Sequence[tuple[int, int]], read_ends: Sequence[int]) -> list[tuple[int, int]]:
    """The same bytes in parts of which none lies in two reads."""
    found: list[tuple[int, int]] = []
    for begin, end in parts:
        at = begin
        for cut in read_ends[bisect_right(read_ends, begin) :]:
            if cut >= end:
                break
            found.append((at, cut))
            at = cut
        found.append((at, end))
    return found


def _unzipped(payloads: Sequence[bytes], encoding: bytes) -> list[bytes]:
    if encoding not in _ZIPPED:
        name = encoding.decode("latin-1")
        raise MalformedError(f"Content-Encoding: {name}, which was not asked for and is not read")
    reader = zlib.decompressobj(_ZIPPED[encoding])
    try:
        return [reader.decompress(payload) for payload in payloads]
    except zlib.error as error:
        raise MalformedError(f"Content-Encoding: {encoding.decode('latin-1')} whose bytes are not: {error}") from error


class _Reader:
    """Reads one answer's events, in order.

    Attributes:
        ends: where each content event ends in the body.
        events: that were read as events of this API.
        spoken: choices that had output; finished: their finish reasons; done: `[DONE]` came.
        failed: the server reported an error.
        unread: the first bytes of the first event that could not be read.
    """

    def __init__(self, answer: Answer, keep_text: bool) -> None:
        self._answer, self._keep_text = answer, keep_text
        self._before = self._after = b""
        self._reasoning = 0
        self.ends: list[int] = []
        self.events = 0
        self.spoken: set[int] = set()
        self.finished: dict[int, str] = {}
        self.done = self.failed = False
        self.unread = b""

    def read(self, body: _Body, *, stream: bool) -> None:
        """Read all of a body; errors as those of `parse`."""
        if body.whole:
            self._take(json.loads(body.data), body.data, len(body.data))
        elif stream or b"data:" in body.data or not body.data.strip():
            self._stream(body.data)
        else:
            self.unread = body.data[:_QUOTED_BYTES]
            raise ValueError("neither JSON nor events")

    def _stream(self, body: bytes) -> None:
        at = 0
        for event in body.split(b"\n\n"):
            if self.done:
                return  # clients read no further
            at += len(event) + 2
            if event and not self._as_before(event, at):
                self._event(event, at)

    def _as_before(self, event: bytes, end: int) -> bool:
        before, after = self._before, self._after
        if not before or not event.startswith(before) or not event.endswith(after):
            return False
        text = event[len(before) : -len(after)]
        if not text or b'"' in text or b"\\" in text:
            return False
        self._answer.text_bytes += len(text)
        self.ends.append(end)
        if self._keep_text:
            self._answer.text += text.decode(errors="replace")
        return True

    def _event(self, event: bytes, end: int) -> None:
        name = b""
        lines: list[tuple[bytes, int]] = []
        at = end - len(event) - 2
        for line in event.split(b"\n"):
            at += len(line) + 1
            if line.startswith(_DATA):
                lines.append((line[len(_DATA) :].strip(), at))
            elif line.startswith(_NAME):
                name = line[len(_NAME) :].strip()
            elif line.lstrip().startswith(b"{"):
                lines.append((line.strip(), at))
        data = b"\n".join(line for line, _ in lines)
        if not data:
            return
        try:
            said = parse(data, name)
        except ValueError:
            self._line_by_line(lines, name)
            return
        self._heard(said, data, end)
        if said.plain:
            self._learn(event, said.text)

    def _line_by_line(self, lines: Sequence[tuple[bytes, int]], name: bytes) -> None:
        for line, end in lines:
            if not line:
                continue
            try:
                said = parse(line, name)
            except ValueError:
                self._note(line)
                raise
            self._heard(said, line, end)

    def _take(self, found: object, data: bytes, end: int) -> None:
        """An answer in one piece."""
        if not isinstance(found, dict) or not (is_error(found) or "choices" in found):
            self._note(data)
            raise TypeError("no answer of this API")
        self._heard(parse(data), data, end)

    def _heard(self, said: Said, data: bytes, end: int) -> None:
        self.events += said.known and not said.done
        self.done |= said.done
        if said.error:
            self.failed = True
            self._answer.words = data
            return
        if not said.known:
            self._note(data)
        if said.usage:
            self._count(said.usage, first=not self.ends and bool(said.spoken))
        if said.spoken:
            self.spoken.update(said.spoken)
            self.ends.append(end)
            self._answer.text_bytes += said.content
            self._reasoning += said.reasoning
            if len(self.ends) == 1:
                self._answer.first_bytes = said.content
        for index, reason in said.finished.items():
            if self.finished.get(index, reason) in ENDS or reason not in ENDS:  # an abort is not undone by a stop
                self.finished[index] = reason
        if self._keep_text:
            self._answer.text += said.text
        if self._reasoning:
            self._answer.hidden_tokens = 0

    def _note(self, data: bytes) -> None:
        self.unread = self.unread or data[:_QUOTED_BYTES]

    def _count(self, usage: Usage, *, first: bool) -> None:
        answer = self._answer
        if first:
            answer.first_tokens = usage.output
        answer.prompt_tokens = max(usage.prompt, answer.prompt_tokens)
        answer.output_tokens = max(usage.output, answer.output_tokens)
        answer.cached_tokens = max(usage.cached, answer.cached_tokens)
        if usage.reasoning > 0 and not self._reasoning:
            answer.hidden_tokens = usage.reasoning

    def _learn(self, event: bytes, text: str) -> None:
        """Remember what stands around a content event's text, where that is all that it says."""
        before, found, after = event.partition(b'"' + text.encode(errors="replace") + b'"')
        plain = '"' not in text and "\\" not in text
        if text and plain and found and before.rstrip().endswith((b'"content":', b'"text":')):
            self._before, self._after = before + b'"', b'"' + after
