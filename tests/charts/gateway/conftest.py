"""Real processes of the gateway; LiteLLM has an environment of its own, in the cache."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.render import render_chart
from drydock.tools.python_programs import ensure_python
from tests.charts.gateway.processes import Mounts, Running, free_port, has_printed, start, start_activator, start_model
from tests.charts.objects import by_name

Mount = Callable[..., Mounts]


@pytest.fixture(scope="session")
def litellm(drydock_project: Project) -> Path:
    """The folder of LiteLLM's programs, at the release of the chart's image."""
    return ensure_python(drydock_project, "litellm", PlainProgress()) / "bin"


@pytest.fixture(scope="module")
def redis(litellm: Path) -> Iterator[int]:
    """A server that speaks Redis's protocol; its port."""
    port = free_port()
    script = (
        "from fakeredis import TcpFakeServer\n"
        f"server = TcpFakeServer(('127.0.0.1', {port}), server_type='redis')\n"
        "print('up', flush=True)\nserver.serve_forever()\n"
    )
    running = start([str(litellm / "python"), "-c", script], port, port, {})
    has_printed(running, "up")
    yield port
    running.end()


@pytest.fixture(scope="module")
def mount(
    drydock_project: Project, drydock_tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Mount:
    """Makes what the pods of the chart mount, from the ConfigMaps that it renders of some values."""

    def make(values: Mapping[str, Any], keys: Mapping[str, str] | None = None) -> Mounts:
        mounts = Mounts(tmp_path_factory.mktemp("mounts"))
        file = mounts.folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        chart = assemble_charts(drydock_project).chart("model-gateway")
        maps = by_name(render_chart(drydock_tool("helm4"), chart, values_files=[file]), "ConfigMap")
        for name, content in maps["genai-model-gateway-code"]["data"].items():
            mounts.write(f"code/{name}", content)
        mounts.write("settings/settings.json", maps["genai-model-gateway"]["data"]["settings.json"])
        for name, key in (keys or {}).items():
            mounts.write(f"keys/{name}", key)
        return mounts

    return make


@pytest.fixture
def activators() -> Iterator[Callable[[Mounts], Running]]:
    """Starts activators; they end with the test."""
    started: list[Running] = []

    def begin(mounts: Mounts) -> Running:
        started.append(start_activator(mounts))
        return started[-1]

    yield begin
    for each in started:
        each.end()


@pytest.fixture
def models() -> Iterator[Callable[..., Running]]:
    """Starts models; they end with the test."""
    started: list[Running] = []

    def begin(port: int, name: str, **environment: str) -> Running:
        started.append(start_model(port, name, **environment))
        return started[-1]

    yield begin
    for each in started:
        each.end()
