"""Helm 4 on a user's cluster."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from drydock.deploy.release_watch import ReleaseWatch
from drydock.errors import ClusterError
from drydock.progress import Progress
from drydock.suite.render import helm_reason
from drydock.tools import process

REASONS = 5
ROLLED_BACK = "It was rolled back; correct the cause and repeat the command."


class NeverReadyError(ClusterError):
    """A release can never become ready.

    Args:
        reasons: each with its remedy.
        aftermath: what became of it.
    """

    def __init__(self, reasons: Sequence[tuple[str, str]], aftermath: str = ROLLED_BACK) -> None:
        reported = [reason.replace("\n", "\n    ") for reason, _ in reasons[:REASONS]]
        more = len(reasons) - len(reported)
        rest = [f"and {more} more"] if more > 0 else []
        remedies = dict.fromkeys(remedy for _, remedy in reasons)
        super().__init__(
            "\n  ".join(("the release can never become ready:", *reported, *rest)),
            remedy=" ".join((*remedies, aftermath)),
        )


@dataclass(frozen=True)
class Helm:
    """Helm 4 on a user's cluster.

    Attributes:
        program: path of Helm.
        kubeconfig: of the cluster.
        folder: for files of this deployment.
    """

    program: Path
    kubeconfig: Path
    folder: Path

    def run(
        self, arguments: Sequence[str], progress: Progress, what: str, *, watch: ReleaseWatch | None = None
    ) -> None:
        """One call of Helm. At Ctrl-C it is waited for, since Helm takes back what it had begun.

        Args:
            arguments: of Helm.
            progress: shows Helm's output.
            what: name of the step.
            watch: ends the call early.

        Raises:
            NeverReadyError: `watch` ended it.
            ClusterError: Helm or the API server refused, with Helm's reason.
            KeyboardInterrupt: it was interrupted, and has ended.
        """
        command = [str(self.program), *arguments, "--kubeconfig", str(self.kubeconfig)]
        with progress.step(what) as step, watch.reporting(step.detail) if watch else nullcontext():
            stop = watch.stop if watch else None
            done = process.run_streamed(command, step.detail, forward_interrupt=True, stop=stop)
            if done.interrupted:
                raise KeyboardInterrupt
            if done.returncode != 0 and watch and watch.reasons:
                raise NeverReadyError(watch.reasons)
            if done.returncode != 0:
                raise ClusterError(f"{what} failed: {helm_reason(done.stdout)}")
