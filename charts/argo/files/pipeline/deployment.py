"""Stage 7, deployment: let the Deployment of a model serve the new one, and wait until it does.

The model's folder on S3 is mounted into the server's pods, so the first argument of `vllm serve`, which is the path of
the model, is all that changes. If the new pods do not become ready, the old argument is put back.
"""

import argparse
import json
import posixpath
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import storage

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ANNOTATION = "drydock.dev/model"
_PATH = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class DeploymentError(Exception):
    """The model could not be deployed."""


class Api:
    """One Deployment, through the Kubernetes API.

    Attributes:
        url: of the Deployment.
    """

    def __init__(self, server: str, namespace: str, name: str, account: Path = ACCOUNT) -> None:
        self._collection = f"{server}/apis/apps/v1/namespaces/{namespace}/deployments"
        self.url = f"{self._collection}/{name}"
        self._name = name
        self._account = account
        authority = account / "ca.crt"
        self._context = ssl.create_default_context(cafile=str(authority)) if authority.exists() else None

    def read(self) -> dict[str, Any]:
        """The Deployment as it is."""
        with self._open("GET", self.url) as answer:
            content: dict[str, Any] = json.load(answer)
            return content

    def patch(self, change: Mapping[str, Any]) -> dict[str, Any]:
        """Merge a change into the Deployment as kubectl apply would."""
        url = f"{self.url}?{urlencode({'fieldManager': 'model-pipeline'})}"
        with self._open("PATCH", url, change) as answer:
            content: dict[str, Any] = json.load(answer)
            return content

    def watch(self, seconds: float) -> Iterator[dict[str, Any]]:
        """The Deployment as it is, and after each change, for some seconds."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={self._name}",
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        with self._open("GET", f"{self._collection}?{urlencode(query)}", timeout=seconds + 30) as answer:
            for line in answer:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
                elif event["type"] == "DELETED":
                    raise DeploymentError(f"{self.url} was deleted")

    def _open(self, method: str, url: str, change: Mapping[str, Any] | None = None, timeout: float = 30) -> Any:
        token = (self._account / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if change is not None:
            headers["Content-Type"] = "application/strategic-merge-patch+json"
        body = None if change is None else json.dumps(change).encode()
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310
        try:
            return urllib.request.urlopen(request, timeout=timeout, context=self._context)  # noqa: S310
        except urllib.error.HTTPError as error:
            reason = json.loads(error.read() or b"{}").get("message", error.reason)
            raise DeploymentError(f"{method} {self.url}: {error.code} {reason}") from error


def change_to(current: Mapping[str, Any], container: str, path: str) -> dict[str, Any]:
    """The patch that lets a container serve the model of another path.

    Raises:
        DeploymentError: there is no such container, or it has no arguments.
    """
    containers = current["spec"]["template"]["spec"]["containers"]
    arguments = next((each.get("args") for each in containers if each["name"] == container), None)
    if not arguments:
        raise DeploymentError(f"the Deployment has no container {container} with arguments")
    return {
        "metadata": {"resourceVersion": current["metadata"]["resourceVersion"]},
        "spec": {
            "template": {
                "metadata": {"annotations": {ANNOTATION: path}},
                "spec": {"containers": [{"name": container, "args": [path, *arguments[1:]]}]},
            }
        },
    }


def mounted_path(model: str, models: str, mount_path: str) -> str:
    """Where the server has the model of an address.

    Raises:
        DeploymentError: it lies outside of the folder that the server mounts, or its path is not a plain one.
    """
    folder = models.rstrip("/") + "/"
    if not isinstance(model, str) or not model.startswith(folder):
        raise DeploymentError(f"{model} lies outside of {folder}, where the server could not read it")
    name = model.removeprefix(folder)
    if not _PATH.fullmatch(name) or any(part.strip(".") == "" for part in name.split("/")):
        raise DeploymentError(f"{model}: a model's path has letters, digits, . _ and - between single slashes")
    return posixpath.join(mount_path, name)


def served_path(current: Mapping[str, Any], container: str) -> str:
    """Path of the model that a container serves."""
    containers = current["spec"]["template"]["spec"]["containers"]
    return next(str(each["args"][0]) for each in containers if each["name"] == container)


def trouble(deployment: Mapping[str, Any]) -> str:
    """Why a rollout came to its end without success, empty as long as it did not."""
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason"))
    return ""


def is_healthy(deployment: Mapping[str, Any]) -> bool:
    """Whether every pod is of the last template, and ready."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = (status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas"))
    return seen and all(count == wanted for count in counts)


def wait(api: Api, seconds: float) -> None:
    """Wait until the Deployment is healthy.

    Raises:
        DeploymentError: it does not get there.
    """
    deadline = time.monotonic() + seconds
    status: Any = {}
    while (left := deadline - time.monotonic()) > 0:
        for deployment in api.watch(left):
            status = deployment.get("status", {})
            if is_healthy(deployment):
                return
            seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            if seen and (reason := trouble(deployment)):
                raise DeploymentError(reason)
    raise DeploymentError(f"not healthy after {seconds:.0f} s: {json.dumps(status)}")


def deploy(api: Api, container: str, path: str, seconds: float) -> None:
    """Serve the model of a path; on failure, serve the old one again.

    Raises:
        DeploymentError: the new one does not become healthy.
    """
    current = api.read()
    old = served_path(current, container)
    if old == path:
        print(f"{path} is served already")
    else:
        api.patch(change_to(current, container, path))
    try:
        wait(api, seconds)
    except DeploymentError as error:
        if old != path:
            api.patch(change_to(api.read(), container, old))
        raise DeploymentError(f"{path} did not become healthy, {old} is served again: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Deploy the best model; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--best", required=True, help="file that names the model")
    parser.add_argument("--models", required=True, help="address of the folder that the server mounts")
    parser.add_argument("--mount-path", default="/model", help="where the server mounts it")
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--deployment", required=True)
    parser.add_argument("--container", default="vllm")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--server", default="https://kubernetes.default.svc")
    arguments = parser.parse_args(argv)
    model = storage.read_json(arguments.best)["model"]
    try:
        path = mounted_path(model, arguments.models, arguments.mount_path)
    except DeploymentError as error:
        print(error, file=sys.stderr)
        return 1
    api = Api(arguments.server, arguments.namespace, arguments.deployment)
    try:
        deploy(api, arguments.container, path, arguments.seconds)
    except DeploymentError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.deployment} serves {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
