"""Installs an environment on a cluster that exists, and takes it away: the same on every target."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from drydock.clusters.api import Api
from drydock.clusters.crds import owners_of, read_crds, upgrade_crds
from drydock.clusters.field_ownership import find_conflicts
from drydock.clusters.kube import FIELD_MANAGER, KubeconfigAccess, api_client, asking
from drydock.deploy.balancer_addresses import await_addresses
from drydock.deploy.brought_installation import (
    Settings,
    holds_suite,
    install_brought,
    remember,
    uninstall_brought,
)
from drydock.deploy.helm_on_cluster import REASONS, ROLLED_BACK, Helm, NeverReadyError
from drydock.deploy.release_watch import ReleaseWatch
from drydock.deploy.target import Overlay, Reached
from drydock.errors import ClusterError
from drydock.progress import Progress
from drydock.project import Project
from drydock.rehearsal.absent_servers import bypassing, find_callers, sentences
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RELEASE, RESTRICTED, render

DEFAULT_TIMEOUT = 1800
_NOT_FOUND = 404
_KARPENTER = ("karpenter.sh", "v1")
_WATCH_SECONDS = 240
"""Of one watch: the load balancer of an EKS cluster drops a connection that is idle for 350 s, and says nothing."""


def with_overlay(environment: Environment, overlay: Overlay, folder: Path) -> Environment:
    """The environment with the target's values on top, kept in the folder; they are values of the suite alone."""
    if not environment.suite:
        return environment
    if not overlay.values:
        return environment.stacked(overlay.files, ())
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(dict(overlay.values)))
    return environment.stacked((*overlay.files, values), ())


def install(
    project: Project,
    charts: AssembledCharts,
    helm: Helm,
    environment: Environment,
    reached: Reached,
    progress: Progress,
    *,
    timeout: int = DEFAULT_TIMEOUT,
    balancers: bool = True,
    force_conflicts: bool = False,
    servers: bool = True,
) -> None:
    """Bring CRDs to the pinned versions, then install or upgrade the release and wait until all of it is ready.

    A release that does not become ready in time, or that never can, is rolled back (a first install is removed) by Helm
    itself. Helm does not wait for load balancers: with `balancers` the Services and Ingresses that ask for one are
    waited for afterwards. A field that another has changed in the cluster is refused, or taken over with
    `force_conflicts`. Without `servers` the webhooks and aggregated APIs of others are bypassed.

    Raises:
        RenderError: Helm refused the values; nothing was changed.
        ClusterError: Secrets are missing, or others have changed fields that the release sets, of which nothing is then
            changed; or something was refused or did not become ready, with what the cluster
            said about it.
    """
    manifests = render(helm.program, charts, environment).manifests
    _check_secrets(reached.kubeconfig, environment)
    if not force_conflicts:
        _check_conflicts(reached.kubeconfig, environment, manifests)
    remember(helm.folder, environment)
    if environment.suite:
        own = [each for each in manifests if not each.source]
        _install_suite(project, charts, helm, environment, own, progress, timeout, force_conflicts=force_conflicts)
    callers = () if servers else find_callers(manifests)
    with bypassing(Api(KubeconfigAccess(reached.kubeconfig)), callers):
        install_brought(helm, environment, manifests, Settings(timeout, force_conflicts), progress)
    for sentence in sentences(callers):
        progress.note(f"{sentence}.")
    if balancers:
        await_addresses(reached.kubeconfig, manifests, environment.namespace, progress)


def _install_suite(
    project: Project,
    charts: AssembledCharts,
    helm: Helm,
    environment: Environment,
    manifests: Sequence[Manifest],
    progress: Progress,
    timeout: int,
    *,
    force_conflicts: bool,
) -> None:
    _restrict(helm.kubeconfig, environment.namespace)
    if owners := owners_of(project, manifests):
        upgrade_crds(helm.kubeconfig, read_crds(project, owners), progress, careful=True)
    more = ["--namespace", environment.namespace, "--create-namespace", "--rollback-on-failure"]
    limits = [f"--timeout={timeout}s", "--wait=watcher", *(["--force-conflicts"] if force_conflicts else [])]
    command = ["upgrade", "--install", RELEASE, str(charts.umbrella), *environment.helm_arguments(), *more, *limits]
    began = time.time()
    try:
        watch = ReleaseWatch(helm.kubeconfig, manifests, environment.namespace)
        what = "node pools that stand in for yours" if environment.stand_in_nodes else environment.name
        helm.run(command, progress, f"Install {what}", watch=watch)
    except NeverReadyError:
        raise
    except ClusterError as error:
        warnings = _warnings(helm.kubeconfig, environment.namespace, began)
        raise ClusterError("\n  ".join((error.message, *warnings)), remedy=ROLLED_BACK) from error


def uninstall(helm: Helm, namespace: str, progress: Progress, *, timeout: int = DEFAULT_TIMEOUT) -> None:
    """Take the releases away and wait until Karpenter has ended the nodes of the suite's pools.

    A release that is gone is fine, and so is a cluster on which there was none of the suite.

    Raises:
        ClusterError: something was refused, or nodes are left.
    """
    uninstall_brought(helm, progress, timeout)
    if not holds_suite(helm.folder):
        return
    pools = _pools(helm.kubeconfig)
    limits = ["--ignore-not-found", "--wait", f"--timeout={timeout}s"]
    helm.run(["uninstall", RELEASE, "--namespace", namespace, *limits], progress, "Uninstall")
    with progress.step("Nodes of Karpenter go"):
        _await_no_nodes(helm.kubeconfig, pools, timeout)


