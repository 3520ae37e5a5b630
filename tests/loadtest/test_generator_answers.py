"""Every kind of answer that servers give is counted as what it is. One run asks for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from drydock.loadtest.generator import generate
from drydock.loadtest.records import UNKNOWN, Records, Run
from drydock.loadtest.secrets import Secret
from drydock.loadtest.settings import Closed, Constant, Lengths, LoadPlan, Stage, Target, Workload
from drydock.loadtest.vocabulary import told
from tests.loadtest.servers import SERIAL_SECONDS, misbehaving_server, requests_seen

pytestmark = pytest.mark.programs

TOKENS = 6
TIMEOUT_SECONDS = 15.0
"""A busy machine takes seconds for an answer byte by byte."""
GOOD = (
    "carriage-returns",
    "until-close",
    "trailer",
    "byte-by-byte",
    "one-chunk",
    "interim",
    "closes-kept",
    "late-first-token",
    "two-tokens-a-chunk",
    "null-error",
    "ok",
)
BAD = {
    "status-400": "http 400",
    "status-429": "http 429",
    "status-500": "http 500",
    "half-stream": "truncated",
    "no-done": "truncated",
    "half-header": "connection reset",
    "closed-at-once": "connection reset",
    "slow-headers": "timeout",
    "stalled-stream": "timeout",
    "not-http": "malformed",
    "broken-chunks": "malformed",
    "broken-json": "malformed",
    "no-choices": "empty",
    "empty": "empty",
    "all-hidden": "tokens not sent",
    "no-finish-reason": "ended early",
    "aborted": "ended early",
    "error-in-stream": "server error",
    "error-after-text": "server error",
    "error-in-one-piece": "server error",
}
SMALL = Workload("small", Lengths("fixed", 10), Lengths("fixed", TOKENS))


@dataclass(frozen=True)
class Asked:
    """A run that asked for everything, and what the server saw of it."""

    run: Run
    url: str

    def rows(self, model: str) -> Records:
        found = self.run.records.select(self.run.records.model == self.run.records.models.index(model))
        assert len(found) > 0
        return found


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with misbehaving_server() as url:
        target = Target(
            url,
            "x",
            loras=(*GOOD, *BAD, "no-usage", "vast-usage"),
            timeout_seconds=TIMEOUT_SECONDS,
            api_key=Secret("s3cret"),
            endpoint="chat",
        )
        yield Asked(generate(LoadPlan(target, SMALL, Stage(Constant(100), 3))), url)


def test_nothing_is_lost(asked: Asked) -> None:
    assert asked.run.complete
    assert len(asked.run.records) == 300
    assert sorted(asked.run.records.session) == list(range(300))


@pytest.mark.parametrize(("model", "counted"), BAD.items())
def test_a_bad_answer_is_counted_by_its_kind(asked: Asked, model: str, counted: str) -> None:
    rows = asked.rows(model)

    assert rows.counts() == {counted: len(rows)}
    assert set(rows.output_tokens) == {90 if model == "all-hidden" else UNKNOWN}


@pytest.mark.parametrize("model", GOOD)
def test_a_good_answer_is_read_however_it_is_framed(asked: Asked, model: str) -> None:
    rows = asked.rows(model)

    assert rows.counts() == {"ok": len(rows)}
    assert set(rows.output_tokens) == {TOKENS}
    assert set(rows.prompt_tokens) == {7}
    assert set(rows.cached_tokens) == {3}
    assert (rows.first_token >= rows.first_byte).all()
    assert (rows.finished >= rows.first_token).all()


def test_a_chunk_is_not_a_token(asked: Asked) -> None:
    rows = asked.rows("two-tokens-a-chunk")

    assert set(rows.chunks) == {TOKENS // 2}
    assert set(rows.output_tokens) == {TOKENS}


def test_roles_and_empty_deltas_are_not_the_first_token(asked: Asked) -> None:
    rows = asked.rows("late-first-token")

    # a machine that stands still may make both one read, but never all of them
    assert (rows.first_token - rows.first_byte).max() > 0.2
    assert set(rows.chunks) == {TOKENS}


@pytest.mark.parametrize("model", ["no-usage", "vast-usage"])
def test_tokens_are_never_guessed(asked: Asked, model: str) -> None:
    rows = asked.rows(model)

    assert rows.counts() == {"ok": len(rows)}
    assert set(rows.chunks) == {TOKENS}
    assert set(rows.output_tokens) == {UNKNOWN}


def test_times_of_a_request_are_in_order_and_add_up(asked: Asked) -> None:
    records = asked.run.records.select(asked.run.records.ok)

    assert (records.sent >= records.intended).all()
    assert (records.first_byte >= records.sent).all()
    for row in range(len(records)):
        times = records.times_of(row)
        assert times.size == records.chunks[row]
        assert times[0] == records.first_token[row]
        assert times[0] + np.diff(times).sum() == pytest.approx(times[-1])
        assert times[-1] <= records.finished[row]


def test_a_timeout_ends_when_it_should(asked: Asked) -> None:
    rows = asked.rows("stalled-stream")

    assert (rows.finished - rows.sent >= TIMEOUT_SECONDS).all()
    assert set(rows.chunks) == {2}


def test_the_key_is_sent_and_not_kept(asked: Asked) -> None:
    seen = requests_seen(asked.url)

    assert {each["authorization"] for each in seen} == {"Bearer s3cret"}
    assert {each["path"] for each in seen} == {"/v1/chat/completions"}
    assert "s3cret" not in repr(asked.run)


def test_what_the_server_said_is_kept_for_each_kind_of_error_and_the_key_is_not(asked: Asked) -> None:
    said = asked.run.said

    assert said["http 429"] == "slow down"
    assert said["http 500"] == "broken"
    assert said["ended early"] in ("no finish_reason", "finish_reason abort")
    assert said["malformed"] in ("SSH-2.0-OpenSSH_9.9", "a chunk without size", '{"choices": [')
    quoted = {"ended early", "malformed", "empty", "tokens not sent"}
    assert set(said) == {"http 400", "http 429", "http 500", "server error"} | quoted
    assert said["http 400"].startswith("[31mbad prompt of {'Authorization': '***'} xxx")
    assert all(len(words) <= 200 and words.isprintable() for words in said.values())


@pytest.mark.parametrize(
    "model", ["status-500", "error-in-stream", "error-after-text", "error-in-one-piece", "no-done", "empty", "aborted"]
)
def test_a_client_waits_longer_after_each_failure_of_whatever_kind(asked: Asked, model: str) -> None:
    stage = Stage(Closed(1), 600, max_conversations=4)
    records = generate(LoadPlan(Target(asked.url, model), SMALL, stage)).records

    assert records.counts() == {BAD[model]: 4}
    assert (np.diff(np.sort(records.intended)) > np.array([0.1, 0.2, 0.4]) - 1e-6).all()


def test_a_client_that_is_answered_waits_for_nothing(asked: Asked) -> None:
    stage = Stage(Closed(1), 600, max_conversations=4)
    records = generate(LoadPlan(Target(asked.url, "null-error"), SMALL, stage)).records

    assert (np.sort(records.intended)[1:] == np.sort(records.finished)[:-1]).all()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such model"}}', "no such model"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"detail": [{"loc": ["body"], "msg": "missing"}]}', '[{"loc": ["body"], "msg": "missing"}]'),
        (b'{"reason": "quota"}', '{"reason": "quota"}'),
        (b"upstream connect error\r\n", "upstream connect error"),
        (b"<html><head><title>502 Bad\n Gateway</title></head>", "502 Bad Gateway"),
        (b"<html><body>no title</body>", ""),
        (b"", ""),
        (b'{"error": {"message": "key s3c\\"ret\\\\& is unknown"}}', "key *** is unknown"),
        (b'key s3c\\"ret\\\\& is unknown', "key *** is unknown"),
        (b"?key=s3c%22ret%5C%26", "?key=***"),
        (b"Authorization: Basic dXNlcjpwYXNz, more", "Authorization: ***, more"),
        (b"the Authorization header is missing", "the Authorization header is missing"),
        (b"x" * 197 + b's3c"ret\\&', "x" * 197 + "***"),
        (b"\xff\xfe" + b"\x00" * 10, "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 197 + "..."),
    ],
)
def test_words_of_a_server_are_short_and_safe(body: bytes, words: str) -> None:
    assert told(body, [Secret('s3c"ret\\&')]) == words


def test_a_stalled_server_is_not_flattered() -> None:
    """Eight requests at 10/s to a server that takes 0.5 s each: the k-th waits for those before it, 0.4 s apiece.

    That is a mean of 1.93 s and a p99 of 3.33 s, where the machine lets the server keep to its 0.5 s.
    """
    with misbehaving_server() as url:
        run = generate(LoadPlan(Target(url, "serial"), SMALL, Stage(Constant(10), 8, max_conversations=8)))
        taken = [each["seconds"] for each in requests_seen(url)]

    latency = np.sort(run.records.finished - run.records.intended)
    true = np.cumsum(taken) - 0.1 * np.arange(8)
    assert (true >= SERIAL_SECONDS * np.arange(1, 9) - 0.1 * np.arange(8)).all()
    assert (latency >= true).all()
    assert latency.mean() == pytest.approx(true.mean(), abs=5)
    assert np.percentile(latency, 99) == pytest.approx(np.percentile(true, 99), abs=8)
    assert run.health.intended_rate == pytest.approx(run.health.achieved_rate)


def test_a_closed_loop_waits_for_its_answers(asked: Asked) -> None:
    run = generate(LoadPlan(Target(asked.url, "serial"), SMALL, Stage(Closed(2), 60, max_conversations=3)))

    assert len(run.records) == 3
    assert run.health.intended_rate is None
    assert np.sort(run.records.intended)[2] >= SERIAL_SECONDS


def test_an_answer_in_one_piece_has_no_first_token(asked: Asked) -> None:
    run = generate(LoadPlan(Target(asked.url, "ok", stream=False), SMALL, Stage(Closed(1), 1, max_conversations=3)))

    assert run.records.counts() == {"ok": 3}
    assert np.isnan(run.records.first_token).all()
    assert set(run.records.output_tokens) == {TOKENS}
    assert run.records.chunk_times.size == 0


def test_nobody_listening_is_counted_as_refused() -> None:
    run = generate(LoadPlan(Target("http://127.0.0.1:9", "ok"), SMALL, Stage(Constant(10), 0.5)))

    assert run.records.counts() == {"connection refused": 5}
    assert run.complete
