"""Shares of a GPU count as what they are: several pods fit a device of a pool."""

import json

import pytest

from tests.checks.helpers import findings
from tests.scheduling.builders import daemon_set, deployment, pod_spec, pool

GPU = "nvidia.com/gpu"
LABEL = "nvidia.com/device-plugin.config"
FAMILY = "karpenter.k8s.aws/instance-family"


def environment(replicas: int, *, renamed: bool = False) -> str:
    """A pool of one GPU that four pods share, and a model for it."""
    shared = {"timeSlicing": {"renameByDefault": renamed, "resources": [{"name": GPU, "replicas": 4}]}}
    configs = {
        "kind": "ConfigMap",
        "metadata": {"name": "configs"},
        "data": {"shared": json.dumps({"sharing": shared})},
    }
    manager = pod_spec({"cpu": "10m"})
    manager["volumes"] = [{"name": "all", "configMap": {"name": "configs"}}]
    manager["containers"][0] |= {
        "env": [{"name": "NODE_LABEL", "value": LABEL}, {"name": "CONFIG_FILE_SRCDIR", "value": "/configs"}],
        "volumeMounts": [{"name": "all", "mountPath": "/configs"}],
    }
    nodes = pool(requirements=[(FAMILY, "In", ["g6"])], labels={LABEL: "shared"}, limits={GPU: 1})
    return (
        nodes
        + json.dumps(configs)
        + "\n---\n"
        + daemon_set(manager)
        + deployment(pod_spec({GPU: 1}), replicas=replicas)
    )


@pytest.mark.parametrize(
    ("replicas", "renamed", "complaints"), [(4, False, 0), (5, False, 1), (4, True, 1), (1, True, 0)]
)
def test_pods_of_a_pool_are_counted_by_its_sharing(replicas: int, renamed: bool, complaints: int) -> None:
    assert len(findings(environment(replicas, renamed=renamed), "pool-capacity")) == complaints
