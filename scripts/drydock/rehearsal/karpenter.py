"""Karpenter with the AWS provider's own logic, whose EC2 fleet calls are answered inside it (its KWOK build)."""

import datetime
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from drydock.clusters.api import Api, collection
from drydock.outcome.decisions import AWAITING, NOT_READY, Decided, PoolSkipped, RoundBegan
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.children import Child, Children
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.events import Said
from drydock.suite.feature_gates import environment_variable

if TYPE_CHECKING:
    from drydock.rehearsal.aws.stand_in import AwsStandIn

SYSTEM_NAMESPACE = "kube-system"
_OK = 200
_SAVED_SECONDS = 30.0
_METRICS_SECONDS = 60
_SAVED_PAUSE_SECONDS = 0.2
_CONFIG_MAPS = collection("v1", "configmaps", SYSTEM_NAMESPACE)
_CLAIMS = collection("karpenter.sh/v1", "nodeclaims")
_ROUND = "computing scheduling decision"
_UNPLACED = "could not schedule pod"
_IGNORED = "ignoring pod"
_SKIPPED = "skipping, nodepool requirements filtered out all instance types"
_TELLING = (_ROUND, _UNPLACED, _IGNORED, _SKIPPED, NOT_READY, AWAITING, '"NodeClaim":{', '"level":"ERROR"')


@dataclass(frozen=True)
class Launch:
    """All that one start of Karpenter needs.

    Attributes:
        children: starts it.
        tools: holds its path.
        credentials: hold its kubeconfig.
        account: gives the cluster's name and region.
        server: address of the API server.
        aws: answers for AWS.
        gates: its feature gates, as the target has them.
    """

    children: Children
    tools: Mapping[str, Path]
    credentials: Credentials
    account: Account
    server: str
    aws: "AwsStandIn"
    gates: Mapping[str, bool]

    def start(self, on_line: Callable[[str], None] | None = None) -> Child:
        """Start it; every line of its log goes to `on_line`."""
        return self.children.start("karpenter", [self.tools["karpenter"]], env=self._settings(), on_line=on_line)

    def _settings(self) -> dict[str, str]:
        return {
            **self.aws.client_settings(self.account.region),
            "KUBECONFIG": str(self.credentials.kubeconfig("karpenter")),
            "CLUSTER_NAME": self.account.cluster_name,
            "CLUSTER_ENDPOINT": self.server,
            "SYSTEM_NAMESPACE": SYSTEM_NAMESPACE,
            "DISABLE_LEADER_ELECTION": "true",
            "METRICS_PORT": "0",  # any free one; `metrics` finds it
            "METRICS_TOKEN": self.credentials.metrics_token.read_text(),
            "HEALTH_PROBE_PORT": "0",
            "FEATURE_GATES": environment_variable(self.gates),
            "LOG_LEVEL": "debug",  # info does not say why it ignores a pod
        }


def await_saved(api: Api) -> None:
    """Wait until another Karpenter would know of every machine that this one launched.

    Its KWOK build writes them down every second, and those of a Karpenter that ends before never become nodes.
    """
    end = time.monotonic() + _SAVED_SECONDS
    while time.monotonic() < end:
        saved = "".join(
            map(
                str, (config_map.get("data") for config_map in api.get(_CONFIG_MAPS)["items"] if _is_backup(config_map))
            )
        )
        claims = api.get(_CLAIMS)["items"]
        machines = [(claim.get("status") or {}).get("providerID", "").rpartition("/")[2] for claim in claims]
        if all(machine and machine in saved for machine in machines):
            return
        time.sleep(_SAVED_PAUSE_SECONDS)


def _is_backup(config_map: Mapping[str, Any]) -> bool:
    return str(config_map["metadata"]["name"]).startswith("kwok-aws-instances-")


def metrics(pid: int, token: str) -> str:
    """The metrics page, looked for on each port that the process listens on; empty while there is none."""
    import urllib3

    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return ""
    headers = {"Authorization": f"Bearer {token}"}
    with urllib3.PoolManager(retries=False, timeout=_METRICS_SECONDS) as pool:
        for port in sorted(
            {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}
        ):
            try:
                answer = pool.request("GET", f"http://127.0.0.1:{port}/metrics", headers=headers)
            except urllib3.exceptions.HTTPError:
                continue
            if answer.status == _OK:
                return str(answer.data.decode())
    return ""


def read_version(metrics_page: str) -> str:
    """Karpenter's version out of its metrics page; empty when it does not say."""
    found = re.search(r'^karpenter_build_info\{[^}]*\bversion="([^"]+)"', metrics_page, re.MULTILINE)
    return found.group(1) if found else ""


def _said(entry: Mapping[str, Any]) -> Said | None:
    words = ": ".join(str(entry[part]) for part in ("message", "error") if entry.get(part))
    if "NodeClaim" in entry:
        return Said(f"NodeClaim/{entry['NodeClaim']['name']}", words)
    if entry.get("level") == "ERROR" and entry.get("controller"):
        return Said(f"Karpenter/{entry['controller']}", words)
    return None


@dataclass
class LogReader:
    """Reads Karpenter's log, line by line."""

    _began: float = 0.0
    _ignored: set[str] = field(default_factory=set)

    def read(self, line: str) -> Decided | PoolSkipped | RoundBegan | Said | None:
        """What a line says of a round, of a pod or pool that Karpenter cannot use, of a claim or a fault; else None."""
        if not any(sign in line for sign in _TELLING):
            return None
        try:
            entry: dict[str, Any] = json.loads(line)
            return self._event(entry, datetime.datetime.fromisoformat(entry["time"]).timestamp())
        except (ValueError, KeyError, TypeError):
            return None

    def _event(self, entry: Mapping[str, Any], when: float) -> Decided | PoolSkipped | RoundBegan | Said | None:
        message = entry["message"]
        if message.startswith(_ROUND):
            self._began, ignored = when, frozenset(self._ignored)
            self._ignored.clear()
            return RoundBegan(when, ignored)
        if message.startswith((_SKIPPED, AWAITING, NOT_READY)):
            reason = str(entry.get("minValuesIncompatibleErr", message))
            return PoolSkipped(entry["NodePool"]["name"], reason, self._began)
        if message not in (_UNPLACED, _IGNORED):
            return _said(entry)
        pod = f"{entry['Pod']['namespace']}/{entry['Pod']['name']}"
        if message == _IGNORED:  # before the round begins
            self._ignored.add(pod)
            return Decided(pod, str(entry["error"]), (), when)
        causes = tuple(str(error_cause["error"]) for error_cause in entry.get("errorCauses", [])) or (
            str(entry["error"]),
        )
        return Decided(pod, str(entry["error"]), causes, self._began)
