"""How an endpoint differs from vLLM's: path, the key's header, further headers and parameters, fields of the body."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from drydock.errors import UsageError
from drydock.loadtest.secrets import Secret

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """A header's field or a parameter of the URL.

    Raises:
        UsageError: it cannot be sent.
    """

    name: str
    value: str | Secret

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.lower() in _OWN:
            raise UsageError(
                f"{self.name!r} is not the name of a field that can be set",
                remedy="Write it like --header X-Tenant=dock.",
            )
        if not self.text.isprintable() or not self.text.isascii():
            raise UsageError(
                f"the value of {self.name} cannot be sent", remedy="One line of ASCII characters is needed."
            )

    @property
    def text(self) -> str:
        """The value itself, to be sent and never shown."""
        return self.value.reveal() if isinstance(self.value, Secret) else self.value


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs.

    Attributes:
        path: of an API call in place of /v1 and the call's own; with {model} and {call}.
        key_header: carries the API key as it is; empty for `Authorization: Bearer`.
        headers, query: further ones.
        rename, drop: fields of the body by the names that the workload gives them.
        add: further fields of the body, over all others.
    """

    path: str = ""
    key_header: str = ""
    headers: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    add: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Values that nothing may show."""
        return tuple(header.value for header in (*self.headers, *self.query) if isinstance(header.value, Secret))

    def request_path(self, base: str, call: str, model: str) -> str:
        """Path and parameters of an API call; `base` is the path of the URL."""
        base = base.rstrip("/")
        if self.path:
            path = base + self.path.format(model=quote(model, safe=""), call=call)
        else:
            path = (base if base.endswith("/v1") else f"{base}/v1") + call
        return (
            f"{path}?{urlencode([(parameter.name, parameter.text) for parameter in self.query])}"
            if self.query
            else path
        )

    def header_fields(self, own: Mapping[str, str], key: Secret | None) -> dict[str, str]:
        """All fields of a request's header: its own, the API key's, and those that were given, which come first."""
        fields = dict(own)
        if key is not None:
            name = self.key_header or "Authorization"
            fields[name] = key.reveal() if self.key_header else f"Bearer {key.reveal()}"
        given = {header.name.lower() for header in self.headers}
        kept = {name: value for name, value in fields.items() if name.lower() not in given}
        return kept | {header.name: header.text for header in self.headers}

    def body_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a body but for model and prompt, as this endpoint takes them."""
        kept = {self.rename.get(name, name): value for name, value in fields.items() if name not in self.drop}
        return {**kept, **self.add}

    def facts(self) -> dict[str, Any]:
        """For JSON: a secret value is null."""
        return {
            "path": self.path,
            "key_header": self.key_header,
            "headers": [
                [header.name, None if isinstance(header.value, Secret) else header.value] for header in self.headers
            ],
            "query": [
                [parameter.name, None if isinstance(parameter.value, Secret) else parameter.value]
                for parameter in self.query
            ],
            "rename": dict(self.rename),
            "drop": list(self.drop),
            "add": dict(self.add),
        }


def dialect_from(facts: Mapping[str, Any], secrets: Sequence[str]) -> Dialect:
    """What `facts` returned, with the secret values put back in their order; empty ones for what sends nothing."""
    left = iter(secrets)

    def parameters(pairs: Sequence[Sequence[Any]]) -> tuple[Parameter, ...]:
        return tuple(Parameter(name, Secret(next(left, "")) if value is None else value) for name, value in pairs)

    return Dialect(
        path=facts["path"],
        key_header=facts["key_header"],
        headers=parameters(facts["headers"]),
        query=parameters(facts["query"]),
        rename=facts["rename"],
        drop=tuple(facts["drop"]),
        add=facts["add"],
    )


@cache
def dialects() -> Mapping[str, Mapping[str, Any]]:
    """The carried ones as they stand in the data file, by name."""
    import yaml

    loaded: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data/endpoints.yaml").read_text())
    return loaded


def dialect(
    name: str,
    *,
    headers: Sequence[Parameter] = (),
    query: Sequence[Parameter] = (),
    rename: Sequence[str] = (),
    drop: Sequence[str] = (),
    add: Sequence[str] = (),
) -> Dialect:
    """A carried dialect with what was given on top: `OLD=NEW`, names, and `NAME=JSON`.

    Raises:
        UsageError: there is none of that name, or something is not of its form.
    """
    if name not in dialects():
        raise UsageError(f"there is no API {name!r}", remedy=f"Known are: {', '.join(dialects())}.")
    facts = dialects()[name]
    chosen = {parameter.name for parameter in query}
    own = [Parameter(key, str(value)) for key, value in facts.get("query", {}).items() if key not in chosen]
    return Dialect(
        path=facts.get("path", ""),
        key_header=facts.get("key_header", ""),
        headers=tuple(headers),
        query=(*own, *query),
        rename={**facts.get("rename", {}), **dict(_pair("--rename-field", text) for text in rename)},
        drop=(*facts.get("drop", ()), *drop),
        add={**facts.get("add", {}), **{key: _json(value) for key, value in (_pair("--body", text) for text in add)}},
    )


def with_query(chosen: Dialect, parameters: Sequence[Parameter]) -> Dialect:
    """The dialect with further parameters, those of a URL."""
    given = {parameter.name for parameter in parameters}
    return replace(
        chosen, query=(*(parameter for parameter in chosen.query if parameter.name not in given), *parameters)
    )


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"{option} {text}: not NAME=VALUE", remedy=f"Write it like {option} name=value.")
    return name, value


def _json(text: str) -> Any:
    """A value of JSON; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
