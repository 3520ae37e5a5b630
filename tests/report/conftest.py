"""Reports to show: realistic samples, and what none of them has."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drydock.report.model import NodeReport, PodReport, RehearsalReport, WarningReport

SAMPLES = Path(__file__).parent


def read_sample(name: str) -> RehearsalReport:
    """A sample of this folder."""
    return RehearsalReport.from_dict(json.loads((SAMPLES / f"{name}.json").read_text()))


@pytest.fixture
def prod() -> RehearsalReport:
    """Several pools, GPUs and Neuron devices, everything ready."""
    return read_sample("sample")


@pytest.fixture
def dev() -> RehearsalReport:
    """One GPU."""
    return read_sample("sample-dev")


@pytest.fixture
def failing() -> RehearsalReport:
    """Pods that no pool can host, and one whose container fails."""
    return read_sample("sample-failing")


@pytest.fixture(params=["sample", "sample-dev", "sample-failing"])
def sample(request: pytest.FixtureRequest) -> RehearsalReport:
    """Each sample."""
    return read_sample(request.param)


@pytest.fixture
def empty(dev: RehearsalReport) -> RehearsalReport:
    """Nothing was created."""
    return replace(
        dev, ready=False, pods=(), nodes=(), steps=(), warnings=(), dollars_per_hour=0.0, install_began_seconds=None
    )


@pytest.fixture
def hostile(failing: RehearsalReport) -> Callable[[str], RehearsalReport]:
    """A failing report with the given text wherever text can come from a cluster."""

    def make(text: str) -> RehearsalReport:
        pod = PodReport(text, text, text, text, text, {text: 1}, 0.0, 1.0, None, "Failed", text, {text: text})
        node = NodeReport(text, text, text, text, text, text, {text: (1, 2)}, (1.0, 2.0), (1.0, 2.0), 1.0, (text,))
        return replace(
            failing, environment=text, pods=(pod,), nodes=(node,), warnings=(WarningReport(text, text, text, 1),)
        )

    return make
