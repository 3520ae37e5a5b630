"""What an answer says, read from the kept bytes when nobody waits for it.

An event counts as content when a choice's text, or its delta's content, reasoning or tool calls, is not empty. Nearly
all events of a stream differ only in that text, so one that begins and ends as an earlier content event did, with text
without quotation marks between, is known to be content without reading its JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from drydock.loadtest.exchange import Exchange
from drydock.loadtest.records import UNKNOWN, Floats, Outcome
from drydock.loadtest.wire import MalformedError, chunk_spans

_DATA = b"data:"
_DONE = b"[DONE]"
_ERROR = b'"error"'
"""As a key: within a text its quotation marks would stand behind backslashes."""
_TAIL_BYTES = 1024
_MOST_TOKENS = 2**53
_SPOKEN = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call")
_NOTHING = np.empty(0)


@dataclass(slots=True)
class Answer:
    """What was read.

    Attributes:
        times: of the monotonic clock, when each content event was complete; empty for an answer in one piece.
        prompt_tokens, output_tokens, cached_tokens: from usage; -1 where it tells none.
        text: of the first choice, kept only when asked for.
        error: what an answer of status 200 says instead, as JSON.
    """

    outcome: Outcome
    times: Floats = field(default_factory=lambda: _NOTHING)
    prompt_tokens: int = UNKNOWN
    output_tokens: int = UNKNOWN
    cached_tokens: int = UNKNOWN
    text: str = ""
    error: bytes = b""


def seems_well(exchange: Exchange, *, stream: bool) -> bool:
    """Whether a complete answer of status 200 ends as good ones do: a glance, where reading it would take longer.

    False for all that are failures but look complete (an error in the stream, an early end); for few others.
    """
    tail = _tail(exchange.pieces) if stream else b"".join(exchange.pieces)
    if _ERROR in tail:
        return False
    if not stream:
        return b'"choices"' in tail
    return _DONE in tail and (b'"finish_reason"' in tail or b'"usage"' in tail)


def _tail(pieces: Sequence[bytes]) -> bytes:
    """The last pieces that were read, about a kilobyte of them."""
    size, first = 0, len(pieces)
    while first and size < _TAIL_BYTES:
        first -= 1
        size += len(pieces[first])
    return b"".join(pieces[first:])[-_TAIL_BYTES:]


def error_body(exchange: Exchange) -> bytes:
    """The body of an answer that tells an error; empty where it has none."""
    try:
        return _body(exchange)[0]
    except MalformedError:
        return b""


def read_answer(exchange: Exchange, *, stream: bool, keep_text: bool = False) -> Answer:
    """Read an exchange that has ended, however it ended."""
    outcome = Outcome.INTERRUPTED if exchange.outcome is None else exchange.outcome
    answer = Answer(outcome)
    if exchange.head is None or exchange.status != 200:  # noqa: PLR2004
        return answer
    try:
        if stream:
            _read_stream(exchange, answer, keep_text)
        elif outcome is Outcome.OK:
            _read_whole(exchange, answer, keep_text)
    except (MalformedError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        # an answer that was cut off may well end within an event
        if outcome is Outcome.OK:
            answer.outcome = Outcome.MALFORMED
    return answer


def _body(exchange: Exchange) -> tuple[bytes, Sequence[int], Sequence[int]]:
    """The body without framing; and for each piece of it, where it ends in the body and in what was read."""
    raw = b"".join(exchange.pieces)
    head = exchange.head
    start = head.end if head else 0
    if head is None or not head.chunked:
        return raw[start:], [len(raw) - start], [len(raw)]
    spans = chunk_spans(raw, start)
    ends = np.array([end for _, end in spans], np.int64)
    sizes = ends - np.array([begin for begin, _ in spans], np.int64)
    return b"".join([raw[begin:end] for begin, end in spans]), np.cumsum(sizes).tolist(), ends.tolist()


def _read_whole(exchange: Exchange, answer: Answer, keep_text: bool) -> None:
    raw = _body(exchange)[0]
    body = json.loads(raw)
    if body.get("error"):
        answer.outcome, answer.error = Outcome.SERVER_ERROR, raw
        return
    choices = body["choices"]
    _count(body.get("usage"), answer)
    if keep_text and choices:
        answer.text = _text(choices[0])


def _read_stream(exchange: Exchange, answer: Answer, keep_text: bool) -> None:
    body, body_ends, raw_ends = _body(exchange)
    if b"\r" in body:
        body, body_ends = _plain_line_ends(body, body_ends)
    reader = _Events(answer, keep_text)
    at = 0
    ends: list[int] = []
    for event in body.split(b"\n\n"):
        at += len(event) + 2
        try:
            if event and reader.spoke(event):
                ends.append(at)
        except ValueError:
            if answer.outcome is Outcome.OK:
                raise
    answer.times = _times(exchange, ends, body_ends, raw_ends, len(body))
    if answer.outcome is Outcome.OK and reader.failed:
        answer.outcome = Outcome.SERVER_ERROR
    elif answer.outcome is Outcome.OK and not reader.ended:
        answer.outcome = Outcome.TRUNCATED
        if body.startswith(b"{") and json.loads(body).get("error"):
            answer.outcome, answer.error = Outcome.SERVER_ERROR, body


class _Events:
    """Reads one stream's events, in order.

    Attributes:
        ended: the last token was told, by `[DONE]` or a finish reason.
        failed: the server told an error.
    """

    def __init__(self, answer: Answer, keep_text: bool) -> None:
        self._answer, self._keep_text = answer, keep_text
        self._before = self._after = b""
        self.ended = self.failed = False

    def spoke(self, event: bytes) -> bool:
        """Whether an event has content."""
        before, after = self._before, self._after
        if before and event.startswith(before) and event.endswith(after):
            text = event[len(before) : -len(after)]
            if text and b'"' not in text and b"\\" not in text:
                if self._keep_text:
                    self._answer.text += text.decode()
                return True
        return self._read(event)

    def _read(self, event: bytes) -> bool:
        lines = [line[len(_DATA) :].strip() for line in event.split(b"\n") if line.startswith(_DATA)]
        data = b"\n".join(lines)
        if not data:
            return False
        if data == _DONE:
            self.ended = True
            return False
        told = json.loads(data)
        if told.get("error"):
            self.failed = True
            self._answer.error = data
            return False
        if usage := told.get("usage"):
            _count(usage, self._answer)
        spoken = False
        for choice in told["choices"]:
            spoken |= _speaks(choice)
            self.ended |= choice.get("finish_reason") is not None
            if self._keep_text and choice.get("index", 0) == 0:
                self._answer.text += _text(choice)
        if spoken and len(told["choices"]) == 1 and not usage and told["choices"][0].get("finish_reason") is None:
            self._learn(event, _text(told["choices"][0]))
        return spoken

    def _learn(self, event: bytes, text: str) -> None:
        """Remember what stands around a content event's text, where that is all that it says."""
        before, found, after = event.partition(b'"' + text.encode() + b'"')
        plain = b'"' not in text.encode() and b"\\" not in text.encode()
        if text and plain and found and before.rstrip().endswith((b'"content":', b'"text":')):
            self._before, self._after = before + b'"', b'"' + after


