"""KWOK keeps the bought nodes healthy and runs, as far as the API shows, the pods that are bound to them."""

from collections.abc import Mapping
from pathlib import Path

from drydock.rehearsal.credentials import Credentials

STAGES = Path(__file__).parent / "stages.yaml"
_LEASE_SECONDS = 40


def kwok(tools: Mapping[str, Path], credentials: Credentials) -> list[str | Path]:
    """KWOK over every node of the cluster, with the stages beside this file; no port is opened."""
    return [
        tools["kwok"],
        f"--config={STAGES}",
        f"--kubeconfig={credentials.kubeconfig('kwok')}",
        "--manage-all-nodes=true",
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        "--cidr=10.128.0.0/16",
        "--node-ip=10.0.0.1",
        "--server-address=",
        "--v=WARN",
    ]
