"""Watches a release while Helm waits for it, and ends the wait once it is certain that it will never be ready."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drydock.clusters.kube import any_path, api_client, asking, get_json
from drydock.deploy.cluster_scene import read_scene
from drydock.outcome.lasting import Doubt, Doubts
from drydock.outcome.observe import WORKLOADS
from drydock.suite.manifests import Manifest
from drydock.suite.render import RELEASE

_POLL_SECONDS = 5.0
_LOG_LINES = 8
_UNAUTHORIZED = 401
_UNDER_WAY = ("pending-install", "pending-upgrade")
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_CLUSTER_EVENTS = "default"
"""Namespace of the events of node pools and node claims."""


class ReleaseWatch:
    """Polls a cluster beside Helm.

    Args:
        kubeconfig: of the cluster.
        manifests: what is installed.
        namespace: of the release, and of objects that name none.
        release: that Helm installs or rolls back meanwhile; empty when what is watched is no release.

    Attributes:
        stop: set when a workload can never become ready.
        reasons: why, by then, each with its remedy.
    """

    def __init__(self, kubeconfig: Path, manifests: Sequence[Manifest], namespace: str, release: str = RELEASE) -> None:
        self.stop = threading.Event()
        self.reasons: tuple[tuple[str, str], ...] = ()
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._release = release
        self._workloads = {
            f"{manifest.kind}/{manifest.namespace or namespace}/{manifest.name}"
            for manifest in manifests
            if manifest.kind in WORKLOADS
        }
        self._namespaces = {name.split("/")[1] for name in self._workloads} | {_CLUSTER_EVENTS}
        self._over = threading.Event()

    @contextmanager
    def reporting(self, report: Callable[[str], None]) -> Iterator[None]:
        """Watch during the block, and report in a few words what keeps the release from being ready."""
        with asking():
            doubts = Doubts(self._workloads, read_scene(any_path(self._kubeconfig), self._namespaces, set()))
        thread = threading.Thread(target=self._follow, args=(doubts, report), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _follow(self, doubts: Doubts, report: Callable[[str], None]) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        cluster = None
        while not self._over.wait(_POLL_SECONDS):
            unread: set[str] = set()
            try:
                cluster = cluster or any_path(self._kubeconfig)
                if not self._is_under_way(cluster):  # Helm may be rolling back
                    continue
                scene = read_scene(cluster, self._namespaces, unread)
                final = doubts.final(scene, time.monotonic(), unread)
                reasons = tuple((_told(self._kubeconfig, doubt), doubt.remedy) for doubt in final)
            except ApiException as error:  # Helm reports it, or it passes
                if error.status == _UNAUTHORIZED:  # the token expired
                    cluster = None
                continue
            except (HTTPError, OSError):
                continue
            if reasons:
                self.reasons = reasons
                self.stop.set()
                return
            for doubt in doubts.seen(scene, unread)[:1]:
                report(f"{doubt.subject}: {' '.join(doubt.reason.split())}")

    def _is_under_way(self, cluster: Any) -> bool:
        if not self._release:
            return True
        selector = f"owner=helm,name={self._release}"
        path = f"/api/v1/namespaces/{self._namespace}/secrets"
        revisions = get_json(cluster, path, accept=_NAMES_ONLY, label_selector=selector)["items"] or ()
        labels: list[Mapping[str, str]] = [content["metadata"]["labels"] for content in revisions]
        latest = max(labels, key=lambda label: int(label["version"]), default=None)
        return latest is not None and latest["status"] in _UNDER_WAY


def _told(kubeconfig: Path, doubt: Doubt) -> str:
    """A doubt with the end of the container's log, which a rollback would take away."""
    words = f"{doubt.subject}: {doubt.reason}"
    log = _end_of_log(kubeconfig, doubt) if doubt.container else ""
    return "\n".join((words, *(f"  | {line}" for line in log.splitlines())))


def _end_of_log(kubeconfig: Path, doubt: Doubt) -> str:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    _, namespace, name = doubt.subject.split("/")
    try:
        log: str = client.CoreV1Api(api_client(kubeconfig)).read_namespaced_pod_log(
            name, namespace, container=doubt.container, previous=True, tail_lines=_LOG_LINES
        )
    except ApiException:
        return ""
    return log
