"""What one event of a stream, or an answer in one piece, says: content, its end, usage, an error.

Servers and proxies send more than the API describes. Whatever is not known is passed over; what says that something
went wrong, in any of the forms that are in use, is an error.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.loadtest.records import UNKNOWN

_DONE = b"[DONE]"
_MOST_TOKENS = 2**53
ENDS = frozenset(
    {"stop", "length", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence", "end_turn", "max_tokens"}
)
"""Finish reasons that mean that the answer is whole. Others (vLLM: abort, error, repetition; a filter's
`content_filter`; DeepSeek's `insufficient_system_resource`) end it early."""
_SPOKEN = ("content", "refusal", "text", "transcript")
_REASONING = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
    "thought",
)
"""Names under which servers send what a model thinks: vLLM and DeepSeek, OpenRouter, gateways of Anthropic's and
Google's models."""
_CALLS = ("tool_calls", "function_call", "custom_tool_calls")
_LABELS = frozenset({"type", "index", "format", "object", "role", "id", "signature"})
"""Fields of structured content that hold no output."""
_FAULTS = ("message", "detail", "msg", "error_msg", "error_message", "errorMessage", "title")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server counted them; -1 where it says nothing.

    Attributes:
        output: all output tokens; reasoning: of these, those that the model spent on reasoning.
    """

    prompt: int = UNKNOWN
    output: int = UNKNOWN
    cached: int = UNKNOWN
    reasoning: int = UNKNOWN


@dataclass(slots=True)
class Said:
    """What one event says.

    Attributes:
        content: bytes of output in it, all choices together.
        reasoning: bytes of these that are reasoning.
        text: of the first choice, what a client would show.
        plain: its only output is `text`.
        spoken: choices with output; finished: choices with their finish reason.
        done: `[DONE]`.
        error: it reports an error.
        known: it is an event of this API.
    """

    content: int = 0
    reasoning: int = 0
    text: str = ""
    plain: bool = False
    spoken: list[int] = field(default_factory=list)
    finished: dict[int, str] = field(default_factory=dict)
    usage: Usage | None = None
    done: bool = False
    error: bool = False
    known: bool = True


def parse(data: bytes, name: bytes = b"") -> Said:
    """Read an event's data; `name` is that of its `event:` field.

    Raises:
        ValueError: the data of a nameless event is not JSON.
    """
    if data == _DONE:
        return Said(done=True)
    failed = b"error" in name.lower()
    try:
        found = json.loads(data)
    except ValueError:
        if failed:
            return Said(error=True)
        if name and name.lower() not in (b"message", b"completion", b"chunk", b"delta", b"data"):
            return Said(known=False)
        raise
    if isinstance(found, list):
        return _joined([_object(entry, failed) for entry in found if isinstance(entry, dict)])
    return _object(found, failed) if isinstance(found, dict) else Said(known=False, error=failed)


def is_error(found: Mapping[str, Any]) -> bool:
    """Whether an object says that something went wrong, in one of the forms that servers and gateways use."""
    if any(_tells(found.get(name)) for name in ("error", "errors")):
        return True
    if str(found.get("object")) == "error" or str(found.get("type")).endswith("error"):
        return True
    return not found.get("choices") and any(found.get(name) for name in _FAULTS)


def _tells(value: object) -> bool:
    """Whether a field for errors holds one: some servers send it empty with every event."""
    return any(value.values()) if isinstance(value, Mapping) else bool(value)


def _object(found: Mapping[str, Any], failed: bool) -> Said:
    if failed or is_error(found):
        return Said(error=True)
    said = Said(usage=_usage(found))
    choices = found.get("choices")
    if not isinstance(choices, list):
        said.known = "choices" in found or said.usage is not None
        return said
    for place, choice in enumerate(choices):
        if isinstance(choice, dict):
            _choice(choice, place, said)
    said.plain = said.plain and len(choices) == 1 and said.usage is None and not said.finished
    return said


def _choice(choice: Mapping[str, Any], place: int, said: Said) -> None:
    if _tells(choice.get("error")):
        said.error = True
        return
    index = choice["index"] if isinstance(choice.get("index"), int) else place
    delta = choice.get("delta") or choice.get("message") or {}
    delta = delta if isinstance(delta, Mapping) else {"content": delta}
    texts = [choice.get("text"), *(delta.get(name) for name in _SPOKEN)]
    thoughts = max((_size(delta.get(name)) for name in _REASONING), default=0)
    spoken = sum(map(_size, texts)) + _size(delta.get("audio"))
    calls = sum(_size(delta.get(name)) for name in _CALLS)
    if spoken + thoughts + calls:
        said.spoken.append(index)
    said.content += spoken + thoughts + calls
    said.reasoning += thoughts
    if index == 0:
        said.text += _shown(choice.get("text") or delta.get("content"))
        said.plain = bool(spoken) and not thoughts and not calls and _size(said.text) == spoken
    if reason := choice.get("finish_reason"):
        said.finished[index] = str(reason).lower().removeprefix("finish_reason_")
    if said.usage is None:
        said.usage = _usage(choice)


def _size(value: object) -> int:
    """Bytes of output in a field: a text, or a structure whose texts count."""
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, list):
        return sum(map(_size, value))
    if isinstance(value, Mapping):
        return sum(_size(part) for name, part in value.items() if name not in _LABELS)
    return 0


def _shown(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _usage(found: Mapping[str, Any]) -> Usage | None:
    usage = _part(found, "usage") or _part(_part(found, "x_groq"), "usage")
    if not usage:
        return None
    details = _part(usage, "completion_tokens_details", "output_tokens_details")
    prompt = _number(usage, "prompt_tokens", "input_tokens")
    output = _number(usage, "completion_tokens", "output_tokens")
    reasoning = _number(details, "reasoning_tokens")
    if reasoning == UNKNOWN:
        reasoning = _number(usage, "reasoning_tokens")
    if reasoning > 0 and min(prompt, output) >= 0 and usage.get("total_tokens") == prompt + output + reasoning:
        # xAI counts reasoning beside the completion's tokens, not within them
        output += reasoning
    cached = _number(_part(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if cached == UNKNOWN:
        cached = _number(usage, "prompt_cache_hit_tokens", "cache_read_input_tokens")
    return Usage(prompt, output, cached, reasoning)


def _part(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), Mapping)), {})


def _number(values: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return value
    return UNKNOWN


def _joined(parts: list[Said]) -> Said:
    joined = Said(known=any(part.known for part in parts))
    for part in parts:
        joined.content += part.content
        joined.reasoning += part.reasoning
        joined.text += part.text
        joined.spoken += part.spoken
        joined.finished |= part.finished
        joined.usage = part.usage or joined.usage
        joined.error |= part.error
    return joined
