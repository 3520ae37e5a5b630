"""Turns a workload into the bodies of requests, the same for the same seed and number of the conversation.

A text of so many tokens is so many common words of three letters, each with its blank: one token each in the
tokenizers of well-known models, and in the simulator. How many there really were is in the server's usage.
Each conversation's own part begins with words that count the conversations, so that no two share more than they should.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drydock.errors import UsageError
from drydock.loadtest.presets import Row, read_dataset
from drydock.loadtest.records import UNKNOWN
from drydock.loadtest.settings import Lengths, LoadPlan
from drydock.simulator.text import WORDS

_BLOCK = 1024
_CORPUS_TOKENS = 1 << 16
_COUNTING_TOKENS = 4
_LENGTHS, _PLACES, _TEXT, _PREFIXES = 2, 3, 4, 5
"""Streams of random numbers, kept apart so that changing one thing leaves the others."""


class Corpus:
    """Random tokens as bytes, of which any run can be cut out.

    Attributes:
        width: bytes of each token.
    """

    def __init__(self, seed: Sequence[int], longest: int, *, ids: bool) -> None:
        size = _CORPUS_TOKENS + longest
        random = np.random.default_rng(list(seed))
        self.width = 6 if ids else 4
        if ids:
            # five figures and a comma; ids that every vocabulary of a well-known model has
            self._bytes = b"".join([b"%d," % value for value in random.integers(10_000, 30_000, size).tolist()])
        else:
            words = [word.encode() for word in WORDS]
            self._bytes = b"".join([words[place] for place in random.integers(0, len(words), size).tolist()])

    def cut(self, start: int, tokens: int) -> bytes:
        """A run of tokens."""
        return self._bytes[start * self.width : (start + tokens) * self.width]


@dataclass(frozen=True, slots=True)
class _Draw:
    """Random choices of a block of conversations: one row each."""

    input: NDArray[np.int64]
    output: NDArray[np.int64]
    place: NDArray[np.int64]
    group: NDArray[np.int64]
    model: NDArray[np.int64]


class Prompts:
    """All conversations of a plan.

    Attributes:
        exact: answers must have the length that is asked for.
    """

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        workload, target = plan.workload, plan.target
        self.models = target.loras or (target.model,)
        self._rows = read_dataset(workload.dataset) if workload.dataset else None
        if self._rows and target.endpoint == "chat" and any(row.token_ids for row in self._rows):
            raise UsageError(
                f"{workload.dataset} has prompts of token ids, which can only be sent to /v1/completions",
                remedy="Choose that endpoint, or text.",
            )
        if (
            self._rows
            and target.endpoint == "completions"
            and any(not isinstance(row.turns[-1], str) for row in self._rows)
        ):
            raise UsageError(
                f"{workload.dataset} has messages of several parts, which can only be sent to /v1/chat/completions",
                remedy="Leave out --completions, or give texts.",
            )
        longest = max(int(_highest(workload.input)), workload.shared_prefix_tokens) + _COUNTING_TOKENS
        self._corpus = Corpus([plan.seed, _TEXT], longest, ids=workload.token_ids)
        places = np.random.default_rng([plan.seed, _PREFIXES]).integers(0, _CORPUS_TOKENS, workload.prefix_groups)
        self._prefixes = [self._corpus.cut(int(place), workload.shared_prefix_tokens) for place in places]
        self._tails: dict[int | None, bytes] = {}
        # an endpoint whose dialect drops the field ends answers when it likes
        self.exact = workload.ignore_eos and "ignore_eos" in target.dialect.body_fields({"ignore_eos": True})
        self._heads = [b'{"model":%b,' % json.dumps(model).encode() for model in self.models]
        self._block, self._drawn = -1, self._draw(0)

    def conversation(self, index: int) -> "Conversation":
        """The conversation of that number, from 0 over all workers."""
        block, row = divmod(index, _BLOCK)
        if block != self._block:
            self._block, self._drawn = block, self._draw(block)
        drawn = self._drawn
        model = int(drawn.model[row])
        inputs, outputs = drawn.input[row].tolist(), drawn.output[row].tolist()
        if self._rows:
            told = self._rows[index % len(self._rows)]
            return Conversation(self, model, list(told.turns), told, outputs)
        texts: list[str | bytes | Mapping[str, Any]] = []
        for turn, tokens in enumerate(inputs):
            counted = self._count(index, min(tokens, _COUNTING_TOKENS)) if turn == 0 else b""
            own = self._corpus.cut(int(drawn.place[row, turn]), tokens - len(counted) // self._corpus.width)
            texts.append(counted + own)
        return Conversation(self, model, texts, None, outputs, self._prefixes[int(drawn.group[row])])

    def body(self, model: int, prompt: bytes, output: int | None) -> bytes:
        """A request's body; `prompt` is its field, rendered."""
        tail = self._tails.get(output)
        if tail is None:
            tail = self._tails[output] = _tail(self._plan, output)
        return b"%b%b%b" % (self._heads[model], prompt, tail)

    @property
    def chat(self) -> bool:
        """Whether prompts are messages."""
        return self._plan.target.endpoint == "chat"

    @property
    def ids(self) -> bool:
        """Whether prompts are token ids."""
        return self._plan.workload.token_ids

    def _count(self, index: int, tokens: int) -> bytes:
        if self.ids:
            return b"".join([b"%d," % (10_000 + (index // 10_000**place) % 10_000) for place in range(tokens)])
        return "".join(WORDS[(index // len(WORDS) ** place) % len(WORDS)] for place in range(tokens)).encode()

    def _draw(self, block: int) -> _Draw:
        workload = self._plan.workload
        random = np.random.default_rng([self._plan.seed, _LENGTHS, block])
        places = np.random.default_rng([self._plan.seed, _PLACES, block])
        shape = (_BLOCK, workload.turns)
        output = draw_lengths(workload.output, random, shape) if workload.output else np.zeros(shape, np.int64)
        return _Draw(
            input=draw_lengths(workload.input, random, shape),
            output=output,
            place=places.integers(0, _CORPUS_TOKENS, shape),
            group=places.integers(0, workload.prefix_groups, _BLOCK),
            model=places.integers(0, len(self.models), _BLOCK),
        )


class Conversation:
    """One conversation, turn by turn."""

    __slots__ = ("_outputs", "_prefix", "_prompts", "_row", "_said", "_texts", "model")

    def __init__(
        self,
        prompts: Prompts,
        model: int,
        texts: Sequence[str | bytes | Mapping[str, Any]],
        row: Row | None,
        outputs: Sequence[int],
        prefix: bytes = b"",
    ) -> None:
        self._prompts, self.model, self._texts, self._row = prompts, model, texts, row
        self._outputs, self._prefix = outputs, prefix
        self._said: list[bytes] = []

    @property
    def turns(self) -> int:
        """Requests that it has."""
        return len(self._texts)

    def _asked(self, turn: int) -> int | None:
        """Tokens of a turn's answer; None where the server decides."""
        if self._row and self._row.output_tokens:
            return self._row.output_tokens
        return self._outputs[min(turn, len(self._outputs) - 1)] or None

    def exactly(self, turn: int) -> int:
        """Tokens that the answer to a turn must have; -1 where it may end earlier."""
        return (self._asked(turn) or UNKNOWN) if self._prompts.exact else UNKNOWN

    def body(self, turn: int) -> bytes:
        """The body of that turn's request; the answers to those before it must have been heard."""
        asked = self._asked(turn)
        text = self._texts[turn]
        prompts = self._prompts
        if self._row and self._row.token_ids:
            field = b'"prompt":%b' % json.dumps(self._row.token_ids).encode()
        elif prompts.ids and isinstance(text, bytes):
            field = b'"prompt":[%b]' % (self._prefix + text)[:-1]
        elif prompts.chat:
            field = self._messages(turn, text)
        else:
            self._said.append(text if isinstance(text, bytes) else json.dumps(str(text))[1:-1].encode())
            field = b'"prompt":"%b%b"' % (self._prefix, b"".join(self._said))
        return prompts.body(self.model, field, asked)

    def heard(self, text: str) -> None:
        """The answer to the last turn, which becomes part of the next one's prompt."""
        quoted = json.dumps(text)
        if self._prompts.chat:
            self._said.append(b'{"role":"assistant","content":%b}' % quoted.encode())
        else:
            self._said.append(quoted[1:-1].encode())

    def _messages(self, turn: int, text: str | bytes | Mapping[str, Any]) -> bytes:
        if turn == 0 and self._prefix:
            self._said.append(b'{"role":"system","content":"%b"}' % self._prefix)
        if turn == 0 and self._row:
            self._said += [json.dumps(dict(message)).encode() for message in self._row.messages]
        if isinstance(text, Mapping):
            self._said.append(json.dumps(dict(text)).encode())
            return b'"messages":[%b]' % b",".join(self._said)
        quoted = b'"%b"' % text if isinstance(text, bytes) else json.dumps(text).encode()
        self._said.append(b'{"role":"user","content":%b}' % quoted)
        return b'"messages":[%b]' % b",".join(self._said)


def draw_lengths(lengths: Lengths, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """So many token counts.

    A lognormal of mean m and standard deviation d has sigma² = ln(1 + d² / m²) and mu = ln m - sigma² / 2.
    """
    mean, deviation = lengths.mean, lengths.deviation
    match lengths.kind:
        case "fixed":
            drawn = np.full(shape, mean)
        case "uniform":
            return random.integers(lengths.minimum, lengths.maximum + 1, shape)
        case "normal":
            drawn = random.normal(mean, deviation, shape)
        case "lognormal":
            variance = np.log1p((deviation / mean) ** 2)
            drawn = random.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), shape)
        case "exponential":
            drawn = random.exponential(mean, shape)
    counts: NDArray[np.int64] = np.clip(np.rint(drawn), lengths.minimum, lengths.maximum).astype(np.int64)
    return counts


def _highest(lengths: Lengths) -> float:
    return lengths.mean if lengths.kind == "fixed" else lengths.maximum


def _tail(plan: LoadPlan, output: int | None) -> bytes:
    """The rest of a body after the prompt."""
    target = plan.target
    fields: dict[str, Any] = {}
    if output is not None:
        fields["max_tokens"] = output
        if plan.workload.ignore_eos:
            fields["ignore_eos"] = True
    if target.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return _rest(target.dialect.body_fields(fields))


def _rest(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, separators=(",", ":"))
    return b"}" if text == "{}" else b"," + text[1:].encode()
