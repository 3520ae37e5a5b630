"""Every failure that a user can cause or meet.

DrydockError
  x UsageError        the command line or an environment's file is wrong          (exit status 2)
  x ToolError         a program that Drydock started failed
  x ToolchainError    a pinned tool could not be found or built
  x RenderError       Helm refused the charts or the values
  x ClusterError      the rehearsal cluster could not start or stopped by itself
"""

EXIT_INTERRUPTED = 130
"""Exit status of a command that a signal ended."""


class DrydockError(Exception):
    """A failure, as one message and, where there is one, the remedy.

    Args:
        message: what was given or seen, naming the file, key or object.
        remedy: what to do next; shown on a line of its own.
    """

    exit_status = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def to_dict(self) -> dict[str, str | int]:
        """For machines: `type`, `message`, `remedy` and the command's `exitStatus`."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "remedy": self.remedy,
            "exitStatus": self.exit_status,
        }

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class UsageError(DrydockError):
    """The command line or an environment's file is wrong; nothing was started."""

    exit_status = 2


class ToolError(DrydockError):
    """A program that Drydock started failed.

    Attributes:
        command: the exact argument list.
        returncode: its exit status, negative for a signal.
        stderr: what it wrote there, complete.
    """

    def __init__(
        self, message: str, *, command: tuple[str, ...], returncode: int, stderr: str, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.command = command
        self.returncode = returncode
        self.stderr = stderr


class ToolchainError(DrydockError):
    """A pinned tool could not be found or built."""


class RenderError(DrydockError):
    """Helm refused the charts or the values."""


class ClusterError(DrydockError):
    """The rehearsal cluster could not start, or stopped by itself."""
