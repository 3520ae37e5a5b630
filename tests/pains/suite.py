"""The suite's charts as a platform, seen by the checks of `drydock validate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.registry import run_checks
from drydock.checks.subject import Subject
from drydock.scheduling.account import Account
from drydock.scheduling.pools import Pool
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment
from drydock.testing.pytest_plugin import RenderChart
from tests.checks.helpers import REGION, ZONES, catalogue

MODEL = {
    "source": {"huggingFace": {"id": "org/small"}, "size": "15Gi"},
    "accelerator": {"kind": "nvidia", "count": 1, "pool": "gpu"},
}


def platform(
    render_chart: RenderChart,
    *,
    classes: Mapping[str, Any] | None = None,
    pools: Mapping[str, Any] | None = None,
    auto_mode: bool = False,
    reservations: Sequence[CapacityReservation] = (),
    zones: Sequence[str] = ZONES,
    charts: Mapping[str, Any] | None = None,
) -> Subject:
    """The umbrella with one model on the pool gpu, and more values for its charts."""
    values = {
        "global": {"clusterName": "dev", "region": REGION, "autoMode": {"enabled": auto_mode}},
        "karpenter-nodepools": {"nodeClasses": dict(classes or {}), "nodePools": dict(pools or {})},
        "vllm": {"models": {"small": MODEL}},
        **(charts or {}),
    }
    manifests = render_chart("genai-platform", values)
    environment = Environment("test", Path("test.yaml"), "", (), capacity_reservations=tuple(reservations))
    return Subject(
        RenderedEnvironment(environment, manifests), Account(REGION, tuple(zones), tuple(reservations)), catalogue()
    )


def findings(subject: Subject, *checks: str) -> list[Finding]:
    """What these checks find."""
    return [each for each in run_checks(subject) if each.check in checks and not each.accepted]


def pool_named(subject: Subject, name: str) -> Pool:
    """One node pool."""
    return next(each for each in subject.pools if each.name == name)


def objects(subject: Subject, kind: str) -> dict[str, Manifest]:
    """Objects of a kind by name."""
    return {each.name: each for each in subject.manifests if each.kind == kind}


def families(pool: Pool) -> set[str]:
    """Families of the instance types that a pool may buy."""
    return {each.partition(".")[0] for each in pool.types}
