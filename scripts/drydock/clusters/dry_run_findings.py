"""A dry run of every object on a real API server: CEL rules, defaulting, strict field validation, pod security."""

import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import file_of
from drydock.clusters.served_kinds import CRDS, ServedKinds, defined_kinds
from drydock.errors import ClusterError
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment

CHECK = "server-dry-run"
POD_SECURITY = {"pod-security.kubernetes.io/warn": "restricted"}
"""Label of the release's namespace: what a workload does beyond the restricted standard is reported, not refused."""

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_PARALLEL = 8
_DISCOVERY_SECONDS = 90
_PAUSE_SECONDS = 0.2
_REFUSED = 400


def server_findings(kubeconfig: Path, rendered: RenderedEnvironment) -> tuple[Finding, ...]:
    """What an API server says of an environment's objects; nothing of them is kept, only missing namespaces are made.

    Args:
        kubeconfig: of a cluster that may be written to, with the CRDs in it.
        rendered: the environment.

    Raises:
        ClusterError: the API server does not answer.
    """
    import urllib3
    from kubernetes.config import new_client_from_config

    with tempfile.TemporaryDirectory(prefix="drydock-") as folder:
        try:
            with new_client_from_config(config_file=str(kubeconfig)) as client:
                server = _Server(client, Path(folder) / "discovery.json", rendered.environment.namespace)
                server.make_namespaces({rendered_object.namespace for rendered_object in rendered.manifests})
                server.discover(rendered.manifests)
                with ThreadPoolExecutor(_PARALLEL) as pool:
                    found = pool.map(server.dry_run, _once(rendered.manifests))
                    refusals = [(manifest, refusal) for manifest, complaints in found for refusal in complaints]
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"the API server of {kubeconfig} does not answer: {error}") from error
    return tuple(sorted(_finding(rendered, manifest, *complaint) for manifest, complaint in refusals))


class _Server:
    """One API server, and what it serves."""

    def __init__(self, client: Any, cache_file: Path, namespace: str) -> None:
        from kubernetes.dynamic import DynamicClient

        self._dynamic = DynamicClient(client, cache_file=str(cache_file))
        self._namespace = namespace
        self._kinds = ServedKinds(lambda path: self._call("GET", path, None, {})[1])

    def make_namespaces(self, named: set[str]) -> None:
        """Make the release's namespace and those that objects name."""
        for name in {self._namespace, *named} - {""}:
            metadata = {"name": name, "labels": POD_SECURITY if name == self._namespace else {}}
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
            self._call("POST", "/api/v1/namespaces", body, {})

    def discover(self, manifests: Sequence[Manifest]) -> None:
        """Find out where the objects' kinds are served; one whose CRD has only just been created is waited for."""
        wanted = {(manifest.api_version, manifest.kind) for manifest in manifests}
        deadline = time.monotonic() + _DISCOVERY_SECONDS
        while missing := {name for name in wanted if not self._kinds.find(*name)}:
            crds = self._call("GET", CRDS, None, {})[1].get("items", ())
            if time.monotonic() > deadline or not missing & defined_kinds(crds):
                return
            time.sleep(_PAUSE_SECONDS)

    def dry_run(self, manifest: Manifest) -> tuple[Manifest, list[tuple[str, str, Severity]]]:
        """Path, reason and severity of what the server says of one object."""
        kind = self._kinds.find(manifest.api_version, manifest.kind)
        if kind is None:
            reason = f"the API server serves no {manifest.api_version} {manifest.kind}"
            return manifest, [("", reason, Severity.ERROR)]
        path = kind.path(manifest.api_version, manifest.name, manifest.namespace or self._namespace)
        query = {"dryRun": "All", "fieldManager": "drydock", "force": "true", "fieldValidation": "Strict"}
        status, content, warnings = self._call("PATCH", path, manifest.content, query)
        complaints = [("", warning, Severity.WARNING) for warning in warnings]
        if status >= _REFUSED:
            complaints.extend((path, reason, Severity.ERROR) for path, reason in _causes(content))
        return manifest, complaints

    def _call(self, method: str, path: str, body: Any, query: dict[str, str]) -> tuple[int, Any, list[str]]:
        from kubernetes.client.exceptions import ApiException

        content_type = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        parameters = {"query_params": list(query.items()), "content_type": content_type, "serialize": False}
        try:
            response = self._dynamic.request(method, path, body=body, **parameters)
        except ApiException as error:
            return error.status or _REFUSED, _json(error.body), _warnings(error.headers)
        return response.status, _json(response.data), _warnings(response.headers)


def _json(body: Any) -> Any:
    try:
        return json.loads(body)
    except (TypeError, ValueError):
        return {"message": str(body)}


def _warnings(headers: Any) -> list[str]:
    text = ", ".join(headers.getlist("Warning")) if hasattr(headers, "getlist") else (headers or {}).get("Warning", "")
    return [found.replace('\\"', '"') for found in _WARNING.findall(text)]


def _causes(status: Any) -> Iterator[tuple[str, str]]:
    """Path and message of each cause of a refusal, or its message alone."""
    causes = (status.get("details") or {}).get("causes") or ()
    for cause in causes:
        yield str(cause.get("field", "")), str(cause.get("message", ""))
    if not causes:
        yield "", str(status.get("message", status))


def _once(manifests: Sequence[Manifest]) -> list[Manifest]:
    return list(
        {
            (manifest.api_version, manifest.kind, manifest.namespace, manifest.name): manifest for manifest in manifests
        }.values()
    )


def _finding(rendered: RenderedEnvironment, manifest: Manifest, path: str, reason: str, severity: Severity) -> Finding:
    remedy = "Correct the template, or the value that sets it."
    return Finding(
        rendered.environment.name,
        CHECK,
        reason,
        remedy,
        severity,
        chart=manifest.chart,
        template=manifest.template,
        object=manifest.identity,
        path=path,
        file=file_of(manifest),
        release=manifest.source,
    )
