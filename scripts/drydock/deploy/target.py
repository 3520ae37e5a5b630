"""What every target can do; what differs between targets is in its module or in the environment's file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drydock.progress import Progress
from drydock.suite.environments import Environment


@dataclass(frozen=True)
class Overlay:
    """Values on top of an environment's stack.

    Attributes:
        files: Helm values files.
        values: values on top of those that only the target knows, as a tree.
    """

    files: tuple[Path, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reached:
    """A cluster that can be installed on.

    Attributes:
        kubeconfig: access to it; a file that only this user can read.
        overlay: what is installed on top of the environment's stack.
        note: one line for people, such as what it costs.
        outputs: what made the cluster reports of it, by name.
    """

    kubeconfig: Path
    overlay: Overlay = field(default_factory=Overlay)
    note: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)


class Target(Protocol):
    """Where an environment is deployed: `rehearsal`, `kind`, `eks`, or a cluster that is there.

    Every method may be called again after a failure: it goes on where the last call stopped.
    """

    @property
    def name(self) -> str:
        """As `--target` takes it."""

    def check(self, progress: Progress) -> None:
        """Find out in seconds what would make `create` fail; changes nothing.

        Raises:
            DrydockError: something is missing, with the remedy.
        """

    def known(self) -> Overlay:
        """The part of the overlay that is certain before the cluster exists; the environment is validated with it."""

    def create(self, progress: Progress) -> Reached:
        """Make the cluster, or go on making it, until it answers.

        Raises:
            DrydockError: it cannot be made; what was made so far is left for `destroy` or another try.
        """

    def prepare(self, reached: Reached, environment: Environment, progress: Progress) -> None:
        """Install what the suite expects to find: controllers of nodes, images.

        Args:
            reached: what `create` gave.
            environment: as it will be installed.
            progress: shows it.

        Raises:
            DrydockError: something was refused.
        """

    def give_up(self, progress: Progress) -> bool:
        """Called when a first deployment failed or was interrupted, once `create` had begun.

        Returns:
            Whether everything is removed, so that nothing has to be remembered. What costs time and money to make again
            stays for another try.
        """

    def destroy(self, progress: Progress) -> None:
        """Remove the cluster and everything that it caused; a cluster that is gone is no error.

        Raises:
            DrydockError: something is left, with what and where.
        """
