"""A cluster of one's own: nothing is made or removed there but the release."""

from dataclasses import dataclass
from pathlib import Path

from drydock.clusters.kube import api_client, asking
from drydock.deploy.target import Overlay, Reached
from drydock.progress import Progress
from drydock.suite.environments import Environment


@dataclass(frozen=True)
class ExistingTarget:
    """The cluster that a kubeconfig leads to; the file stays where it is."""

    kubeconfig: Path
    name: str = "existing"

    def check(self, progress: Progress) -> None:
        """See Target: the API server answers."""
        from kubernetes import client

        with progress.step("Cluster"), asking():
            client.VersionApi(api_client(self.kubeconfig)).get_code()

    def known(self) -> Overlay:
        """See Target: the cluster adds nothing to the values."""
        return Overlay()

    def create(self, progress: Progress) -> Reached:
        """See Target: it is there."""
        return Reached(self.kubeconfig)

    def prepare(self, reached: Reached, environment: Environment, progress: Progress) -> None:
        """See Target: it is as its owners made it."""

    def give_up(self, progress: Progress) -> bool:
        """See Target: what was installed stays for another try."""
        return False

    def destroy(self, progress: Progress) -> None:
        """See Target: it stays."""
