"""The OpenAI API as vLLM speaks it: what a request may say, and the bodies of answers and errors."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from drydock.simulator.text import block_hashes, chat_tokens, id_tokens, natural_length, text_tokens

_COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` for completions."""


class ApiError(Exception):
    """A request that is answered with an error body."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None):
        super().__init__(message)
        self.message, self.status, self.kind, self.param = message, status, kind, param

    def body(self) -> dict[str, Any]:
        """As vLLM words it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}}


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to make.

    Attributes:
        tokens: of the prompt.
        output: tokens of the answer; finish_reason and stop_reason follow from what limits it.
        seed: of the answer's words.
    """

    tokens: Sequence[bytes]
    output: int
    max_tokens: int
    finish_reason: str
    seed: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a generating endpoint, checked."""

    chat: bool
    model: str
    choices: tuple[Choice, ...]
    prompts: int
    stream: bool
    include_usage: bool
    continuous_usage: bool
    echo: bool
    stop: tuple[str, ...]
    include_stop: bool
    salt: str
    id: str
    created: int


@cache
def validators() -> Mapping[str, Any]:
    """What requests are checked against, by endpoint.

    Reading it takes longer than an answer does: a server does so before it listens, and not at its first request.
    """
    import yaml

    from drydock.json_schemas import Draft202012Validator

    schemas = yaml.safe_load((files("drydock") / "data/vllm/requests.yaml").read_text())
    common = schemas.pop("common")
    return {name: Draft202012Validator({"$defs": common, **schema}) for name, schema in schemas.items()}


def parse_body(raw: bytes, endpoint: str) -> dict[str, Any]:
    """A request's JSON, checked against the endpoint's schema."""
    try:
        body = json.loads(raw)
        if b"\\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ApiError(
            "[{'type': 'string_unicode', 'loc': ('body',), 'msg': 'Input should be a valid string, unable to parse raw"
            " data as a unicode string'}]"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ApiError(
            f"[{{'type': 'json_invalid', 'loc': ('body',), 'msg': 'JSON decode error', 'ctx': {{'error': '{error}'}}}}]"
        ) from error
    if not isinstance(body, dict):
        raise ApiError(
            "[{'type': 'model_attributes_type', 'loc': ('body',), 'msg': 'Input should be a valid dictionary'}]"
        )
    for problem in validators()[endpoint].iter_errors(body):
        path = tuple(problem.absolute_path)
        where = ("body", *path)
        if problem.validator == "required":
            raise ApiError(f"[{{'type': 'missing', 'loc': {where}, 'msg': 'Field required: {problem.message}'}}]")
        name = str(path[0]) if path else None
        raise ApiError(f"[{{'loc': {where}, 'msg': {problem.message!r}}}]", param=name)
    found: dict[str, Any] = body
    return found


def check_context(prompt: int, asked: int | None, max_model_len: int, *, chat: bool) -> int:
    """Tokens that may be generated.

    Raises:
        ApiError: prompt and answer do not fit the model's context.
    """
    if prompt >= max_model_len:
        raise ApiError(
            f"This model's maximum context length is {max_model_len} tokens. However, your request has {prompt} input"
            " tokens. Please reduce the length of the input messages.",
            param="input_tokens",
        )
    if asked is not None and prompt + asked > max_model_len:
        name = "'max_tokens' or 'max_completion_tokens'" if chat else "'max_tokens'"
        raise ApiError(
            f"{name} is too large: {asked}. This model's maximum context length is {max_model_len} tokens and your"
            f" request has {prompt} input tokens ({asked} > {max_model_len} - {prompt}).",
            param="max_tokens",
        )
    return max_model_len - prompt if asked is None else asked


def chat_call(body: Mapping[str, Any], max_model_len: int) -> Call:
    """Read a request to /v1/chat/completions."""
    messages = [(str(message["role"]), _content(message)) for message in body["messages"]]
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    return _call(body, [chat_tokens(messages)], asked, max_model_len, chat=True)


def completion_call(body: Mapping[str, Any], max_model_len: int) -> Call:
    """Read a request to /v1/completions."""
    asked = body.get("max_tokens", _COMPLETION_TOKENS)
    return _call(body, prompts_of(body.get("prompt"), "prompt"), asked, max_model_len, chat=False)


