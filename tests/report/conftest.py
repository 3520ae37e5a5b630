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
def several_pools() -> RehearsalReport:
    """GPUs and Neuron devices, reserved, spot and on-demand, everything ready."""
    return read_sample("several-pools")


@pytest.fixture
def one_gpu() -> RehearsalReport:
    """The smallest platform."""
    return read_sample("one-gpu")


@pytest.fixture
def not_ready() -> RehearsalReport:
    """Pods that no pool can host, and one whose container fails."""
    return read_sample("not-ready")


@pytest.fixture(params=["sample", "several-pools", "one-gpu", "not-ready"])
def report(request: pytest.FixtureRequest) -> RehearsalReport:
    """Each of them, and sample.json, whose picture is in the README."""
    return read_sample(request.param)


@pytest.fixture
def empty(one_gpu: RehearsalReport) -> RehearsalReport:
    """Nothing was created."""
    return replace(
        one_gpu, ready=False, pods=(), nodes=(), steps=(), warnings=(), dollars_per_hour=0.0, install_began_seconds=None
    )


@pytest.fixture
def hostile(not_ready: RehearsalReport) -> Callable[[str], RehearsalReport]:
    """A failing report with the given text wherever text can come from a cluster."""

    def make(text: str) -> RehearsalReport:
        pod = PodReport(text, text, text, text, text, {text: 1}, 0.0, 1.0, None, "Failed", text, {text: text})
        node = NodeReport(text, text, text, text, text, text, {text: (1, 2)}, (1.0, 2.0), (1.0, 2.0), 1.0, (text,))
        return replace(
            not_ready, environment=text, pods=(pod,), nodes=(node,), warnings=(WarningReport(text, text, text, 1),)
        )

    return make
