"""Charts and manifests beside the suite on a user's cluster: installed in their order, remembered, and removed."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.applying import Applier
from drydock.clusters.kube import KubeconfigAccess
from drydock.clusters.objects import is_done
from drydock.deploy.helm_on_cluster import Helm, NeverReadyError
from drydock.deploy.release_watch import ReleaseWatch
from drydock.errors import ClusterError
from drydock.outcome.observe import COLLECTIONS, WORKLOADS
from drydock.progress import Progress
from drydock.suite.environments import Environment
from drydock.suite.manifests import CLUSTER_SCOPED, Manifest
from drydock.suite.sources import AppliedManifests, HelmRelease

_RECORD = "brought.json"
_NAMESPACES = collection("v1", "namespaces")
_HOOK = "helm.sh/hook"
_PAUSE_SECONDS = 1.0
_STAYS = "What was installed stays; correct the cause and repeat the command."


@dataclass(frozen=True)
class Settings:
    """How an installation goes about it.

    Attributes:
        timeout: seconds for a step, or for what is not waited for by itself, to become ready.
        force_conflicts: take over fields that others have changed in the cluster.
    """

    timeout: int
    force_conflicts: bool = False


def install_brought(
    helm: Helm, environment: Environment, manifests: Sequence[Manifest], settings: Settings, progress: Progress
) -> None:
    """Install the steps of an environment in their order, wait where it says so, and at the end for all of it.

    A release that is waited for is rolled back when it does not become ready.

    Args:
        helm: on the cluster.
        environment: the steps.
        manifests: everything that the environment renders.
        settings: see its class.
        progress: shows each step.

    Raises:
        NeverReadyError: a workload can never be ready, and why.
        ClusterError: something was refused, or is not ready in time.
    """
    steps = environment.brought.steps
    if not steps:
        return
    own = [manifests_of(step, manifests) for step in steps]
    later = [item for step, objects in zip(steps, own, strict=True) if not step.wait for item in objects]
    api = Api(KubeconfigAccess(helm.kubeconfig))
    watch = ReleaseWatch(helm.kubeconfig, later, environment.namespace, release="")
    with watch.reporting(lambda _: None):
        for step, objects in zip(steps, own, strict=True):
            if isinstance(step, HelmRelease):
                _install(helm, step, objects, settings, progress)
            else:
                _apply(api, step, settings, progress)
        with progress.step("What is installed becomes ready") as shown:
            for subject in _unready(api, later, settings.timeout, watch):
                shown.detail(subject)


def manifests_of(step: HelmRelease | AppliedManifests, manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Those of an environment's objects that a step installs."""
    if isinstance(step, AppliedManifests):
        return step.manifests
    return tuple(item for item in manifests if item.source == step.name and item.file.startswith(f"{step.reference}/"))


def remember(folder: Path, environment: Environment) -> None:
    """Write what is about to be installed, after what earlier installations left that is no longer among it.

    Args:
        folder: of the deployment.
        environment: as it is installed.
    """
    record, new = _read(folder), [_entry(step) for step in environment.brought.steps]
    releases = {(item["release"], item["namespace"]) for item in new if "release" in item}
    objects = {json.dumps(one) for item in new for one in item.get("objects", ())}
    earlier = []
    for entry in record["steps"]:
        if "release" in entry and (entry["release"], entry["namespace"]) not in releases:
            earlier.append(entry)
        if rest := [one for one in entry.get("objects", ()) if json.dumps(one) not in objects]:
            earlier.append({**entry, "objects": rest})
    content = {"suite": record["suite"] or environment.suite, "steps": [*earlier, *new]}
    (folder / _RECORD).write_text(json.dumps(content, indent=2))


def holds_suite(folder: Path) -> bool:
    """Whether the suite is among what a deployment installed; one of an earlier version installed it alone."""
    return bool(_read(folder)["suite"]) or not (folder / _RECORD).exists()


