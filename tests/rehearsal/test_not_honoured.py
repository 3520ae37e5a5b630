"""What a pod that runs here asks for without effect is said, by what makes it."""

import sys
from typing import Any

import pytest

from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.not_honoured import held, not_honoured
from drydock.rehearsal.kubelet.programs import Program
from tests.conftest import Drydock

PROGRAM = Program("tools/app", ("/bin/app",), (), (), (), {})


def spec(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "app", "image": "example.com/tools/app:1", **container}]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (spec(lifecycle={"stopSignal": "SIGUSR1"}), "stopSignal"),
        (spec(restartPolicyRules=[{"action": "Restart"}]), "restartPolicyRules"),
        ({**spec(), "activeDeadlineSeconds": 60}, "activeDeadlineSeconds"),
        (spec(securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}), "capability NET_RAW"),
        (spec(volumeMounts=[{"name": "x", "mountPath": "/x", "subPathExpr": "$(A)"}]), "subPathExpr of volume x"),
        ({**spec(), "initContainers": [{"name": "first", "image": "other:1"}]}, "init container first"),
        ({**spec(), "hostNetwork": True}, "hostNetwork"),
        ({**spec(), "volumes": [{"name": "v", "hostPath": {"path": "/dev"}}]}, "hostPath /dev"),
        ({**spec(), "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]}, "sizeLimit of volume v"),
        ({"containers": [*spec()["containers"], {"name": "side", "image": "other:1"}]}, "container side"),
    ],
)
def test_what_has_no_effect_is_said(content: dict[str, Any], told: str) -> None:
    assert list(not_honoured({"Deployment/a/b": content}, [PROGRAM])) == [
        f"Without effect in pods of Deployment/a/b: {told}."
    ]


def test_workloads_that_lack_the_same_share_a_sentence() -> None:
    content = spec(lifecycle={"stopSignal": "SIGUSR1"})
    (told,) = not_honoured({"Deployment/a/b": content, "Deployment/a/c": content}, [PROGRAM])
    assert told == "Without effect in pods of Deployment/a/b, Deployment/a/c: stopSignal."


def test_of_what_has_effect_and_of_pods_that_only_seem_to_run_nothing_is_said() -> None:
    content = {"containers": [{"name": "x", "image": "other:1", "livenessProbe": {}}], "hostNetwork": True}
    probed = {"livenessProbe": {"tcpSocket": {"port": 1}}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    first = {"name": "first", "image": "example.com/tools/app:1"}
    drained = {**spec(**probed), "initContainers": [first]}
    assert list(not_honoured({"Deployment/a/b": content, "Deployment/a/c": drained}, [PROGRAM])) == []
    assert list(held([])) == []


def test_the_report_says_how_processes_were_held() -> None:
    isolated, policies = held([PROGRAM])
    assert "seccomp profiles" in isolated
    assert isolation.unavailable() in isolated
    assert ("were not isolated" in isolated) == bool(isolation.unavailable())
    assert ("were not tried" in policies) == (sys.platform != "linux")


@pytest.mark.parametrize("command", [("journey", "chat"), ("open", "front")])
def test_a_cluster_that_nobody_kept_is_wrong_usage(drydock: Drydock, command: tuple[str, ...]) -> None:
    done = drydock(*command, "--run", "no-such-run")
    assert done.returncode == 2
    assert "no kept cluster is named 'no-such-run'" in done.stderr
