"""Answers built from parts that servers and proxies really send, together with what is true of them."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drydock.loadtest.answers import Answer, read_answer, seems_well
from drydock.loadtest.exchange import Exchange
from drydock.loadtest.records import UNKNOWN, Outcome

STEP = 0.01
"""Seconds between two events."""


@dataclass
class Part:
    """What is sent as one event, and what is true of it."""

    lines: list[str]
    content: bool = False
    text: str = ""
    reasoning: bool = False


def event(found: object, **truth: Any) -> Part:
    return Part([f"data: {json.dumps(found)}"], **truth)


def choice(delta: dict[str, Any], reason: object = None, **truth: Any) -> Part:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}, **truth)


SILENT = (
    Part([": keep-alive"]),
    Part(["event: ping", 'data: {"type": "ping"}']),
    Part(["event: ping", "data: {}"]),
    Part(["event: heartbeat", "data: now"]),
    Part(["retry: 3000"]),
    Part(["id: 7", "data:"]),
    event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    event({"object": "ping"}),
    event(None),
    event({"choices": None}),
    event({"choices": [], "error": None}),
    event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
    choice({"role": "assistant"}),
    choice({"role": "assistant", "content": ""}),
    choice({"content": "", "tool_calls": []}),
    choice({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"arguments": ""}}]}),
    choice({"reasoning_content": None, "content": None}),
    choice({"content": ""}, ""),
)
"""Events that are no output and no failure."""

CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "dock", "arguments": ""}}
SPOKEN = (
    choice({"content": " word"}, content=True, text=" word"),
    choice({"content": ' "quoted" \\ \n'}, content=True, text=' "quoted" \\ \n'),
    choice({"content": [{"type": "text", "text": "part"}]}, content=True, text="part"),
    choice({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, content=True),
    choice({"reasoning_content": "hm"}, content=True, reasoning=True),
    choice({"reasoning": "hm"}, content=True, reasoning=True),
    choice({"reasoning": "hm", "reasoning_details": [{"type": "t", "text": "hm"}]}, content=True, reasoning=True),
    choice({"thinking": "hm", "content": None}, content=True, reasoning=True),
    choice({"content": "\ud83d"}, content=True, text="\ud83d"),
    choice({"refusal": "I cannot"}, content=True),
    choice({"tool_calls": [CALL]}, content=True),
    choice({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}, content=True),
    choice({"function_call": {"arguments": "1"}}, content=True),
    event({"choices": [{"text": "done"}]}, content=True, text="done"),
    event({"choices": [{"index": 0, "message": {"content": "whole"}}]}, content=True, text="whole"),
)
FAULTS = (
    event({"error": {"message": "broken", "code": 500}}),
    event({"error": "broken"}),
    event({"errors": [{"message": "broken"}]}),
    event({"object": "error", "message": "broken", "code": 40303}),
    event({"type": "error", "error": {"type": "overloaded_error", "message": "broken"}}),
    event({"detail": "broken"}),
    event({"message": "broken"}),
    event({"code": "InternalError", "message": "broken", "request_id": "1"}),
    event([{"error": {"message": "broken"}}]),
    event({"choices": [], "error": {"message": "broken"}}),
    event({"choices": [{"index": 0, "delta": {}, "error": {"message": "broken"}, "finish_reason": "error"}]}),
    Part(["event: error", 'data: {"message": "broken"}']),
    Part(["event: error", "data: broken"]),
    Part(['{"error": {"message": "broken"}}']),
)
ENDS = ("stop", "length", "tool_calls", "function_call", "STOP", "FINISH_REASON_STOP")
NOT_ENDS = ("abort", "error", "repetition", "content_filter", "insufficient_system_resource", "whatever")


@dataclass
class Stream:
    """An answer of status 200: its events, the way in which they are written down, and where reads cut them."""

    parts: list[Part]
    reason: str | None = "stop"
    tokens: int | None = 3
    done: bool = True
    line_end: str = "\n"
    blank_lines: bool = True
    encoding: str = ""
    mark: bool = False
    framing: str = "chunked"
    cuts: list[int] = field(default_factory=list)

    def events(self) -> list[str]:
        found = [list(part.lines) for part in self.parts]
        if self.reason is not None:
            found.append(choice({}, self.reason).lines)
        if self.tokens is not None:
            used = {"prompt_tokens": 7, "completion_tokens": self.tokens}
            found.append(event({"choices": [], "usage": used}).lines)
        if self.done:
            found.append(["data: [DONE]"])
        end = self.line_end * (2 if self.blank_lines else 1)
        return [self.line_end.join(lines) + end for lines in found]

    def exchange(self) -> Exchange:
        """The exchange that has read it, an event each 10 ms, some events in several reads."""
        payloads = [each.encode() for each in self.events()]
        if self.mark and payloads:
            payloads[0] = b"\xef\xbb\xbf" + payloads[0]
        if self.encoding == "gzip":
            packer = zlib.compressobj(wbits=31)
            payloads = [packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in payloads]
            payloads.append(packer.flush())
        fields = [f"Content-Encoding: {self.encoding}"] if self.encoding else []
        fields += ["Transfer-Encoding: chunked"] if self.framing == "chunked" else []
        fields += [f"Content-Length: {sum(map(len, payloads))}"] if self.framing == "length" else []
        found = Exchange(b"", 0.0, lambda: None)
        found.sent = 0.0
        complete = found.received("\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode(), 0.0)
        for number, payload in enumerate(payloads, 1):
            if not payload:
                continue
            data = b"%x\r\n%b\r\n" % (len(payload), payload) if self.framing == "chunked" else payload
            cuts = sorted({cut % len(data) for cut in self.cuts} - {0})
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                complete = found.received(data[begin:end], number * STEP)
        if self.framing == "chunked":
            complete = found.received(b"0\r\n\r\n", (len(payloads) + 1) * STEP)
        assert complete or self.framing == "close" or not payloads
        found.outcome = Outcome.OK
        found.finished = found.stamps[-1]
        return found

    def read(self) -> Answer:
        return read_answer(self.exchange(), stream=True, keep_text=True)


def streams(*middles: tuple[Part, ...]) -> st.SearchStrategy[Stream]:
    parts = st.lists(st.sampled_from([part for each in middles for part in each]), max_size=12)
    return st.builds(
        Stream,
        parts=parts,
        tokens=st.sampled_from([None, 3, 50]),
        line_end=st.sampled_from(["\n", "\r\n", "\r"]),
        encoding=st.sampled_from(["", "", "gzip"]),
        mark=st.booleans(),
        framing=st.sampled_from(["chunked", "length", "close"]),
        cuts=st.lists(st.integers(1, 200), max_size=3),
    )


@settings(deadline=None, max_examples=60)
@given(streams(SILENT, SPOKEN), st.sampled_from(ENDS), st.booleans())
def test_a_whole_answer_is_read_with_its_times(stream: Stream, reason: str, done: bool) -> None:
    stream.reason, stream.done = reason, done
    spoken = [number for number, part in enumerate(stream.parts, 1) if part.content]

    answer = stream.read()

    if spoken:
        assert answer.outcome is Outcome.OK
        assert answer.times.tolist() == pytest.approx([number * STEP for number in spoken])
        assert answer.text == "".join(part.text for part in stream.parts)
        assert answer.output_tokens == (UNKNOWN if stream.tokens is None else stream.tokens)
        assert answer.words == b""
    else:
        assert answer.outcome is (Outcome.EMPTY if stream.tokens is None else Outcome.TOKENS_NOT_SENT)
        assert not answer.times.size


@settings(deadline=None, max_examples=60)
@given(streams(SILENT, SPOKEN), st.sampled_from(FAULTS), st.integers(0, 12), st.booleans())
def test_an_error_within_a_stream_is_found_with_its_words(
    stream: Stream, fault: Part, place: int, goes_on: bool
) -> None:
    stream.parts.insert(place, fault)
    stream.reason, stream.tokens, stream.done = (None, None, False) if goes_on else ("stop", 3, True)

    answer = stream.read()

    assert answer.outcome is Outcome.SERVER_ERROR
    assert b"broken" in answer.words


@settings(deadline=None, max_examples=60)
@given(streams(SPOKEN), st.sampled_from([None, *NOT_ENDS]))
def test_an_answer_without_an_end_ended_early(stream: Stream, reason: str | None) -> None:
    stream.parts.append(SPOKEN[0])
    stream.reason = reason

    answer = stream.read()

    assert answer.outcome is Outcome.ENDED_EARLY
    assert answer.words.decode() == (f"finish_reason {reason}" if reason else "no finish_reason")


@settings(deadline=None, max_examples=60)
@given(streams(SPOKEN))
def test_nothing_counts_that_comes_after_the_end_of_the_stream(stream: Stream) -> None:
    stream.parts.insert(0, Part(["data: [DONE]"]))

    assert stream.read().outcome is Outcome.EMPTY


@pytest.mark.parametrize("reasons", [("abort", "stop"), ("stop", "abort")])
def test_an_abort_is_not_undone_by_another_finish_reason(reasons: tuple[str, str]) -> None:
    answer = Stream([SPOKEN[0], choice({}, reasons[0]), choice({}, reasons[1])], reason=None).read()

    assert (answer.outcome, answer.words) == (Outcome.ENDED_EARLY, b"finish_reason abort")


@settings(deadline=None, max_examples=60)
@given(streams(SPOKEN))
def test_an_answer_with_neither_end_nor_done_was_cut_off(stream: Stream) -> None:
    stream.parts.append(SPOKEN[0])
    stream.reason, stream.done = None, False

    assert stream.read().outcome is Outcome.TRUNCATED


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(SPOKEN), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_lines_of_data_without_an_empty_line_between_are_read_one_by_one(parts: list[Part], line_end: str) -> None:
    answer = Stream(parts, line_end=line_end, blank_lines=False).read()

    assert answer.outcome is Outcome.OK
    assert answer.times.tolist() == pytest.approx([number * STEP for number in range(1, len(parts) + 1)])


@settings(deadline=None, max_examples=60)
@given(streams(SILENT, SPOKEN), st.binary(min_size=1, max_size=40))
def test_no_bytes_break_the_reader(stream: Stream, noise: bytes) -> None:
    stream.parts.insert(len(stream.parts) // 2, Part([f"data: {noise.decode('latin-1')}"]))

    assert isinstance(stream.read().outcome, Outcome)


@pytest.mark.parametrize("part", [Part(["data: {broken"]), Part(["data: Internal Server Error"])])
def test_what_cannot_be_read_is_quoted(part: Part) -> None:
    answer = Stream([SPOKEN[0], part]).read()

    assert answer.outcome is Outcome.MALFORMED
    assert answer.words.decode() in part.lines[0]
    assert answer.words


def whole(body: bytes, *fields: str) -> Exchange:
    found = Exchange(b"", 0.0, lambda: None)
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""]
    found.received("\r\n".join(lines).encode() + body, 0.5)
    found.outcome, found.finished = Outcome.OK, 0.5
    return found


def completion(message: dict[str, Any], reason: object = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}).encode()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (completion({"content": "words"}), Outcome.OK),
        (completion({"content": None, "tool_calls": [CALL]}, "tool_calls"), Outcome.OK),
        (completion({"content": "", "refusal": "no"}), Outcome.OK),
        (completion({"content": "words"}, None), Outcome.ENDED_EARLY),
        (completion({"content": "words"}, "content_filter"), Outcome.ENDED_EARLY),
        (completion({"content": ""}), Outcome.EMPTY),
        (completion({"content": ""}, usage={"completion_tokens": 0}), Outcome.EMPTY),
        (completion({"content": ""}, "length", usage={"completion_tokens": 90}), Outcome.TOKENS_NOT_SENT),
        (b'{"choices": []}', Outcome.EMPTY),
        (b"", Outcome.EMPTY),
        (b'{"error": {"message": "broken"}}', Outcome.SERVER_ERROR),
        (b'{"message": "Endpoint request timed out"}', Outcome.SERVER_ERROR),
        (b'{"hello": 1}', Outcome.MALFORMED),
        (b"<html><title>Sign in</title></html>", Outcome.MALFORMED),
        (b"[1, 2]", Outcome.MALFORMED),
        ("".join(Stream([SPOKEN[0]]).events()).encode(), Outcome.OK),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("pack", "encoding"),
    [(bytes, ""), (gzip.compress, "gzip"), (zlib.compress, "deflate")],
    ids=["", "gzip", "deflate"],
)
def test_an_answer_in_one_piece_is_read_whatever_was_asked_for(
    body: bytes, outcome: Outcome, stream: bool, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    answer = read_answer(whole(pack(body), *([f"Content-Encoding: {encoding}"] if encoding else [])), stream=stream)

    assert answer.outcome is outcome
    if outcome is Outcome.MALFORMED:
        assert answer.words == body


def test_a_compression_that_is_not_read_is_named() -> None:
    answer = read_answer(whole(b"\x0b\x02\x80", "Content-Encoding: br"), stream=True)

    assert answer.outcome is Outcome.MALFORMED
    assert answer.words.startswith(b"Content-Encoding: br")


def test_a_connection_that_breaks_after_the_end_took_nothing_away() -> None:
    exchange = Stream([SPOKEN[0]]).exchange()
    exchange.outcome = Outcome.TRUNCATED
    assert read_answer(exchange, stream=True).outcome is Outcome.OK

    exchange = Stream([SPOKEN[0]], done=False).exchange()
    exchange.outcome = Outcome.TRUNCATED
    assert read_answer(exchange, stream=True).outcome is Outcome.TRUNCATED


def test_every_choice_must_come_to_its_end() -> None:
    second = event({"choices": [{"index": 1, "delta": {"content": "b"}}]})

    assert Stream([SPOKEN[0], second]).read().outcome is Outcome.ENDED_EARLY
    ended = event({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    assert Stream([SPOKEN[0], second, ended]).read().outcome is Outcome.OK


@pytest.mark.parametrize(
    ("usage", "output", "hidden"),
    [
        ({"completion_tokens": 5}, 5, 0),
        ({"output_tokens": 5, "input_tokens": 2}, 5, 0),
        ({"completion_tokens": 95, "completion_tokens_details": {"reasoning_tokens": 90}}, 95, 90),
        ({"completion_tokens": 95, "reasoning_tokens": 90}, 95, 90),
        ({"prompt_tokens": 7, "completion_tokens": 5, "reasoning_tokens": 90, "total_tokens": 102}, 95, 90),
        ({"completion_tokens": 5, "completion_tokens_details": None}, 5, 0),
        ({"completion_tokens": 0}, UNKNOWN, 0),
        ({"completion_tokens": 10**30}, UNKNOWN, 0),
        ({"completion_tokens": "5"}, UNKNOWN, 0),
        ({}, UNKNOWN, 0),
    ],
)
@pytest.mark.parametrize("place", ["top", "choice", "groq"])
def test_usage_is_read_wherever_it_stands(usage: dict[str, Any], output: int, hidden: int, place: str) -> None:
    told = {
        "top": event({"choices": [], "usage": usage}),
        "choice": event({"choices": [{"index": 0, "delta": {}, "usage": usage}]}),
        "groq": event({"choices": [], "x_groq": {"usage": usage}}),
    }[place]

    answer = Stream([SPOKEN[0], told], tokens=None).read()

    assert (answer.outcome, answer.output_tokens, answer.hidden_tokens) == (Outcome.OK, output, hidden)


def test_reasoning_that_was_sent_is_not_hidden() -> None:
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 5}}
    parts = [choice({"reasoning_content": "hm"}), SPOKEN[0], event({"choices": [], "usage": usage})]

    assert Stream(parts, tokens=None).read().hidden_tokens == 0


@settings(deadline=None, max_examples=60)
@given(streams(SILENT, SPOKEN, FAULTS), st.sampled_from([None, *ENDS, *NOT_ENDS]), st.integers(0, 60))
def test_a_glance_takes_no_failure_for_a_good_answer(stream: Stream, reason: str | None, repeated: int) -> None:
    stream.parts = stream.parts + [SPOKEN[0]] * repeated
    stream.reason = reason
    exchange = stream.exchange()

    faults = [part for part in stream.parts if part in FAULTS]
    if seems_well(exchange, stream=True) and not faults:
        assert read_answer(exchange, stream=True).outcome is Outcome.OK
