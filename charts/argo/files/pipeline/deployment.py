"""Stage 7, deployment: let the Deployment of a model serve the new one, and wait until it does.

The folder of the models on S3 is mounted into the server's pods, whose first argument of `vllm serve` ends with
`$(DRYDOCK_MODEL_FOLDER)`: what the annotation of their template says. That annotation, which no chart sets, is all that
changes, so an upgrade of the release neither conflicts with it nor takes it back. If the new pods do not become ready,
the old one is put back.
"""

import argparse
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import storage

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ANNOTATION = "drydock.dev/model-folder"
"""Of the pods' template: the model's folder below the mount, such as `/WORKFLOW/NAME`; empty for the mount itself."""
PREVIOUS = "drydock.dev/previous-model-folder"
"""What it was before, for a second try of a deployment that was interrupted."""
TRIES = 10
VARIABLE = "$(DRYDOCK_MODEL_FOLDER)"
_PATH = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


class DeploymentError(Exception):
    """The model could not be deployed."""


class ReplacedError(DeploymentError):
    """Somebody else chose another model meanwhile, which is not to be taken back."""


class ConflictError(DeploymentError):
    """The Deployment changed between reading and writing it."""


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
            kind = ConflictError if error.code == HTTPStatus.CONFLICT else DeploymentError
            raise kind(f"{method} {self.url}: {error.code} {reason}") from error


def change_to(current: Mapping[str, Any], folder: str, previous: str) -> dict[str, Any]:
    """The patch that lets a Deployment serve the model of another folder."""
    return {
        "metadata": {"resourceVersion": current["metadata"]["resourceVersion"]},
        "spec": {"template": {"metadata": {"annotations": {ANNOTATION: folder, PREVIOUS: previous}}}},
    }


def choose(api: Api, folder: str, previous: str, expected: str) -> None:
    """Let a Deployment serve the model of another folder, while it serves that of the expected one.

    What else changes meanwhile, such as its status or the number of pods, is no reason to give up.

    Raises:
        DeploymentError: it serves another one, or the API refuses.
    """
    for _ in range(TRIES):
        current = api.read()
        if (other := annotation(current)) != expected:
            raise ReplacedError(f"{api.url} was changed to serve '{other}' meanwhile")
        with suppress(ConflictError):
            api.patch(change_to(current, folder, previous))
            return
    raise DeploymentError(f"{api.url} changed at each of {TRIES} tries")


def folder_of(model: str, models: str) -> str:
    """Folder of the model of an address, below what the server mounts.

    Raises:
        DeploymentError: it lies outside of that, or its path is not a plain one.
    """
    parent = models.rstrip("/") + "/"
    if not isinstance(model, str) or not model.startswith(parent):
        raise DeploymentError(f"{model} lies outside of {parent}, where the server could not read it")
    name = model.removeprefix(parent)
    if not _PATH.fullmatch(name) or any(part.strip(".") == "" for part in name.split("/")):
        raise DeploymentError(f"{model}: a model's path has letters, digits, . _ and - between single slashes")
    return f"/{name}"


def annotation(current: Mapping[str, Any], name: str = ANNOTATION) -> str:
    """Annotation of the pods' template, empty when it is not there."""
    return str((current["spec"]["template"].get("metadata", {}).get("annotations") or {}).get(name, ""))


def check(current: Mapping[str, Any], container: str, mount_path: str) -> None:
    """See that a Deployment takes its model's folder from the annotation.

    Raises:
        DeploymentError: it does not, so the change would have no effect.
    """
    containers = current["spec"]["template"]["spec"]["containers"]
    arguments = next((each.get("args") for each in containers if each["name"] == container), None)
    if not arguments:
        raise DeploymentError(f"the Deployment has no container {container} with arguments")
    if arguments[0] != f"{mount_path}{VARIABLE}":
        raise DeploymentError(
            f"the first argument of container {container} is {arguments[0]}, not {mount_path}{VARIABLE}: upgrade the "
            "release whose model it is, or set deployment.mountPath of the pipeline to where it has the models"
        )


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


def wait(api: Api, folder: str, seconds: float) -> dict[str, Any]:
    """The Deployment, once it serves the model of a folder and is healthy.

    Raises:
        DeploymentError: it does not get there, or somebody changes the folder meanwhile.
    """
    deadline = time.monotonic() + seconds
    status: Any = {}
    while (left := deadline - time.monotonic()) > 0:
        for deployment in api.watch(left):
            status = deployment.get("status", {})
            if (other := annotation(deployment)) != folder:
                raise ReplacedError(f"{api.url} was changed to serve '{other}' meanwhile")
            if is_healthy(deployment):
                return deployment
            seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            if seen and (reason := trouble(deployment)):
                raise DeploymentError(reason)
    raise DeploymentError(f"not healthy after {seconds:.0f} s: {json.dumps(status)}")


def deploy(api: Api, container: str, mount_path: str, folder: str, seconds: float) -> dict[str, Any]:
    """The Deployment, serving the model of a folder; on failure, the old one is served again.

    Raises:
        DeploymentError: the new one does not become healthy.
    """
    current = api.read()
    check(current, container, mount_path)
    old = annotation(current)
    if old == folder:
        print(f"{mount_path}{folder} is served already")
        old = annotation(current, PREVIOUS)
    else:
        choose(api, folder, old, expected=old)
    try:
        return wait(api, folder, seconds)
    except ReplacedError:
        raise
    except DeploymentError as error:
        if old == folder:
            raise
        choose(api, old, "", expected=folder)
        raise DeploymentError(
            f"{mount_path}{folder} did not become healthy, {mount_path}{old} is served again: {error}"
        ) from error


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
    api = Api(arguments.server, arguments.namespace, arguments.deployment)
    try:
        folder = folder_of(model, arguments.models)
        found = deploy(api, arguments.container, arguments.mount_path, folder, arguments.seconds)
    except DeploymentError as error:
        print(error, file=sys.stderr)
        return 1
    if found["spec"].get("replicas", 1):
        print(f"{arguments.deployment} serves {arguments.mount_path}{folder}")
    else:
        print(f"{arguments.deployment} has no pods: the next that starts loads {arguments.mount_path}{folder}, untried")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
