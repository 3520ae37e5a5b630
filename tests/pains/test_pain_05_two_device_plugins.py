"""Pain 5: two device plugins on one node, or one on nodes without devices."""

from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, objects, platform, pool_named

LABEL = "drydock.dev/nvidia-device-plugin"
RULES = ("device-plugin-missing", "device-plugin-twice", "device-plugin-on-other-nodes")


def test_bottlerocket_brings_its_own(render_chart: RenderChart) -> None:
    subject = platform(render_chart, classes={"gpu": {"amiFamily": "Bottlerocket"}})
    assert pool_named(subject, "gpu").labels[LABEL] == "bundled"
    assert not findings(subject, *RULES)


def test_pools_of_both_kinds_side_by_side(render_chart: RenderChart) -> None:
    own = {"bottled": {"amiFamily": "Bottlerocket"}}
    subject = platform(render_chart, classes=own, pools={"bottled": {"accelerator": "nvidia", "nodeClass": "bottled"}})
    assert pool_named(subject, "bottled").labels[LABEL] == "bundled"
    assert pool_named(subject, "gpu").labels[LABEL] == "chart"
    assert not findings(subject, *RULES)


def test_auto_mode_brings_its_own(render_chart: RenderChart) -> None:
    subject = platform(render_chart, auto_mode=True)
    assert not objects(subject, "DaemonSet")
    assert pool_named(subject, "gpu").labels[LABEL] == "bundled"
    assert not findings(subject, *RULES)


def test_nodes_without_gpus_have_no_plugin(render_chart: RenderChart) -> None:
    subject = platform(render_chart)
    for name in "system-cpu", "general-cpu", "neuron":
        assert LABEL not in pool_named(subject, name).labels
    assert not findings(subject, *RULES)
