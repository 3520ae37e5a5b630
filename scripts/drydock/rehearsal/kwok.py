"""KWOK keeps the bought nodes healthy and runs, as far as the API shows, the pods that are bound to them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_all
from drydock.rehearsal.credentials import Credentials

STAGES = Path(__file__).parent / "stages.yaml"
NODE_IP = "10.0.0.1"
_LEASE_SECONDS = 40


def kwok(tools: Mapping[str, Path], credentials: Credentials, stages: Path) -> list[str | Path]:
    """KWOK over every node of the cluster; no port is opened."""
    return [
        tools["kwok"],
        f"--config={stages}",
        f"--kubeconfig={credentials.kubeconfig('kwok')}",
        "--manage-all-nodes=true",
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        "--cidr=10.128.0.0/16",
        f"--node-ip={NODE_IP}",
        "--server-address=",
        "--v=WARN",
    ]


def write_stages(file: Path, others: Iterable[str]) -> None:
    """Write the stages beside this module, without pods that another one runs.

    Args:
        file: for KWOK.
        others: expressions of jq that give something for such a pod.
    """
    documents = list(load_yaml_all(STAGES.read_text()))
    theirs = [{"key": other, "operator": "DoesNotExist"} for other in others]
    for stage in documents:
        if stage["spec"]["resourceRef"]["kind"] == "Pod":
            conditions: list[Any] = stage["spec"]["selector"]["matchExpressions"]
            conditions += theirs
    file.write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents))
