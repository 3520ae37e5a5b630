"""Pain 13: the node's disk is full, or the right size was given to the wrong device."""

from typing import Any

import pytest

from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, objects, platform


def _sizes(render_chart: RenderChart, settings: Any) -> dict[str, str]:
    subject = platform(render_chart, classes={"gpu": settings})
    assert not findings(subject, "block-device-name", "ephemeral-storage")
    mappings = objects(subject, "EC2NodeClass")["gpu"].content["spec"]["blockDeviceMappings"]
    return {each["deviceName"]: each["ebs"]["volumeSize"] for each in mappings}


@pytest.mark.parametrize(
    ("family", "device", "others"),
    [("AL2023", "/dev/xvda", {}), ("Bottlerocket", "/dev/xvdb", {"/dev/xvda": "4Gi"})],
)
def test_the_size_goes_to_the_device_that_holds_the_images(
    render_chart: RenderChart, family: str, device: str, others: dict[str, str]
) -> None:
    assert _sizes(render_chart, {"amiFamily": family, "volume": {"size": "321Gi"}}) == {device: "321Gi", **others}


def test_auto_mode_takes_the_size_too(render_chart: RenderChart) -> None:
    subject = platform(render_chart, classes={"gpu": {"volume": {"size": "321Gi"}}}, auto_mode=True)
    assert objects(subject, "NodeClass")["gpu"].content["spec"]["ephemeralStorage"]["size"] == "321Gi"


def test_no_node_is_left_with_the_default_of_20_gib(render_chart: RenderChart) -> None:
    for node_class in objects(platform(render_chart), "EC2NodeClass").values():
        largest = max(
            int(each["ebs"]["volumeSize"].removesuffix("Gi"))
            for each in node_class.content["spec"]["blockDeviceMappings"]
        )
        assert largest >= 100, node_class.name


def test_local_disks_hold_images_and_pods_where_there_are_any(render_chart: RenderChart) -> None:
    specs = objects(platform(render_chart), "EC2NodeClass")
    assert {specs[name].content["spec"]["instanceStorePolicy"] for name in ("gpu", "neuron")} == {"RAID0"}
