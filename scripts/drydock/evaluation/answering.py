"""Asks an OpenAI-compatible endpoint every question."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from drydock.errors import UsageError
from drydock.evaluation.questions import Question
from drydock.loadtest.secrets import Secret

_ERROR_CHARACTERS = 200
_TRIES = 4
_OK = 200
_BUSY = (429, 503)


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask.

    Attributes:
        url: of the API, without or with `/v1`.
        key: API key, None for none.
        timeout: of each request, in seconds.
        concurrency: requests at a time.
        max_tokens: of answers to questions that name none.
        temperature: of sampling.
        seed: of sampling, None to send none.
    """

    url: str
    key: Secret | None
    timeout: float
    concurrency: int
    max_tokens: int
    temperature: float
    seed: int | None

    @property
    def chat_url(self) -> str:
        """Of the route."""
        return f"{self.url.rstrip('/').removesuffix('/v1')}/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """What came of one question.

    Attributes:
        text: of the answer; empty where there was none.
        error: why there is no answer; empty with one.
        right: whether the answer is one of those expected; a question without an answer is not.
        seconds: from the request to the end of the answer; None after a retry, whose wait is not the model's.
        prompt_tokens: as the endpoint counts them.
        completion_tokens: the same of the answer.
        cut_off: whether the answer ended at `max_tokens`.
    """

    text: str
    error: str
    right: bool
    seconds: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_off: bool = False


def ask_all(
    endpoint: Endpoint, model: str, questions: Sequence[Question], done: Callable[[int], None] = lambda _: None
) -> tuple[Reply, ...]:
    """Every question's reply, in their order.

    Args:
        endpoint: to ask.
        model: by its name in requests.
        questions: to ask.
        done: called with the number of questions that are done, after each.

    Raises:
        UsageError: the URL is none.
    """
    import urllib3

    if urllib3.util.parse_url(endpoint.url).scheme not in ("http", "https"):
        raise UsageError(f"{endpoint.url} is not a URL of an API", remedy="Give one such as http://127.0.0.1:4000.")
    # A request that broke off may have been answered, and paid for: only a refusal is tried again.
    retries = urllib3.Retry(
        total=None,
        connect=0,
        read=0,
        redirect=0,
        other=0,
        status=_TRIES - 1,
        status_forcelist=_BUSY,
        allowed_methods=None,
        backoff_factor=1,
        raise_on_status=False,
    )
    with (
        urllib3.PoolManager(maxsize=endpoint.concurrency, retries=retries) as http,
        ThreadPoolExecutor(endpoint.concurrency) as pool,
    ):
        replies = []
        for reply in pool.map(lambda question: _ask(http, endpoint, model, question), questions):
            replies.append(reply)
            done(len(replies))
    return tuple(replies)


def _ask(http: Any, endpoint: Endpoint, model: str, question: Question) -> Reply:
    import urllib3

    headers = {"Authorization": f"Bearer {endpoint.key.reveal()}"} if endpoint.key else {}
    body = {
        "model": model,
        "messages": list(question.messages),
        "max_tokens": question.max_tokens or endpoint.max_tokens,
        "temperature": endpoint.temperature,
        **({} if endpoint.seed is None else {"seed": endpoint.seed}),
    }
    start = time.monotonic()
    try:
        response = http.request("POST", endpoint.chat_url, json=body, headers=headers, timeout=endpoint.timeout)
    except urllib3.exceptions.HTTPError as error:
        return Reply("", _shown(type(error).__name__, str(error)), right=False)
    seconds = None if response.retries and response.retries.history else time.monotonic() - start
    if response.status != _OK:
        return Reply("", _shown(f"status {response.status}", response.data.decode("utf-8", "replace")), right=False)
    try:
        return _reply(json.loads(response.data), question, seconds)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Reply("", _shown("not a chat completion", f"{type(error).__name__}: {error}"), right=False)


def _reply(content: Mapping[str, Any], question: Question, seconds: float | None) -> Reply:
    choice = content["choices"][0]
    text = choice["message"].get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content is not a text")
    usage = content.get("usage") or {}
    return Reply(
        text,
        "",
        question.is_right(text),
        seconds,
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        choice.get("finish_reason") == "length",
    )


def _shown(kind: str, detail: str) -> str:
    text = " ".join(detail.split())[:_ERROR_CHARACTERS]
    return f"{kind}: {text}" if text else kind
