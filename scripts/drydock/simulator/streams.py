"""Answers on their way: from the engine's tokens to the bytes of a response."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import HttpVersion11, web

from drydock.simulator.live_engine import LiveEngine, Ticket
from drydock.simulator.protocol import DONE, Call, Choice, Chunks, answer_body, choice_body, usage
from drydock.simulator.text import answer, block_hashes, text_tokens

_ABORT = "abort"
"""Finish reason of what a server without a drain cuts off (vllm/v1/engine/core.py, _handle_shutdown)."""

_MOST_UNSENT = 4 * 2**20
"""Bytes that wait for a slow reader before its connection is dropped."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What an answer says: one word a token, cut where a stop string begins."""

    words: Sequence[str]
    finish_reason: str
    stop_reason: str | None = None


def wording(call: Call, choice: Choice) -> Wording:
    """The words of an answer, until its length or the first stop string."""
    words = answer(choice.seed, choice.output)
    text = "".join(words)
    found = [(text.find(stop), stop) for stop in call.stop if stop and stop in text]
    if not found:
        return Wording(words, choice.finish_reason)
    at, stop = min(found)
    shown = at + (len(stop) if call.include_stop else 0)
    kept: list[str] = []
    length = 0
    for word in words:
        kept.append(word[: max(0, shown - length)])
        length += len(word)
        if length >= at + len(stop):
            break
    return Wording(kept, "stop", stop)


@dataclass(eq=False, slots=True)
class Stream:
    """One server-sent event stream.

    The first event goes through aiohttp, which writes the headers; those after it straight to the transport, which
    costs a fifth: a thousand streams have to share one core.
    """

    request: web.Request
    response: web.StreamResponse
    early: list[bytes] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    direct: bool = False

    def __post_init__(self) -> None:
        if self.request.version >= HttpVersion11:
            self.response.enable_chunked_encoding()

    def send(self, event: bytes) -> None:
        """Queue or write one event."""
        if not self.direct:
            self.early.append(event)
            self.begun.set()
            return
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MOST_UNSENT:
            transport.abort()
            return
        transport.write(b"%x\r\n%b\r\n" % (len(event), event) if self.response.chunked else event)

    async def begin(self) -> None:
        """Wait for the first event, write it with the headers, and let the others pass."""
        await self.begun.wait()
        await self.response.prepare(self.request)
        while self.early:
            events, self.early = b"".join(self.early), []
            await self.response.write(events)
        self.direct = True


class Generation:
    """All choices of one call, under way in the engine."""

    def __init__(self, engine: LiveEngine, call: Call, *, lora: str, tell_cached: bool, role: str) -> None:
        self._engine, self._call, self._role = engine, call, role
        self._tell_cached = tell_cached
        self._wordings = [wording(call, choice) for choice in call.choices]
        self._tickets: list[Ticket] = []
        self._writers: list[_Writer] = []
        self._lora = lora

    def start(self, stream: Stream | None) -> None:
        """Hand every choice to the engine."""
        caching = self._engine.setup.args.enable_prefix_caching
        size = self._engine.setup.limits.block_size
        for index, (choice, words) in enumerate(zip(self._call.choices, self._wordings, strict=True)):
            salt = f"{self._lora} {self._call.salt}"
            if stream is not None:
                self._writers.append(_Writer(stream, self, index))
            said = [token for word in words.words for token in text_tokens(word)]
            hashes = block_hashes([*choice.tokens, *said], size, salt) if caching else []
            self._tickets.append(
                self._engine.submit(
                    prompt=len(choice.tokens),
                    output=len(words.words),
                    finish_reason=words.finish_reason,
                    max_tokens=choice.max_tokens,
                    hashes=hashes[: len(choice.tokens) // size],
                    all_hashes=hashes,
                    lora=self._lora,
                    on_token=self._writers[index].token if stream is not None else None,
                )
            )

    async def finish(self) -> None:
        """Wait for the last token of every choice."""
        for ticket in self._tickets:
            await ticket.done.wait()

    def stop(self) -> None:
        """Abort what is not finished."""
        for ticket in self._tickets:
            self._engine.abort(ticket)

    def usage(self) -> dict[str, object]:
        """Tokens so far."""
        per_prompt = len(self._call.choices) // self._call.prompts
        prompt = sum(len(choice.tokens) for choice in self._call.choices[::per_prompt])
        cached = sum(ticket.request.cached for ticket in self._tickets) if self._tell_cached else None
        return usage(prompt, sum(ticket.tokens for ticket in self._tickets), cached)

    def body(self) -> dict[str, object]:
        """The answer in one piece."""
        choices = []
        for index, (words, ticket) in enumerate(zip(self._wordings, self._tickets, strict=True)):
            text = "".join(words.words[: ticket.tokens])
            if self._call.echo:
                text = b"".join(self._call.choices[index].tokens).decode(errors="replace") + text
            reason, stop = (_ABORT, None) if ticket.aborted else (words.finish_reason, words.stop_reason)
            choices.append(choice_body(self._call, index, text, reason, stop, self._role))
        return answer_body(self._call, choices, self.usage())

    async def stream(self, stream: Stream, *, force_usage: bool) -> None:
        """Write events until all choices are finished."""
        ending = asyncio.create_task(self._end())
        try:
            await stream.begin()
            await ending
        finally:
            ending.cancel()
        if self._call.include_usage or force_usage:
            stream.send(Chunks(self._call, 0).usage(self.usage()))
        stream.send(DONE)
        await stream.response.write_eof()

    async def _end(self) -> None:
        """Wait for all choices; those that the server aborts end with that reason."""
        await self.finish()
        for writer, ticket in zip(self._writers, self._tickets, strict=True):
            if ticket.aborted:
                writer.abort()

    @property
    def call(self) -> Call:
        """What was asked."""
        return self._call

    def words(self, index: int) -> Wording:
        """What a choice says."""
        return self._wordings[index]

    @property
    def role(self) -> str:
        """Who says it."""
        return self._role


class _Writer:
    """Writes one choice's tokens."""

    __slots__ = ("_chunks", "_generation", "_stream", "_words")

    def __init__(self, stream: Stream, generation: Generation, index: int) -> None:
        self._stream, self._generation = stream, generation
        self._chunks = Chunks(generation.call, index)
        self._words = generation.words(index)

    def abort(self) -> None:
        self._stream.send(self._chunks.last("", _ABORT, None))

    def token(self, number: int) -> None:
        words, call = self._words, self._generation.call
        if number == 1 and call.chat:
            self._stream.send(self._chunks.role(self._generation.role))
        word = words.words[number - 1]
        if number == len(words.words):
            event = self._chunks.last(word, words.finish_reason, words.stop_reason)
        else:
            event = self._chunks.word(word)
        if call.continuous_usage:
            event = self._chunks.with_usage(event, self._generation.usage())
        self._stream.send(event)
