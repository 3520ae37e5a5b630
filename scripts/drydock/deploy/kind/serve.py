"""The stand-ins inside a kind cluster: `python -m drydock.deploy.kind.serve ORDER_FILE`.

AWS on a loopback port, seeded with the environment's account; Karpenter's KWOK build, which takes it for AWS; and KWOK,
which keeps the nodes that Karpenter makes. When one ends, all end, and the kubelet starts the pod again.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drydock.rehearsal.aws.actions import Market
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.aws.stand_in import AwsStandIn
from drydock.rehearsal.karpenter import SYSTEM_NAMESPACE
from drydock.rehearsal.kwok import NODE_IP, write_stages
from drydock.scheduling.prices import Prices
from drydock.suite.feature_gates import environment_variable

_NODES = "kwok.x-k8s.io/node=fake"
_HEALTH_PORT = "8081"


def main() -> int:
    """Serve until a signal, or until one of the programs has ended; exit status 1 then."""
    order = json.loads(Path(sys.argv[1]).read_text())
    with tempfile.TemporaryDirectory() as folder:
        prices = Prices(**order["prices"])
        aws = AwsStandIn(Market(Path(folder), lambda _: prices))
        account = aws.add(Account.from_json(order["account"]), order["kubernetes"])
        stages = Path(folder) / "stages.yaml"
        write_stages(stages, ())
        settings = {**os.environ, **aws.client_settings(account.region), **_settings(account, order["gates"])}
        children = [subprocess.Popen(["karpenter"], env=settings), subprocess.Popen(_kwok(stages))]
        signal.signal(signal.SIGTERM, lambda *_: _end(children))
        os.wait()
        _end(children)
        for child in children:
            child.wait()
    return 1


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()


def order_for(account: Account, prices: Prices, kubernetes: str, gates: Mapping[str, bool]) -> str:
    """What `main` reads; `kubernetes` is the minor version, as 1.36, and `gates` are Karpenter's."""
    content: dict[str, Any] = {
        "account": account.to_json(),
        "prices": asdict(prices),
        "kubernetes": kubernetes,
        "gates": dict(gates),
    }
    return json.dumps(content, sort_keys=True)


def _settings(account: Account, gates: Mapping[str, bool]) -> dict[str, str]:
    return {
        "CLUSTER_NAME": account.cluster_name,
        "CLUSTER_ENDPOINT": "https://kubernetes.default.svc",
        "SYSTEM_NAMESPACE": SYSTEM_NAMESPACE,
        "DISABLE_LEADER_ELECTION": "true",
        "HEALTH_PROBE_PORT": _HEALTH_PORT,
        "FEATURE_GATES": environment_variable(gates),
    }


def _kwok(stages: Path) -> list[str]:
    return [
        "kwok",
        f"--config={stages}",
        f"--manage-nodes-with-annotation-selector={_NODES}",
        "--node-lease-duration-seconds=40",
        "--cidr=10.128.0.0/16",
        f"--node-ip={NODE_IP}",
        "--server-address=",
        "--v=WARN",
    ]


if __name__ == "__main__":
    sys.exit(main())
