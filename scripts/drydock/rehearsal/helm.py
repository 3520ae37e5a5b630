"""Helm on a rehearsal cluster: the same calls that a user makes, with no setting of the user's own Helm."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import ClusterError, ToolError
from drydock.suite.environments import Environment
from drydock.suite.render import RELEASE, helm_reason
from drydock.suite.sources import HelmRelease
from drydock.tools import process

_TIMEOUT = 600
_CRDS_LATE = re.compile(
    r"resource CustomResourceDefinition/.*context deadline exceeded|INSTALLATION FAILED: context deadline exceeded",
    re.DOTALL,
)
"""Helm gives the API server a minute for the CRDs of a chart, and says this before it has made anything else."""
_ATTEMPTS = 3


@dataclass(frozen=True)
class Helm:
    """One build of Helm and one cluster.

    Attributes:
        program: path of Helm 3 or 4.
        kubeconfig: of the cluster.
        home: folder for Helm's own caches and settings.
    """

    program: Path
    kubeconfig: Path
    home: Path

    def install(self, chart: Path, environment: Environment, *, skip_crds: bool = False) -> None:
        """`helm install` of an environment; again if a slow machine took long over the CRDs.

        Args:
            chart: the umbrella.
            environment: to install.
            skip_crds: its CRDs are in the cluster as this Helm installs them.

        Raises:
            ClusterError: Helm or the API server refused, with the reason.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        crds_late = retry_if_exception(lambda error: bool(_CRDS_LATE.search(str(error))))
        for attempt in Retrying(retry=crds_late, stop=stop_after_attempt(_ATTEMPTS), reraise=True):
            with attempt:
                self._release(
                    "install", chart, environment, ["--create-namespace", *(["--skip-crds"] if skip_crds else [])]
                )

    def install_beside(self, release: HelmRelease) -> None:
        """`helm upgrade --install` of a release that is not the suite's; errors as for `install`."""
        arguments = [*release.helm_arguments(), "--namespace", release.namespace, "--create-namespace"]
        wait = ["--wait"] if release.wait else []
        self._run(
            ["upgrade", "--install", release.name, str(release.chart), *arguments, *wait],
            f"install of release {release.name} ({release.reference})",
        )

    def upgrade(self, chart: Path, environment: Environment) -> None:
        """`helm upgrade` to an environment's values; errors as for `install`."""
        self._release("upgrade", chart, environment, [])

    def rollback(self, namespace: str, revision: int = 0) -> None:
        """`helm rollback`, to the revision before the last one or a given one."""
        self._run(["rollback", RELEASE, *([str(revision)] if revision else []), "--namespace", namespace], "rollback")

    def uninstall(self, namespace: str, release: str = RELEASE) -> None:
        """`helm uninstall`."""
        self._run(["uninstall", release, "--namespace", namespace], f"uninstall of release {release}")

    def version(self) -> str:
        """Its version, as `v4.1.0`."""
        return process.run([self.program, "version", "--template={{.Version}}"]).stdout.strip()

    def _release(self, verb: str, chart: Path, environment: Environment, more: Sequence[str]) -> None:
        arguments = [*environment.helm_arguments(), "--namespace", environment.namespace, *more]
        self._run([verb, RELEASE, str(chart), *arguments], f"{verb} of environment {environment.name}")

    def _run(self, arguments: Sequence[str], what: str) -> None:
        command = [str(self.program), *arguments, "--kubeconfig", str(self.kubeconfig)]
        try:
            process.run(command, env=self._settings(), timeout=_TIMEOUT)
        except ToolError as error:
            reason = helm_reason(error.stderr or error.message)
            raise ClusterError(f"the {what} failed: {reason}") from error

    def _settings(self) -> Mapping[str, str]:
        return {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
