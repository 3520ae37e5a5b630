"""Follows a cluster by any kubeconfig: lists in pages, then watches; what may not be read is left out and named."""

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.clusters.kube import list_objects
from drydock.outcome.observe import COLLECTIONS, Scene

KINDS = ("Node", "NodeClaim", "NodePool", "Pod", "ReplicaSet", "Job", "PersistentVolumeClaim", "Event")
_WATCH_SECONDS = 300
_PAUSE_SECONDS = 2.0
_FORBIDDEN, _NOT_FOUND = 403, 404


class ClusterWatch:
    """Keeps a scene up to date; `scene` changes only in `refresh`.

    Args:
        cluster: see `kube.any_path`.

    Attributes:
        scene: every object of `KINDS` as it was seen last.
        unread: kinds that this user may not read.
        failure: why the API server cannot be read at present; empty while it can.
    """

    def __init__(self, cluster: Any) -> None:
        self.scene = Scene()
        self.unread: set[str] = set()
        self.failure = ""
        self._cluster = cluster
        self._changes: queue.SimpleQueue[tuple[str, str, Mapping[str, Any], float]] = queue.SimpleQueue()
        self._versions = {kind: self._add(kind) for kind in KINDS}
        self.refresh()

    def start(self) -> None:
        """Watch from now on, for as long as the process lives."""
        for kind, version in self._versions.items():
            if version is not None:
                threading.Thread(target=self._follow, args=(kind, version), daemon=True).start()

    def refresh(self) -> None:
        """Take note of all changes that arrived."""
        try:
            while True:
                kind, change, content, when = self._changes.get_nowait()
                self.scene.see(kind, change, content, when)
        except queue.Empty:
            return

    def _list(self, kind: str) -> tuple[list[Mapping[str, Any]], str | None]:
        """Objects of a kind and the version to watch from, None where the kind is not served or may not be read."""
        from kubernetes.client.exceptions import ApiException

        try:
            return list_objects(self._cluster, COLLECTIONS[kind])
        except ApiException as error:
            if error.status == _FORBIDDEN and kind != "Node":
                self.unread.add(kind)
            elif error.status != _NOT_FOUND:
                raise
            return [], None

    def _add(self, kind: str) -> str | None:
        """List a kind, and let go of what was known of it and is gone."""
        items, version = self._list(kind)
        found = {content["metadata"]["uid"] for content in items}
        for uid, content in list(self.scene.objects[kind].items()):
            if uid not in found:
                self._note(kind, "DELETED", content)
        for content in items:
            self._note(kind, "ADDED", content)
        return version

    def _note(self, kind: str, change: str, content: Mapping[str, Any]) -> None:
        self._changes.put((kind, change, {**content, "kind": kind}, time.time()))

    def _follow(self, kind: str, version: str | None) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        while True:
            try:
                version = version or self._add(kind)
                for change, content in self._watch(kind, version or "0"):
                    self.failure = ""
                    version = content["metadata"]["resourceVersion"]
                    if change != "BOOKMARK":
                        self._note(kind, change, content)
            except _ExpiredError:
                version = None
            except (ApiException, HTTPError, OSError, ValueError) as error:
                self.failure = " ".join(str(getattr(error, "reason", "") or error).split())
                version = None
                time.sleep(_PAUSE_SECONDS)

    def _watch(self, kind: str, version: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        response = self._cluster.request(
            "get",
            COLLECTIONS[kind],
            serialize=False,
            watch="true",
            allow_watch_bookmarks="true",
            resource_version=version,
            timeout_seconds=_WATCH_SECONDS,
            header_params={"Accept": "application/json"},
        )
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _ExpiredError
                yield event["type"], event["object"]
        finally:
            response.close()


class _ExpiredError(Exception):
    """The watch is too old to go on; what is there has to be listed again."""


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(amt=None):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from (line for line in complete if line)