def prompts_of(value: object, param: str) -> list[Sequence[bytes]]:
    """Tokens of each prompt: a text, a list of numbers, or a list of either."""
    if isinstance(value, str):
        return [text_tokens(value)]
    if isinstance(value, list) and value:
        if all(type(item) is int for item in value):
            return [id_tokens(value)]
        if all(isinstance(item, (str, list)) for item in value):
            return [tokens for item in value for tokens in prompts_of(item, param)]
    raise ApiError(
        f"{param} must be a string, array of strings, array of tokens, or array of token arrays", param=param
    )


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _call(
    body: Mapping[str, Any], prompts: Sequence[Sequence[bytes]], asked: int | None, max_model_len: int, *, chat: bool
) -> Call:
    options = body.get("stream_options") or {}
    if options and not body.get("stream"):
        raise ApiError("Stream options can only be defined when `stream=True`.", param="stream_options")
    choices = []
    for tokens in prompts:
        if not tokens:
            raise ApiError("The decoder prompt cannot be empty", param="prompt")
        most = check_context(len(tokens), asked, max_model_len, chat=chat)
        key = f"{block_hashes(tokens, len(tokens))[0]:x}"
        random = body.get("temperature", 1.0) != 0
        for index in range(body.get("n") or 1):
            seed = f"{key} {body.get('seed', uuid.uuid4().hex) if random else ''} {index}"
            length = most if body.get("ignore_eos") else max(natural_length(seed), body.get("min_tokens") or 0)
            reason = "stop" if length < most else "length"
            choices.append(Choice(tokens, min(length, most), most, reason, seed))
    stop = body.get("stop") or ()
    return Call(
        chat=chat,
        model=str(body.get("model") or ""),
        choices=tuple(choices),
        prompts=len(prompts),
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        continuous_usage=bool(options.get("continuous_usage_stats")),
        echo=bool(body.get("echo")),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        include_stop=bool(body.get("include_stop_str_in_output")),
        salt=str(body.get("cache_salt") or ""),
        id=("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
        created=int(time.time()),
    )


def compact(value: object) -> str:
    """JSON as the server writes it: without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def usage(prompt: int, output: int, cached: int | None = None) -> dict[str, Any]:
    """The usage object; `cached` only where the server reports it."""
    details = None if cached is None else {"cached_tokens": cached}
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + output,
        "completion_tokens": output,
        "prompt_tokens_details": details,
    }


def answer_body(call: Call, choices: list[dict[str, Any]], used: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    kind = "chat.completion" if call.chat else "text_completion"
    return {
        "id": call.id,
        "object": kind,
        "created": call.created,
        "model": call.model,
        "choices": choices,
        "service_tier": None,
        "system_fingerprint": None,
        "usage": dict(used),
        "kv_transfer_params": None,
    }


def choice_body(
    call: Call, index: int, text: str, finish_reason: str, stop_reason: str | None, role: str = "assistant"
) -> dict[str, Any]:
    """One choice of an answer that is not streamed."""
    ending = {"logprobs": None, "finish_reason": finish_reason, "stop_reason": stop_reason}
    if call.chat:
        message: dict[str, Any] = {"role": role, "content": text, "refusal": None, "tool_calls": [], "reasoning": None}
        return {"index": index, "message": message, **ending, "token_ids": None}
    return {"index": index, "text": text, **ending, "prompt_logprobs": None, "token_ids": None}


class Chunks:
    """Writes server-sent events; what stays the same between tokens is rendered once."""

    def __init__(self, call: Call, index: int) -> None:
        kind = "chat.completion.chunk" if call.chat else "text_completion"
        head = {"id": call.id, "object": kind, "created": call.created, "model": call.model}
        self._head = compact(head)[:-1]
        self._index = index
        self._chat = call.chat
        field = '"delta":{"content":"' if call.chat else '"text":"'
        tail = '"}' if call.chat else '"'
        self._before = f'data: {self._head},"choices":[{{"index":{index},{field}'.encode()
        self._after = f'{tail},"logprobs":null,"finish_reason":null}}]}}\n\n'.encode()

    def role(self, name: str) -> bytes:
        """The first event of a chat."""
        choice = {"index": self._index, "delta": {"role": name, "content": ""}, "logprobs": None, "finish_reason": None}
        return self._event([choice])

    def word(self, text: str) -> bytes:
        """A token that needs no escaping."""
        return self._before + text.encode() + self._after

    def last(self, text: str, finish_reason: str, stop_reason: str | None) -> bytes:
        """The last token, with the reason to end."""
        content = {"delta": {"content": text}} if self._chat else {"text": text}
        ending = {"logprobs": None, "finish_reason": finish_reason, "stop_reason": stop_reason}
        return self._event([{"index": self._index, **content, **ending}])

    def with_usage(self, event: bytes, used: Mapping[str, Any]) -> bytes:
        """The same event, telling usage so far."""
        return event.rstrip(b"\n")[:-1] + f',"usage":{compact(dict(used))}}}\n\n'.encode()

    def usage(self, used: Mapping[str, Any]) -> bytes:
        """The event after all tokens: usage and no choices."""
        return self._event([], dict(used))

    def _event(self, choices: list[dict[str, Any]], used: dict[str, Any] | None = None) -> bytes:
        end = f',"usage":{compact(used)}' if used is not None else ""
        return f'data: {self._head},"choices":{compact(choices)}{end}}}\n\n'.encode()


DONE = b"data: [DONE]\n\n"
