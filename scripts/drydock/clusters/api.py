"""The Kubernetes API as plain objects: what the rehearsal creates, reads and watches."""

import json
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from drydock.errors import ClusterError

FIELD_MANAGER = "drydock"
NOT_FOUND = 404
CONFLICT = 409
GONE = 410
_REFUSED = 400
_CALL_SECONDS = 60
_READ_ATTEMPTS = 10
"""Of a read that the API server puts off, as it does for a moment when it begins to serve a custom resource."""
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


class ApiError(ClusterError):
    """The API server refused a call, or does not answer.

    Attributes:
        status: its HTTP status; 0 when there was no answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ClusterAccess(Protocol):
    """How to reach an API server."""

    @property
    def server(self) -> str:
        """Its address."""

    def connect(self) -> Any:
        """Connections to it, as urllib3's `PoolManager`."""

    def credentials(self) -> Mapping[str, str]:
        """Headers that say who calls, read before each call: a token may have expired since the last."""


@dataclass(frozen=True)
class Access:
    """How to reach an API server with a client's certificate: its address, and PEM files."""

    server: str
    authority: Path
    certificate: Path
    key: Path

    def connect(self) -> Any:
        """See ClusterAccess."""
        import urllib3

        return urllib3.PoolManager(
            maxsize=32, ca_certs=str(self.authority), cert_file=str(self.certificate), key_file=str(self.key)
        )

    def credentials(self) -> Mapping[str, str]:
        """See ClusterAccess: the certificate says it."""
        return {}


class Api:
    """Calls to one API server, by path, over the HTTP library that the kubernetes package itself is made on.

    Safe to use from several threads.

    Attributes:
        leaving: set before the server is ended on purpose: a watch that breaks then is not taken up again.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self.leaving = False
        self._headers: Mapping[str, str] = {}
        self._access = access
        self._server = access.server
        self._pool = access.connect()
        self._retries = _retries()

    def acting_as(self, user: str) -> "Api":
        """Calls with the rights of another user, over the same connections."""
        other = copy(self)
        other._headers = {"Impersonate-User": user}
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; watches go on until the server ends them."""
        self._pool.clear()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The object or list at a path.

        Raises:
            ApiError: the API server refused, or does not answer.
        """
        return json.loads(self._call("GET", path, query=query).data)

    def text(self, path: str, *, timeout: float = _CALL_SECONDS) -> str:
        """What a path that is not an object answers, such as `/readyz`."""
        return str(self._call("GET", path, timeout=timeout).data.decode())

    def find(self, path: str) -> Any | None:
        """The object at a path, or None when it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def create(self, path: str, content: Mapping[str, Any], *, dry_run: bool = False) -> bool:
        """Create an object in the collection at a path, or see whether it could be; False when it exists already."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        try:
            self._call("POST", path, body=content, query=query)
        except ApiError as error:
            if error.status == CONFLICT:
                return False
            raise
        return True

    def apply(self, path: str, content: Mapping[str, Any], *, force: bool = True) -> None:
        """Server-side apply the object whose own path this is, with fields of other managers where it is forced."""
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        self._call("PATCH", path, body=content, query=query, content_type=_APPLY)

    def merge(self, path: str, change: Mapping[str, Any], *, strategic: bool = False) -> None:
        """Merge a change into the object at a path; nothing happens when it is gone.

        A strategic merge keeps entries of lists that the change does not name, such as conditions.
        """
        self._unless_gone("PATCH", path, change, _STRATEGIC if strategic else _MERGE)

    def request(self, path: str, content: Mapping[str, Any]) -> Any:
        """What a path answers that makes something on request, such as a token."""
        return json.loads(self._call("POST", path, body=content).data)

    def delete(self, path: str) -> None:
        """Delete the object at a path; nothing happens when it is gone."""
        self._unless_gone("DELETE", path, None, "application/json")

    def forget(self, path: str, uid: str) -> None:
        """Delete the object of that uid at a path without any grace; nothing happens when it is gone."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            self._unless_gone("DELETE", path, options, "application/json")
        except ApiError as error:
            if error.status != CONFLICT:  # another object has its name by now
                raise

    def watch(self, path: str, *, seconds: int = 3600) -> Iterator[tuple[str, Any]]:
        """What is there (`ADDED`), a `BOOKMARK` after the last of it, then every change, until `seconds` are over.

        Raises:
            ApiError: the API server refused, or ended the connection.
        """
        from urllib3.exceptions import HTTPError

        query = {
            "watch": "true",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._call("GET", path, query=query, timeout=None)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(f"watch of {path} ended: {event['object'].get('message')}", GONE)
                yield event["type"], event["object"]
        except HTTPError as error:
            raise ApiError(f"watch of {path} ended: {error}", 0) from error
        finally:
            response.close()

    def _unless_gone(self, method: str, path: str, body: Mapping[str, Any] | None, content_type: str) -> None:
        try:
            self._call(method, path, body=body, content_type=content_type)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float | None = _CALL_SECONDS,
    ) -> Any:
        from urllib.parse import urlencode

        from urllib3.exceptions import HTTPError

        url = f"{self._server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {
            "Accept": "application/json",
            "Content-Type": content_type,
            **self._access.credentials(),
            **self._headers,
        }
        data = json.dumps(body).encode() if body is not None else None
        try:
            response = self._pool.request(
                method,
                url,
                body=data,
                headers=headers,
                timeout=timeout,
                retries=self._retries,
                preload_content=timeout is not None,
            )
            if response.status >= _REFUSED:
                raise ApiError(f"{method} {path}: {_reason(response)}", response.status)
        except HTTPError as error:
            raise ApiError(f"{method} {path}: the API server does not answer ({error})", 0) from error
        return response


def _retries() -> Any:
    """Wait as the server asks (429 with Retry-After) before a read is repeated; nothing else is repeated."""
    from urllib3 import Retry

    return Retry(
        total=_READ_ATTEMPTS,
        connect=False,
        read=False,
        redirect=False,
        other=False,
        allowed_methods=["GET"],
        raise_on_status=False,
    )


def collection(api_version: str, plural: str, namespace: str = "") -> str:
    """Path of a collection: `/api/v1/...` or `/apis/GROUP/VERSION/...`."""
    root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(amt=None):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line for line in complete if line)


def _reason(response: Any) -> str:
    try:
        return str(json.loads(response.data)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {response.data[:200].decode(errors='replace')}"
