"""Pain 24: the wrong architecture, or a RuntimeClass that is not there."""

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, objects, platform, pool_named


def test_every_pool_names_its_architectures(render_chart: RenderChart) -> None:
    subject = platform(render_chart, pools={"mine": {"accelerator": "nvidia"}})
    for pool in objects(subject, "NodePool").values():
        requirements = pool.content["spec"]["template"]["spec"]["requirements"]
        assert [each["values"] for each in requirements if each["key"] == "kubernetes.io/arch"], pool.name
    assert not findings(subject, "pool-architecture")


def test_no_pool_goes_without(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"/nodePools/gpu/architectures.*minItems"):
        platform(render_chart, pools={"gpu": {"architectures": []}})
    with pytest.raises(RenderError, match=r"set nodePools\.gpu\.architectures"):
        platform(render_chart, pools={"gpu": {"requirements": {"kubernetes.io/arch": {"operator": "Exists"}}}})


@pytest.mark.parametrize("name", ["gpu", "neuron"])
def test_accelerated_nodes_are_x86(render_chart: RenderChart, name: str) -> None:
    types = pool_named(platform(render_chart), name).types
    assert types
    assert not {each for each in types if each.startswith(("g5g", "p6e"))}


def test_no_pod_asks_for_a_runtime_class(render_chart: RenderChart) -> None:
    subject = platform(render_chart)
    assert objects(subject, "DaemonSet")
    assert all("runtimeClassName" not in pod.spec for pod in subject.pods)
    assert not objects(subject, "RuntimeClass")