def _speaks(choice: dict[str, Any]) -> bool:
    if choice.get("text"):
        return True
    delta = choice.get("delta") or choice.get("message") or {}
    return any(delta.get(name) for name in _SPOKEN)


def _text(choice: dict[str, Any]) -> str:
    delta = choice.get("delta") or choice.get("message") or {}
    return str(choice.get("text") or delta.get("content") or "")


def _count(usage: dict[str, Any] | None, answer: Answer) -> None:
    if not usage:
        return
    details = usage.get("prompt_tokens_details") or {}
    answer.prompt_tokens = _number(usage.get("prompt_tokens"))
    answer.output_tokens = _number(usage.get("completion_tokens"))
    answer.cached_tokens = _number(details.get("cached_tokens"))


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= _MOST_TOKENS else UNKNOWN


def _plain_line_ends(body: bytes, ends: Sequence[int]) -> tuple[bytes, list[int]]:
    """Line ends without carriage returns, and where the pieces end then."""
    shorter: list[int] = []
    removed = at = 0
    for end in ends:
        removed += body.count(b"\r", at, end)
        shorter.append(end - removed)
        at = end
    return body.replace(b"\r", b""), shorter


def _times(exchange: Exchange, ends: list[int], body_ends: Sequence[int], raw_ends: Sequence[int], size: int) -> Floats:
    """When the read came that completed each event, by where the event ends in the body."""
    if not ends:
        return _NOTHING
    places = np.minimum(np.array(ends), size)
    body_end, raw_end = np.array(body_ends), np.array(raw_ends)
    piece = np.searchsorted(body_end, places)
    raw_place = raw_end[piece] - (body_end[piece] - places)
    read_ends = np.cumsum([len(part) for part in exchange.pieces])
    times: Floats = np.array(exchange.stamps)[np.searchsorted(read_ends, raw_place)]
    return times
