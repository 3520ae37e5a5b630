"""The report on a deployment: that of a rehearsal, filled from a cluster that exists."""

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drydock.clusters.kube import any_path, api_client, asking
from drydock.deploy.cluster_scene import read_scene
from drydock.deploy.deployments import Deployment
from drydock.deploy.target import Reached
from drydock.outcome.limits import LIMITS
from drydock.outcome.observe import PodTimes, Scene
from drydock.outcome.results import Circumstances, build_report
from drydock.outcome.verdict import Verdict
from drydock.progress import Progress
from drydock.project import Project
from drydock.report.model import RehearsalReport, StepReport
from drydock.scheduling.prices import load_prices
from drydock.suite.environments import Environment

_REGION = "topology.kubernetes.io/region"
_LIMITS = {
    "kind": ("No accelerator computes: KWOK keeps the nodes of Karpenter, and the pods on them only count as ready.",),
    "rehearsal": LIMITS,
}


def build_deployment_report(
    project: Project,
    deployment: Deployment,
    environment: Environment,
    reached: Reached,
    steps: Sequence[StepReport],
    began: tuple[float, float],
    progress: Progress,
) -> RehearsalReport:
    """Look at the cluster, where Helm has found everything ready.

    Args:
        project: pins Karpenter, whose list has the prices.
        deployment: names the target.
        environment: as it was installed.
        reached: the cluster.
        steps: of the command so far.
        began: Unix times of the command and of the install.
        progress: shows what is looked up.

    Raises:
        ClusterError: it does not answer.
    """
    from kubernetes import client

    from drydock.tools.pins import Toolchain

    api = api_client(reached.kubeconfig)
    with asking(), progress.step("Report"):
        version = client.VersionApi(api).get_code().git_version
        scene = _scene(reached.kubeconfig, _namespaces(environment))
    regions = (node["metadata"]["labels"].get(_REGION, "") for node in scene.of("Node"))
    prices = load_prices(project, progress, next(filter(None, regions), ""))
    tools = Toolchain.load(project).tools
    report = build_report(
        scene,
        Verdict(ready=True, obstacles=(), waiting=()),
        Circumstances(
            environment=environment.name,
            started=began[0],
            install_began=began[1],
            seconds=time.time() - began[0],
            versions={
                "kubernetes": version,
                "karpenter": tools["karpenter"].version,
                "helm": tools["helm4"].version,
            },
            steps=steps,
            prices=prices,
            whole=False,
            assumptions=prices.assumptions,
            limits=_LIMITS.get(deployment.target, ()),
        ),
    )
    return replace(report, target=deployment.target)


def _namespaces(environment: Environment) -> tuple[str, ...]:
    brought = environment.brought
    own = [environment.namespace] if environment.suite else []
    named = (*(item.namespace for item in brought.releases), *(item.namespace for item in brought.manifests))
    return tuple(dict.fromkeys([*own, *filter(None, named)]))


def _scene(kubeconfig: Path, namespaces: Sequence[str]) -> Scene:
    scene = read_scene(any_path(kubeconfig), namespaces)
    for identity, pod in scene.objects["Pod"].items():
        scene.times[identity] = _times(pod)
    return scene


def _times(pod: Mapping[str, Any]) -> PodTimes:
    """As its conditions have them, to the second."""
    reached = {
        condition["type"]: _unix(condition["lastTransitionTime"])
        for condition in pod["status"].get("conditions", ())
        if condition["status"] == "True" and condition.get("lastTransitionTime")
    }
    return PodTimes(_unix(pod["metadata"]["creationTimestamp"]), reached.get("PodScheduled"), reached.get("Ready"))


def _unix(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()
