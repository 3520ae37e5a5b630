"""Pain 14: the volume of a notebook hub, or of a user's home, is in the wrong zone."""

from collections.abc import Mapping
from typing import Any

from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name
from tests.pains.suite import findings, platform

CHART = "jupyterhub"
HUB = "genai-jupyterhub-hub"


def test_a_hub_with_a_volume_stays_in_one_zone(render_chart: RenderChart) -> None:
    zones = {"global": {"zones": ["us-west-2b", "us-west-2c"]}}

    def zone(values: Mapping[str, Any]) -> Any:
        pod = by_name(render_chart(CHART, {**zones, **values}), "Deployment")[HUB]["spec"]["template"]["spec"]
        return pod.get("nodeSelector", {}).get("topology.kubernetes.io/zone")

    assert zone({}) == "us-west-2b"
    assert zone({"global": {}}) is None
    assert zone({"scheduling": {"corePods": {"zone": "us-west-2c"}}}) == "us-west-2c"
    assert zone({"hub": {"db": {"pvc": {"accessMode": "ReadWriteMany"}}}}) is None


def test_homes_of_one_zone_are_told(render_chart: RenderChart) -> None:
    def told(singleuser: Mapping[str, Any]) -> list[str]:
        charts = {CHART: {"enabled": True, "singleuser": singleuser}}
        found = findings(platform(render_chart, charts=charts), "zonal-volume")
        return [each.reason for each in found if "claim-{user_server}" in each.reason]

    assert len(told({})) == 1
    assert not told({"zone": "us-west-2a"})
    assert not told({"storage": {"dynamic": {"accessMode": "ReadWriteMany", "storageClass": "efs"}}})
