"""Zones, regions and reservations that do not fit each other are told with the file and line that names them."""

from pathlib import Path
from typing import Any

import pytest

from drydock.checks.findings import Finding, Severity
from drydock.checks.places import aws_regions, region_finding
from drydock.errors import DrydockError
from drydock.suite.environments import CapacityReservation, Environment
from tests.checks.helpers import findings
from tests.scheduling.builders import deployment, pod_spec, pool

RESERVED = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 2, "default", {"team": "search"})
CAPACITY = "karpenter.sh/capacity-type"


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Any]:
    """An environment whose file and values file name zones of another region and a zone that nobody has."""
    file, values = tmp_path / "test.yaml", tmp_path / "own.yaml"
    file.write_text("description: test\naccount:\n  capacityReservations:\n    - zone: us-east-1b\n")
    values.write_text("global:\n  region: us-west-2\n  zones:\n    - us-west-2a\n    - us-west-9z\n")
    reserved = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-east-1b", 2, "default", {})
    return {"file": file, "values_files": (values,), "capacity_reservations": (reserved,)}


def test_a_zone_is_told_with_its_line_and_the_nearest(written: dict[str, Any]) -> None:
    unknown, other = findings(pool(), "zone", environment=written)
    assert other.reason == "Zone us-east-1b is in region us-east-1, and the environment is in us-west-2."
    assert other.remedy.startswith("Name us-west-2b")
    assert (other.file, other.line) == (str(written["file"]), 4)
    assert unknown.reason == "Region us-west-2 has no zone us-west-9z."
    assert (unknown.file, unknown.line) == (str(written["values_files"][0]), 5)


def test_a_pool_in_a_wrong_zone_is_one_finding() -> None:
    text = pool("gpu", [("topology.kubernetes.io/zone", "In", ["us-east-1a"])]) + deployment(pod_spec())
    (found,) = (finding for finding in findings(text, zones=["us-east-1a"]) if finding.severity is Severity.ERROR)
    assert found.check == "zone"
    assert len(found.consequences) == 2


def test_a_local_zone_is_not_judged() -> None:
    text = pool("gpu", [("topology.kubernetes.io/zone", "In", ["us-west-2a", "us-west-2-lax-1a"])])
    (found,) = findings(text, "zone")
    assert found.severity is Severity.WARNING


def region(name: str) -> Finding:
    environment = Environment("test", Path("test.yaml"), "", ())
    return region_finding(environment, name, DrydockError("unknown", remedy="Known: us-west-2."))


@pytest.mark.parametrize("name", ["mx-central-1", "us-gov-west-1"])
def test_a_region_that_only_the_catalogue_lacks_is_a_warning(name: str) -> None:
    assert name in aws_regions()
    assert region(name).severity is Severity.WARNING


def test_a_region_that_aws_lacks_is_guessed() -> None:
    found = region("us-west-9")
    assert found.severity is Severity.ERROR
    assert found.remedy == "Did you mean us-west-2? Known: us-west-2."


CLASS = (
    "{{apiVersion: karpenter.k8s.aws/v1, kind: EC2NodeClass, metadata: {{name: own}}, spec: {{amiSelectorTerms: "
    "[{{alias: al2023@latest}}], capacityReservationSelectorTerms: [{{tags: {{team: {team}}}}}]}}}}\n---\n"
)


@pytest.mark.parametrize(
    ("team", "kinds", "types", "reason"),
    [
        ("other", ["reserved"], "g6.xlarge", "no node class selects it"),
        ("search", ["on-demand"], "g6.xlarge", "does not buy reserved capacity"),
        ("search", ["reserved", "on-demand"], "g5.xlarge", "may not have g6.xlarge"),
        ("search", ["reserved", "on-demand"], "g6.xlarge", ""),
    ],
)
def test_a_reservation_that_nothing_uses(team: str, kinds: list[str], types: str, reason: str) -> None:
    requirements = [(CAPACITY, "In", kinds), ("node.kubernetes.io/instance-type", "In", [types])]
    text = CLASS.format(team=team) + pool("own", requirements, node_class="own")
    found = findings(text, "reservation-unused", reservations=[RESERVED])
    assert [reason in each.reason for each in found] == [True] * bool(reason)
