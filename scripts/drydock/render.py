"""Values to manifests, with the real Helm."""

import re
import shlex
from collections.abc import Sequence
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


def template_command(helm: Path, chart: Path, arguments: Sequence[str], *, namespace: str) -> list[str]:
    """The `helm template` call for one chart."""
    return [str(helm), "template", RELEASE, str(chart), "--namespace", namespace, *arguments]


def install_command(environment: Environment, chart: str = f"charts/{UMBRELLA}") -> str:
    """The plain Helm command that installs the same objects, to paste into a shell."""
    arguments = ["helm", "upgrade", "--install", RELEASE, chart, "--namespace", environment.namespace]
    return shlex.join([*arguments, "--create-namespace", *environment.helm_arguments()])


def render(helm: Path, charts: AssembledCharts, environment: Environment) -> RenderedEnvironment:
    """Render the umbrella for an environment.

    Raises:
        RenderError: Helm refused, with its reason and the files of the stack.
    """
    command = template_command(helm, charts.umbrella, environment.helm_arguments(), namespace=environment.namespace)
    try:
        completed = process.run(command)
    except ToolError as error:
        stack = ", ".join(file.name for file in environment.values_files)
        raise RenderError(
            f"environment {environment.name} ({stack}) does not render: {helm_reason(error.stderr or error.message)}"
        ) from error
    return RenderedEnvironment(environment, parse_manifests(completed.stdout))


def render_chart(
    helm: Path, chart: Path, *, values_files: Sequence[Path] = (), namespace: str = "genai"
) -> tuple[Manifest, ...]:
    """Render one chart alone, for tests of a chart.

    Raises:
        RenderError: Helm refused.
    """
    arguments = [argument for file in values_files for argument in ("-f", str(file))]
    try:
        completed = process.run(template_command(helm, chart, arguments, namespace=namespace))
    except ToolError as error:
        raise RenderError(f"chart {chart.name} does not render: {helm_reason(error.stderr or error.message)}") from error
    return parse_manifests(completed.stdout)


def helm_reason(stderr: str) -> str:
    """What Helm said, without the call stack of a template that called `fail`."""
    failed = re.search(r"error calling fail: (.+)$", stderr.strip(), re.DOTALL)
    return failed.group(1) if failed else re.sub(r"^Error: ", "", stderr.strip())
