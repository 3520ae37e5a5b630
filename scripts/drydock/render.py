"""Values to manifests, with the real Helm."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from drydock import process
from drydock.charts import AssembledCharts
from drydock.environments import Environment
from drydock.errors import RenderError, ToolError
from drydock.manifests import Manifest, parse_manifests
from drydock.project import UMBRELLA

RELEASE = "genai"


@dataclass(frozen=True)
class RenderedEnvironment:
    """An environment and the objects that its values give.

    Attributes:
        environment: what was rendered.
        manifests: every object, in a stable order; CRDs are not among them.
    """

    environment: Environment
    manifests: tuple[Manifest, ...]

    def of_kind(self, *kinds: str) -> tuple[Manifest, ...]:
        """The objects of these kinds."""
        return tuple(each for each in self.manifests if each.kind in kinds)


def template_command(helm: Path, charts: AssembledCharts, environment: Environment) -> list[str]:
    """The `helm template` call that renders the umbrella for an environment."""
    return [
        str(helm),
        "template",
        RELEASE,
        str(charts.umbrella),
        "--namespace",
        environment.namespace,
        *environment.helm_arguments(),
    ]


def install_command(environment: Environment, chart: str = f"charts/{UMBRELLA}") -> str:
    """The plain Helm command that installs the same objects, to paste into a shell."""
    arguments = ["helm", "upgrade", "--install", RELEASE, chart, "--namespace", environment.namespace]
    return shlex.join([*arguments, "--create-namespace", *environment.helm_arguments()])


def render(helm: Path, charts: AssembledCharts, environment: Environment) -> RenderedEnvironment:
    """Render the umbrella for an environment.

    Raises:
        RenderError: Helm refused, with its reason and the files of the stack.
    """
    try:
        completed = process.run(template_command(helm, charts, environment))
    except ToolError as error:
        raise render_error(environment, error.stderr or error.message) from error
    return RenderedEnvironment(environment, parse_manifests(completed.stdout))


def render_error(environment: Environment, stderr: str) -> RenderError:
    """What Helm said, without its call stack."""
    said = stderr.strip()
    failed = re.search(r"error calling fail: (.+)$", said, re.DOTALL)
    reason = failed.group(1) if failed else re.sub(r"^Error: ", "", said)
    stack = ", ".join(file.name for file in environment.values_files)
    return RenderError(f"environment {environment.name} ({stack}) does not render: {reason}")
