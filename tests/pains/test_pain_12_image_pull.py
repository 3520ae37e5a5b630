"""Pain 12: pulling the image takes most of the cold start."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from drydock.engines.cold_start import cold_start
from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import objects, platform

FAST_EBS = 600
"""MiB/s below which AWS documents parallel pulls to be slower than ordinary ones."""


@pytest.mark.parametrize("name", ["gpu", "neuron"])
def test_accelerated_nodes_pull_side_by_side_onto_fast_disks(render_chart: RenderChart, name: str) -> None:
    subject = platform(render_chart)
    spec = objects(subject, "EC2NodeClass")[name].content["spec"]
    assert "FastImagePull: true" in spec["userData"]
    assert spec["instanceStorePolicy"] == "RAID0"
    (pool,) = [each for each in subject.pools if each.name == name]
    without_disks = [each for each in pool.types if not subject.catalogue.types[each].storage_gb]
    throughput = max(each["ebs"]["throughput"] for each in spec["blockDeviceMappings"])
    assert not without_disks or throughput >= FAST_EBS, without_disks


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sociParallelPull": {"enabled": True}}, "pulls get slower with it on a disk of 125 MiB/s"),
        (
            {"amiFamily": "Bottlerocket", "volume": {"snapshotID": "snap-1"}},
            "reads each block from S3 at first, which makes a preloaded image slower",
        ),
        ({"volume": {"snapshotID": "snap-1", "volumeInitializationRate": 300}}, "would replace the system"),
    ],
)
def test_ways_that_would_be_slower_are_refused(
    render_chart: RenderChart, settings: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(RenderError, match=rf"nodeClasses\.cpu.*{re.escape(reason)}"):
        platform(render_chart, classes={"cpu": settings})


def test_a_preloaded_volume_is_filled_at_a_known_rate(render_chart: RenderChart) -> None:
    volume = {"snapshotID": "snap-1", "volumeInitializationRate": 300}
    pulls = {"instanceStorePolicy": "", "sociParallelPull": {"enabled": False}}
    subject = platform(render_chart, classes={"gpu": {"amiFamily": "Bottlerocket", "volume": volume, **pulls}})
    mappings = objects(subject, "EC2NodeClass")["gpu"].content["spec"]["blockDeviceMappings"]
    (data,) = [each["ebs"] for each in mappings if "snapshotID" in each["ebs"]]
    assert data["volumeInitializationRate"] == 300


def test_the_cold_start_is_budgeted_from_the_image_and_the_startup_probe() -> None:
    probe = {"periodSeconds": 10, "failureThreshold": 90}
    known = cold_start({"image": "mirror.example.com/vllm/vllm-openai:v0.11.0", "startupProbe": probe})
    assert known.pull is not None
    assert known.pull >= 120, "22 GiB at 125 MiB/s take three minutes"
    assert known.startup == 900
    assert known.seconds == known.node + known.pull + 900
    unknown = cold_start({"image": "example.com/engine:1"})
    assert (unknown.pull, unknown.startup, unknown.seconds) == (None, None, unknown.node)
