"""Pain 22: there is no capacity, and no way round it."""

import pytest

from drydock.errors import RenderError
from drydock.suite.environments import CapacityReservation
from drydock.testing.pytest_plugin import RenderChart
from tests.checks.helpers import REGION, catalogue
from tests.pains.suite import families, findings, objects, platform, pool_named

EVERY_NVIDIA_FAMILY = {
    *("g5", "g6", "g6e", "gr6", "g7e"),
    *("p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300"),
}
"""Without g7, whose GPU needs a newer driver than EKS's AMIs have (data/nvidia-drivers.yaml)."""
EVERY_ZONE = tuple(f"{REGION}{letter}" for letter in "abcd")
BLOCK = CapacityReservation("cr-0123456789abcdef0", "p5.48xlarge", "us-west-2a", 2, "capacity-block", {})


def test_the_gpu_pool_takes_every_generation_that_serves_models(render_chart: RenderChart) -> None:
    bought = families(pool_named(platform(render_chart, zones=EVERY_ZONE), "gpu"))
    assert bought == EVERY_NVIDIA_FAMILY & families_of_the_region()
    assert {"g5", "g6", "g6e", "g7e", "p4d", "p5", "p5en"} <= bought


def families_of_the_region() -> set[str]:
    return {each.partition(".")[0] for each in catalogue().types}


def test_the_neuron_pool_takes_every_generation_that_serves_models(render_chart: RenderChart) -> None:
    bought = families(pool_named(platform(render_chart, zones=EVERY_ZONE), "neuron"))
    assert bought == {"inf2", "trn1", "trn1n", "trn2"} & families_of_the_region()
    assert "inf2" in bought


def test_no_pool_names_a_type_of_instance(render_chart: RenderChart) -> None:
    for pool in objects(platform(render_chart), "NodePool").values():
        for requirement in pool.content["spec"]["template"]["spec"]["requirements"]:
            assert requirement["key"] != "node.kubernetes.io/instance-type"


def test_the_default_pools_can_buy(render_chart: RenderChart) -> None:
    assert not findings(platform(render_chart), "pool-without-types", "pool-limits", "pool-without-fallback")


def test_cheap_pods_fall_back_from_spot(render_chart: RenderChart) -> None:
    pool = objects(platform(render_chart), "NodePool")["general-cpu"].content["spec"]["template"]["spec"]
    (types,) = [each["values"] for each in pool["requirements"] if each["key"] == "karpenter.sh/capacity-type"]
    assert types == ["spot", "on-demand"]


def test_reserved_needs_a_reservation_and_a_reservation_a_pool(render_chart: RenderChart) -> None:
    terms = {"gpu": {"capacityReservationSelectorTerms": {"block": {"id": BLOCK.id}}}}
    with pytest.raises(RenderError, match=r"nodePools\.gpu\.capacityTypes: reserved needs reservations"):
        platform(render_chart, pools={"gpu": {"capacityTypes": ["reserved"]}})
    with pytest.raises(RenderError, match=r"nodeClasses\.gpu\.capacityReservationSelectorTerms: no enabled pool"):
        platform(render_chart, classes=terms)


def test_every_capacity_block_of_the_class_is_taken(render_chart: RenderChart) -> None:
    second = CapacityReservation("cr-0123456789abcdef1", "p5en.48xlarge", "us-west-2c", 1, "capacity-block", {})
    terms = {"gpu": {"capacityReservationSelectorTerms": {"one": {"id": BLOCK.id}, "two": {"id": second.id}}}}
    reserved = {"gpu": {"capacityTypes": ["reserved"]}}
    subject = platform(render_chart, classes=terms, pools=reserved, reservations=[BLOCK, second], zones=EVERY_ZONE)
    assert set(pool_named(subject, "gpu").types) == {"p5.48xlarge", "p5en.48xlarge"}
