"""An environment on a control plane of this machine that stays: the cluster of `drydock rehearse --keep`."""

from dataclasses import dataclass
from pathlib import Path

from drydock.deploy.deployments import Deployment
from drydock.deploy.in_use import run_of
from drydock.deploy.target import Overlay, Reached
from drydock.errors import ClusterError, UsageError
from drydock.progress import Progress
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.runs import RunFolder, down, end_of, list_clusters, new_run_folder
from drydock.suite.environments import Environment


@dataclass
class RehearsalTarget:
    """See the module.

    Attributes:
        project: the suite.
        deployment: its folder remembers the rehearsal's.
    """

    project: Project
    deployment: Deployment
    name: str = "rehearsal"
    _started: RehearsalCluster | None = None

    def check(self, progress: Progress) -> None:
        """See Target: whatever is in the way, its start reports."""

    def known(self) -> Overlay:
        """See Target: the cluster adds nothing to the values."""
        return Overlay()

    def create(self, progress: Progress) -> Reached:
        """See Target; one that is up is taken again."""
        from drydock.rehearsal.rehearse import suite_cluster
        from drydock.tools.setup import set_up

        folder = self._folder
        if folder is None or not folder.kept.exists() or end_of(folder):
            tools = set_up(self.project, "rehearse", progress).tools
            folder = new_run_folder(self.project, self.deployment.name, kind="deployment")
            self._record.write_text(str(folder.path))
            self._started = suite_cluster(self.project, tools, folder, progress=progress)
            with progress.step("Start the control plane"):
                self._started.start()
                self._started.await_api()
        return Reached(folder.kubeconfig)

    def prepare(self, reached: Reached, environment: Environment, progress: Progress) -> None:
        """See Target: the stand-in for AWS holds what the environment expects, and so does the cluster.

        A cluster that is taken again keeps what it was made with: an environment that expects more of AWS than it did
        then, or more Secrets, needs a new one.

        Raises:
            UsageError: the environment is for EKS Auto Mode, whose nodes nothing outside AWS can stand in for.
        """
        from drydock.rehearsal.prerequisites import create_prerequisites
        from drydock.rehearsal.release import Release
        from drydock.suite.charts import assemble_charts
        from drydock.tools.build import ensure

        if self._started is None:
            return
        release = Release(
            self._started, ensure(self.project, ["helm4"], progress)["helm4"], assemble_charts(self.project)
        )
        release.seed(environment)
        if release.auto_mode:
            raise UsageError(
                f"environment {environment.name} is for EKS Auto Mode",
                remedy="`drydock rehearse` tries it with Karpenter in the cluster instead.",
            )
        create_prerequisites(self._started.await_api(), release.prerequisites)
        with progress.step("Start of Karpenter"):
            self._started.await_karpenter()
            self._started.keep()

    def give_up(self, progress: Progress) -> bool:
        """See Target: nothing of it is left."""
        self.destroy(progress)
        return True

    def destroy(self, progress: Progress) -> None:
        """See Target: its processes and data; reports and logs stay."""
        if self._started:
            self._started.stop()
        folder = self._folder
        if folder and folder.name in {cluster.name for cluster in list_clusters(self.project)}:
            with progress.step(f"Remove rehearsal cluster {folder.name}"):
                if not down(self.project, folder.name):
                    raise ClusterError(f"the rehearsal cluster {folder.name} is still there")

    @property
    def _record(self) -> Path:
        return self.deployment.folder(self.project) / "rehearsal"

    @property
    def _folder(self) -> RunFolder | None:
        return run_of(self.project, self.deployment)
