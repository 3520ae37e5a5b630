"""Pain 7: CRDs stay at their first version, because Helm never upgrades them.

The upgrade itself is tested on an API server, from an older Karpenter to the pinned one: tests/clusters/test_crds.py.
"""

from collections.abc import Callable
from pathlib import Path

from drydock.clusters.crds import read_crds
from drydock.documents import load_yaml_all
from drydock.project import Project
from drydock.suite.charts import AssembledCharts
from drydock.testing.pytest_plugin import RenderChart
from drydock.tools.process import run


def test_the_upgrade_covers_every_crd_that_helm_installs_and_leaves_behind(
    drydock_project: Project, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]
) -> None:
    umbrella = drydock_charts.chart("genai-platform")
    shown = run([str(drydock_tool("helm4")), "show", "crds", str(umbrella)]).stdout
    left_behind = [each["metadata"]["name"] for each in load_yaml_all(shown) if each]
    assert "nodepools.karpenter.sh" in left_behind
    assert sorted(each["metadata"]["name"] for each in read_crds(drydock_project)) == sorted(left_behind)


def test_no_crd_is_a_template_which_a_release_would_own_and_delete(render_chart: RenderChart) -> None:
    values = {"global": {"clusterName": "dev", "region": "us-west-2"}}
    kinds = {each.kind for each in render_chart("genai-platform", values)}
    assert "NodePool" in kinds
    assert "CustomResourceDefinition" not in kinds