def uninstall_brought(helm: Helm, progress: Progress, timeout: int) -> None:
    """Remove what was remembered, the last installed first; CRDs, namespaces and volume claims stay.

    Raises:
        ClusterError: something was refused.
    """
    steps = _read(helm.folder)["steps"]
    for entry in reversed(steps):
        if "release" in entry:
            limits = ["--ignore-not-found", "--wait", f"--timeout={timeout}s"]
            name, namespace = entry["release"], entry["namespace"]
            helm.run(["uninstall", name, "--namespace", namespace, *limits], progress, f"Uninstall {name}")
            continue
        applier = Applier(Api(KubeconfigAccess(helm.kubeconfig)))
        objects = [Manifest("", item, "") for item in entry["objects"]]
        with progress.step(f"Delete {entry['reference']}"):
            left = applier.delete(objects, careful=True)
        if left:
            progress.note(f"These stay, with what depends on them: {', '.join(left)}.")


def _read(folder: Path) -> Any:
    file = folder / _RECORD
    return json.loads(file.read_text()) if file.exists() else {"suite": False, "steps": []}


def _entry(step: HelmRelease | AppliedManifests) -> dict[str, Any]:
    if isinstance(step, HelmRelease):
        return {"release": step.name, "namespace": step.namespace}
    identities = [
        {
            "apiVersion": item.api_version,
            "kind": item.kind,
            "metadata": {"name": item.name, **({"namespace": item.namespace} if item.namespace else {})},
        }
        for item in step.manifests
    ]
    return {"reference": step.reference, "objects": identities}


def _install(
    helm: Helm, release: HelmRelease, manifests: Sequence[Manifest], settings: Settings, progress: Progress
) -> None:
    where = ["--namespace", release.namespace, "--create-namespace"]
    forced = ["--force-conflicts"] if settings.force_conflicts else []
    limits = [f"--timeout={settings.timeout}s", *(["--rollback-on-failure", "--wait=watcher"] if release.wait else [])]
    watch = ReleaseWatch(helm.kubeconfig, manifests, release.namespace, release=release.name) if release.wait else None
    command = ["upgrade", "--install", release.name, str(release.chart), *release.helm_arguments()]
    helm.run([*command, *where, *limits, *forced], progress, f"Install {release.name}", watch=watch)


def _apply(api: Api, step: AppliedManifests, settings: Settings, progress: Progress) -> None:
    applier = Applier(api)
    made = {item.name for item in step.manifests if item.kind == "Namespace"}
    with progress.step(f"Apply {step.reference}") as shown:
        for name in {item.namespace for item in step.manifests if item.kind not in CLUSTER_SCOPED} - made - {""}:
            if api.find(f"{_NAMESPACES}/{name}") is None:
                api.create(_NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
                progress.note(f"Namespace {name} was made.")
        applier.apply(step.manifests, force=settings.force_conflicts)
        if step.wait:
            applier.await_done(step.manifests, settings.timeout, shown.detail)


def _unready(api: Api, manifests: Sequence[Manifest], timeout: int, watch: ReleaseWatch) -> Iterator[str]:
    """What is not ready, again and again, until all is.

    Raises:
        NeverReadyError: a workload can never be.
        ClusterError: time is over.
    """
    deadline = time.monotonic() + timeout
    for manifest in (item for item in manifests if item.kind in WORKLOADS and not _is_hook(item)):
        root, _, plural = COLLECTIONS[manifest.kind].rpartition("/")
        path = f"{root}/namespaces/{manifest.namespace}/{plural}/{manifest.name}"
        while not _done(manifest.kind, api.find(path)):
            yield manifest.identity
            if watch.stop.wait(_PAUSE_SECONDS):
                raise NeverReadyError(watch.reasons, _STAYS)
            if time.monotonic() > deadline:
                raise ClusterError(f"{manifest.identity} is not ready after {timeout} s", remedy=_STAYS)


def _done(kind: str, workload: Mapping[str, Any] | None) -> bool:
    """Whether it is ready; a Job that is gone is over, as `ttlSecondsAfterFinished` removes it."""
    return kind == "Job" if workload is None else is_done(kind, workload)


def _is_hook(manifest: Manifest) -> bool:
    return _HOOK in (manifest.content["metadata"].get("annotations") or {})
