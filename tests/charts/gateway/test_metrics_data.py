"""data/metrics.yaml says what LiteLLM and the activator expose."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from drydock.checks.metric_names import sources
from tests.charts.gateway.conftest import Mount
from tests.charts.gateway.processes import ACTIVATOR, CHAT, Mounts, Running, call, entry, free_port

LIST = """
import asyncio, json
async def main():
    from litellm.integrations.prometheus import PrometheusLogger
    PrometheusLogger()
    from prometheus_client import REGISTRY
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    found = [f.name + s for f in REGISTRY.collect() if f.name.startswith("litellm") for s in suffixes[f.type]]
    print(json.dumps(sorted(found)))
asyncio.run(main())
"""


def _known(source: str) -> set[str]:
    (found,) = (each.names for each in sources() if each.name == source)
    return {name for name in found if not name.endswith("_created")}


def test_of_litellm(litellm: Path) -> None:
    command = [str(litellm / "python"), "-c", LIST]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert set(json.loads(done.stdout.splitlines()[-1])) == _known("litellm")


def test_of_the_activator(mount: Mount, activators: Callable[[Mounts], Running]) -> None:
    mounts = mount({"activator": {"holdSeconds": 1}})
    mounts.catalogue({"llama": entry(free_port(), "llama", scaleToZero=True)})
    activator = activators(mounts)
    assert call(activator.port, "POST", f"/models/llama{CHAT}", {"model": "llama"}, headers=ACTIVATOR).status == 503
    rows = call(activator.look_port, "GET", "/metrics").text.splitlines()
    names = {row.partition("{")[0] for row in rows if not row.startswith("#")}
    assert {name for name in names if not name.endswith("_created")} == _known("activator")
