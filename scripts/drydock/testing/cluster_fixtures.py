"""Fixtures that go before those of pytest-helm-charts with the same names: registered after every other plugin."""

from collections.abc import Iterator

import pytest

from drydock.project import Project
from drydock.testing.integration import Deployed, deployed


@pytest.fixture(scope="session")
def drydock_deployed(pytestconfig: pytest.Config, drydock_project: Project) -> Iterator[Deployed]:
    """The environment (`--drydock-environment`) on the target that the tests run on."""
    with deployed(pytestconfig, drydock_project) as found:
        yield found


@pytest.fixture(scope="module")
def kube_config(drydock_deployed: Deployed) -> str:
    """See pytest-helm-charts: path of the cluster's kubeconfig, on which its `kube_cluster` rests."""
    return str(drydock_deployed.kubeconfig)
