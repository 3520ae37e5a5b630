"""Asks an endpoint, before it is loaded, whether it is there and takes the key, the path and the model.

It asks for the list of models (`GET /v1/models`), which costs the server nothing. Only where a name is not in that list
does it ask for one token, since some gateways serve more than they list. Whatever else a server answers, or leaves
unanswered, is the load's to count.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError, SSLError

from drydock.errors import DrydockError, UsageError
from drydock.loadtest.settings import Target
from drydock.loadtest.vocabulary import safe, told
from drydock.loadtest.wire import PATHS, api_path, tls_context

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_REFUSED_KEY = (401, 403)
_NO_SUCH_PATH = (404, 405)
_NO_SUCH_MODEL = (400, 404, 422)
"""vLLM and OpenAI answer 404, LiteLLM 400."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str
    kind: str
    body: bytes

    @property
    def is_absent(self) -> bool:
        """No such path; a web server may answer with a page for people instead."""
        return self.status in _NO_SUCH_PATH or (self.status == 200 and self.kind.startswith("text/html"))  # noqa: PLR2004

    def models(self) -> list[str] | None:
        """Names that it lists; None where it is no such list."""
        try:
            return [str(model["id"]) for model in json.loads(self.body)["data"]]
        except (ValueError, KeyError, TypeError):
            return None


def check(target: Target) -> None:
    """Return when the load can begin.

    Raises:
        DrydockError: no server answers there, or not with this encryption.
        UsageError: the key is refused, there is no such path, or none of the models has such a name.
    """
    if target.dialect.path:
        # where models are parts of the path there is no list of them under it
        _check_path(target)
        return
    listed = _ask(target, "GET", "/models")
    if listed is None:
        return
    _check_access(target, listed)
    names = listed.models() if listed.status == 200 else None  # noqa: PLR2004
    if names is not None:
        _check_models(target, names)
    elif listed.is_absent:
        _check_path(target)


def _check_access(target: Target, answer: _Answer) -> None:
    if answer.status in _REFUSED_KEY:
        given = "refused the API key" if target.api_key else "wants an API key"
        raise UsageError(
            f"{target.base_url} {given}: http {answer.status}{_quoted(target, answer)}",
            remedy="Name the right one by --api-key-env VARIABLE or --api-key-file FILE; where it does not go into "
            "Authorization: Bearer, say where by --api azure or --header-env NAME=VARIABLE.",
        )
    if answer.location:
        raise UsageError(
            f"{target.base_url} redirects to {safe(answer.location, target.secrets)} (http {answer.status})",
            remedy="Give the URL that it redirects to: a load does not follow.",
        )


def _check_models(target: Target, names: list[str]) -> None:
    for name in target.loras or (target.model,):
        if name in names:
            continue
        answer = _ask(target, "POST", PATHS[target.endpoint], _one_token(target, name))
        if answer is None:
            continue
        _check_access(target, answer)
        if answer.status in _NO_SUCH_MODEL:
            raise UsageError(
                f"{target.base_url} has no model {name}: http {answer.status}{_quoted(target, answer)}",
                remedy=f"Its models: {', '.join(names) or 'none'}.",
            )


def _check_path(target: Target) -> None:
    """Without a list of models: a 404 to GET alone may only mean that the path takes nothing but POST."""
    path = PATHS[target.endpoint]
    answer = _ask(target, "GET", path)
    if answer is None or answer.status == 405 or not answer.is_absent:  # noqa: PLR2004
        return
    name = (target.loras or (target.model,))[0]
    answer = _ask(target, "POST", path, _one_token(target, name))
    if answer is None:
        return
    _check_access(target, answer)
    if answer.is_absent:
        raise UsageError(
            f"{_shown(target, path)} does not exist, or has no model {name}: http {answer.status}"
            + _quoted(target, answer),
            remedy="Give the URL where the API begins, like http://host:8000/v1, and the model's name there.",
        )


def _one_token(target: Target, name: str) -> dict[str, Any]:
    asked = {"messages": [{"role": "user", "content": "Hello"}]} if target.endpoint == "chat" else {"prompt": "Hello"}
    return {"model": name, **asked, **target.dialect.body_fields({"max_tokens": 1})}


def _quoted(target: Target, answer: _Answer) -> str:
    said = told(answer.body, target.secrets)
    return f", {said!r}" if said else ""


def _url(target: Target, rest: str) -> str:
    parts = urlsplit(target.base_url)
    return f"{parts.scheme}://{parts.netloc}{api_path(target, rest)}"


def _shown(target: Target, rest: str) -> str:
    """The same without parameters, which may be secret."""
    return _url(target, rest).partition("?")[0]


def _ask(target: Target, method: str, rest: str, body: dict[str, Any] | None = None) -> _Answer | None:
    """What the endpoint answers; None where it takes the connection and does not answer as HTTP, or not in time."""
    headers = target.dialect.header_fields({"User-Agent": "drydock-loadtest"}, target.api_key)
    headers["Connection"] = "close"
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=min(_ANSWER_SECONDS, target.timeout_seconds))
    with urllib3.PoolManager(retries=False, ssl_context=tls_context(target), timeout=timeout) as pool:
        try:
            answer = pool.request(method, _url(target, rest), headers=headers, json=body, redirect=False)
        except LocationParseError as error:
            raise UsageError(
                f"{target.base_url!r} is not the URL of an endpoint: {error}",
                remedy="Give one like http://host:8000/v1.",
            ) from error
        except (NewConnectionError, ConnectTimeoutError, SSLError) as error:
            raise _unreachable(target, error) from error
        except HTTPError:
            return None
    return _Answer(
        answer.status, answer.get_redirect_location() or "", answer.headers.get("Content-Type", ""), answer.data
    )


def _unreachable(target: Target, error: HTTPError) -> DrydockError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else None
    why = (cause.strerror if cause else None) or str(cause or error)
    if isinstance(error, SSLError):
        remedy = (
            "check that the server speaks TLS there (https or http), and that its certificate can be verified: "
            "--ca-file FILE names the authority's own"
        )
    else:
        remedy = "check the URL's host name and port, and that the server is up"
    return DrydockError(f"no server answers at {target.base_url}: {why}", remedy=remedy)
