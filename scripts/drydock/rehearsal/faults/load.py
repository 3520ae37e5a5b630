"""A steady load of short streamed chat requests, each with its outcome: what users saw while something broke."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import urllib3

from drydock.rehearsal.journeys.gateway import CHAT, StreamedTexts

_TIMEOUT_SECONDS = 30.0
_OK = 200


@dataclass(frozen=True)
class Attempt:
    """One request; `at` is Unix time of its start, `said` why it failed."""

    at: float
    seconds: float
    succeeded: bool
    said: str = ""


@dataclass
class Load:
    """Sends requests for as long as its block lasts, whatever becomes of those before.

    Args:
        url: of an OpenAI-compatible endpoint.
        key: that it asks for; empty for none.
        model: to ask.
        rate: requests a second.
        tokens: of each answer, which takes the longer to arrive.
    """

    url: str
    key: str
    model: str
    rate: float
    tokens: int
    _attempts: list[Attempt] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_SECONDS, maxsize=64)
        self._pacer = threading.Thread(target=self._pace, daemon=True)
        self._pacer.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for those that are under way."""
        self._over.set()
        self._pacer.join()
        for thread in self._threads:
            thread.join()
        self._pool.clear()

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Those that are over, by their start."""
        return sorted(self._attempts, key=lambda attempt: attempt.at)

    def _pace(self) -> None:
        while not self._over.wait(1 / self.rate):
            thread = threading.Thread(target=self._send, daemon=True)
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]
            thread.start()

    def _send(self) -> None:
        at, began = time.time(), time.monotonic()
        messages = [{"role": "user", "content": "Are you there?"}]
        body = {"model": self.model, "messages": messages, "max_tokens": self.tokens, "stream": True}
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        try:
            response = self._pool.request(
                "POST", f"{self.url}{CHAT}", body=json.dumps(body), headers=headers, preload_content=False
            )
            said = "" if response.status == _OK else f"status {response.status}"
            texts = StreamedTexts(response)
            pieces = sum(1 for _ in texts) if not said else 0
            if not said and not texts.complete:
                said = "answer that breaks off" if pieces else "no answer"
            response.drain_conn()
            response.release_conn()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            said = type(error).__name__
        self._attempts.append(Attempt(at, time.monotonic() - began, not said, said))