def _check_secrets(kubeconfig: Path, environment: Environment) -> None:
    from kubernetes import client

    with asking():
        found = client.CoreV1Api(api_client(kubeconfig)).list_namespaced_secret(environment.namespace).items
    keys: Mapping[str, set[str]] = {each.metadata.name: set(each.data or {}) for each in found}
    missing = [
        f"{name} ({', '.join(wanted)})"
        for name, wanted in environment.secrets.items()
        if not set(wanted) <= keys.get(name, set())
    ]
    if missing:
        raise ClusterError(
            f"Secrets or keys are missing in namespace {environment.namespace}: {'; '.join(missing)}",
            remedy="Make them first (kubectl create namespace, kubectl create secret generic), "
            f"with KUBECONFIG={kubeconfig}.",
        )


def _check_conflicts(kubeconfig: Path, environment: Environment, manifests: Sequence[Manifest]) -> None:
    """Ask beforehand: a conflict in the middle of an upgrade is one of its rollback as well."""
    from kubernetes import client

    releases = [(environment.namespace, RELEASE, "")] if environment.suite else []
    releases += [(each.namespace, each.name, each.name) for each in environment.brought.releases]
    upgraded = set()
    with asking():
        core = client.CoreV1Api(api_client(kubeconfig))
        for namespace, name, source in releases:
            if core.list_namespaced_secret(namespace, label_selector=f"owner=helm,name={name}", limit=1).items:
                upgraded.add(source)
    of_helm = [each for each in manifests if each.source in upgraded]
    found = (
        *find_conflicts(kubeconfig, of_helm, environment.namespace),
        *find_conflicts(kubeconfig, environment.brought.manifests, environment.namespace, FIELD_MANAGER),
    )
    if found:
        conflicts = "".join(f"\n  {each.object}: {each.path}, written by {each.writers[0]}" for each in found)
        raise ClusterError(
            f"fields that the release sets were changed in the cluster:{conflicts}",
            remedy="Set them in the values as they are in the cluster, or pass --force-conflicts to take them over. "
            f"`drydock diff {environment.name} --live` shows the difference.",
        )


def _restrict(kubeconfig: Path, namespace: str) -> None:
    """Make the namespace, and have it enforce the pod security standard that every pod of the suite there keeps to.

    A namespace that says something else about it stays as it is.
    """
    from kubernetes import client

    (label,) = (f"{key}={value}" for key, value in RESTRICTED.items())
    with asking(f"Have an administrator run `kubectl label namespace {namespace} {label}`."):
        core = client.CoreV1Api(api_client(kubeconfig))
        found = next((each for each in core.list_namespace().items if each.metadata.name == namespace), None)
        if found is None:
            core.create_namespace({"metadata": {"name": namespace, "labels": RESTRICTED}})
        elif not RESTRICTED.keys() & (found.metadata.labels or {}).keys():
            core.patch_namespace(namespace, {"metadata": {"labels": RESTRICTED}})


def _warnings(kubeconfig: Path, namespace: str, since: float) -> tuple[str, ...]:
    """The last warnings about different objects since then, which outlive a rollback."""
    from kubernetes import client

    with asking():
        api = client.CoreV1Api(api_client(kubeconfig))
        # Those of node claims, such as a quota that is used up, lie in the namespace `default`.
        events = [each for where in {namespace, "default"} for each in api.list_namespaced_event(where).items]
    start = datetime.fromtimestamp(since - 1, UTC)
    recent = [event for event in events if event.type == "Warning" and _when(event) >= start]
    by_subject: dict[str, str] = {}
    for each in sorted(recent, key=_when):
        about = each.involved_object
        by_subject[f"{about.kind}/{about.name}"] = f"{each.reason}: {str(each.message).strip()}"
    return tuple(f"{subject}: {words}" for subject, words in list(by_subject.items())[-REASONS:])


def _when(event: Any) -> datetime:
    found: datetime = event.last_timestamp or event.event_time or event.metadata.creation_timestamp
    return found


def _pools(kubeconfig: Path) -> set[str]:
    """Node pools of the release."""
    items = _karpenter(kubeconfig, "nodepools")["items"]
    owner = "meta.helm.sh/release-name"
    return {each["metadata"]["name"] for each in items if each["metadata"].get("annotations", {}).get(owner) == RELEASE}


def _karpenter(kubeconfig: Path, plural: str) -> Mapping[str, Any]:
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    with asking():
        try:
            listed: Mapping[str, Any] = client.CustomObjectsApi(api_client(kubeconfig)).list_cluster_custom_object(
                *_KARPENTER, plural
            )
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise
            return {"items": ()}
    return listed


def _await_no_nodes(kubeconfig: Path, pools: set[str], timeout: int) -> None:
    from kubernetes import client, watch

    claims = client.CustomObjectsApi(api_client(kubeconfig)).list_cluster_custom_object
    deadline = time.monotonic() + timeout
    while True:
        listed = _karpenter(kubeconfig, "nodeclaims")
        left = {
            each["metadata"]["name"]
            for each in listed["items"]
            if each["metadata"].get("labels", {}).get("karpenter.sh/nodepool") in pools
        }
        seconds = min(_WATCH_SECONDS, int(deadline - time.monotonic()))
        if not left or seconds <= 0:
            break
        since = {"resource_version": listed["metadata"]["resourceVersion"], "timeout_seconds": seconds}
        with asking():
            for change in watch.Watch().stream(claims, *_KARPENTER, "nodeclaims", **since):
                if change["type"] == "DELETED":
                    left.discard(change["object"]["metadata"]["name"])
                if not left:
                    return
    if not left:
        return
    raise ClusterError(
        f"Karpenter has not ended {', '.join(sorted(left))} within {timeout} s",
        remedy="Look at `kubectl describe nodeclaims`, then repeat the command.",
    )
