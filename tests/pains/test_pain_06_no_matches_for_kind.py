"""Pain 6: the first install fails with "no matches for kind"."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.testing.pytest_plugin import RenderChart
from drydock.tools import process
from drydock.tools.crd_files import ensure_crds
from tests.pains.suite import platform

BUILT_IN = ("apps", "autoscaling", "networking.k8s.io", "policy", "rbac.authorization.k8s.io")
OF_AUTO_MODE = {("eks.amazonaws.com", "NodeClass")}
"""Amazon EKS installs it with the cluster."""


@pytest.mark.parametrize("auto_mode", [False, True], ids=["Karpenter", "Auto Mode"])
def test_the_umbrella_brings_the_crd_of_every_object(
    render_chart: RenderChart, drydock_project: Project, drydock_tool: Callable[[str], Path], auto_mode: bool
) -> None:
    ensure_crds(drydock_project, PlainProgress())
    umbrella = assemble_charts(drydock_project).umbrella
    # What Helm puts from crds/ folders into the cluster before it renders and applies the first template.
    command = [str(drydock_tool("helm4")), "template", "genai", str(umbrella), "--set", "global.clusterName=dev"]
    first = process.run([*command, "--include-crds"]).stdout
    rest = process.run(command).stdout
    definitions = [each for each in yaml.load_all(first, yaml.CSafeLoader) if each and "Definition" in each["kind"]]
    brought = {(each["spec"]["group"], each["spec"]["names"]["kind"]) for each in definitions}
    assert "kind: CustomResourceDefinition" not in rest

    needed = set()
    for manifest in platform(render_chart, auto_mode=auto_mode).manifests:
        group = manifest.api_version.rpartition("/")[0]
        if group and group not in BUILT_IN:
            needed.add((group, manifest.kind))
    assert needed
    assert needed <= brought | (OF_AUTO_MODE if auto_mode else set())
