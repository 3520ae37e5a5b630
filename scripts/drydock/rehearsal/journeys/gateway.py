"""The gateway of a platform, as journeys and faults find it: where it answers, its keys and its settings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3

from drydock.clusters.api import collection
from drydock.documents import load_yaml_file
from drydock.errors import ClusterError
from drydock.rehearsal.journeys.live_cluster import LiveCluster

CHAT = "/v1/chat/completions"
_FACTS = Path(__file__).resolve().parents[2] / "data" / "journeys.yaml"


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        title: what it was.
        succeeded: whether it went as it must; None where it could not be tried.
        outcome: what came of it, or why it was not tried.
        seconds: that it took.
    """

    title: str
    succeeded: bool | None
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Gateway:
    """A gateway that answers.

    Attributes:
        cluster: that it runs in.
        url: of its Service on this machine.
        pods: of it.
        pool: of connections.
    """

    cluster: LiveCluster
    url: str
    pods: Sequence[Mapping[str, Any]]
    pool: urllib3.PoolManager

    def call(self, path: str, key: str, body: Mapping[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        """A response whose content is not read yet: a GET, or with a body a POST."""
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return self.pool.request(
            "POST" if body else "GET",
            self.url + path,
            headers=headers,
            body=json.dumps(body) if body else None,
            preload_content=False,
        )

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Virtual keys by name, as its pods mount them; the master key alone for a gateway without any."""
        for volume in self._volumes(_facts()["keys"]):
            if "secret" in volume:
                content = self.cluster.secret(self.namespace, volume["secret"]["secretName"])
                names = [item["key"] for item in volume["secret"].get("items") or ()] or sorted(content)
                return {name: content[name] for name in names}
        return {"master": self.master}

    @cached_property
    def master(self) -> str:
        """The key that may do everything.

        Raises:
            ClusterError: no pod has one.
        """
        for container in self.pods[0]["spec"]["containers"] if self.pods else ():
            for variable in container.get("env") or ():
                if variable["name"] == _facts()["master"]:
                    source = variable["valueFrom"]["secretKeyRef"]
                    return self.cluster.secret(self.namespace, source["name"])[source["key"]]
        raise ClusterError(f"no pod of {self.url} has a key", remedy="Set keys of the gateway's chart.")

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What the chart's values say, as its pods read it; empty where they mount none."""
        for volume in self._volumes(_facts()["settings"]):
            path = collection("v1", "configmaps", self.namespace)
            data = self.cluster.api.get(f"{path}/{volume['configMap']['name']}").get("data") or {}
            return dict(json.loads(data.get(_facts()["settings_file"], "{}")))
        return {}

    @property
    def namespace(self) -> str:
        """Of its pods."""
        return str(self.pods[0]["metadata"]["namespace"]) if self.pods else ""

    def logs(self) -> str:
        """What its pods wrote, one after the other."""
        path = collection("v1", "pods", self.namespace)
        return "\n".join(self.cluster.api.text(f"{path}/{pod['metadata']['name']}/log") for pod in self.pods)

    def _volumes(self, name: str) -> list[Mapping[str, Any]]:
        volumes = (self.pods[0]["spec"].get("volumes") or ()) if self.pods else ()
        return [volume for volume in volumes if volume["name"] == name]


def find_gateway(cluster: LiveCluster, pool: urllib3.PoolManager) -> Gateway:
    """The gateway of a cluster.

    Raises:
        UsageError: there is none.
        ClusterError: it does not answer.
    """
    name, service = cluster.service(_facts()["service"])
    url = f"http://{cluster.address(name, 'http')}"
    selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
    pods = cluster.api.get(collection("v1", "pods", service["metadata"]["namespace"]), {"labelSelector": selector})[
        "items"
    ]
    return Gateway(cluster, url, [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]], pool)


class StreamedTexts:
    """Iterates over the pieces of a streamed answer; `complete` afterwards: whether its end arrived."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.complete = False

    def __iter__(self) -> Iterator[str]:
        rest = b""
        for chunk in self._response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                data = line.decode().strip().removeprefix("data: ")
                if data == "[DONE]":
                    self.complete = True
                elif line.startswith(b"data: ") and (text := _text(json.loads(data))):
                    yield text


def _text(event: Mapping[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


def _facts() -> Mapping[str, Any]:
    facts: Mapping[str, Any] = load_yaml_file(_FACTS)["gateway"]
    return facts
