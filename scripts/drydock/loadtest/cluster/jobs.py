"""Loads that Jobs in the cluster make: rendered from the chart loadtest, watched, fetched, and removed."""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drydock.clusters.kube import asking
from drydock.errors import ClusterError, UsageError
from drydock.loadtest.cluster.collecting import Collector
from drydock.loadtest.cluster.models import Pod, RunningModel, pod_state
from drydock.loadtest.cluster.relay import relayed
from drydock.loadtest.plan_file import plan_facts
from drydock.loadtest.records import Run, Snapshot
from drydock.loadtest.run_files import load_run
from drydock.loadtest.settings import LoadPlan

RESULTS_PORT = (8089, "results")
"""Of the master's pod, as the chart has it."""
_MOST_BYTES = 1_000_000
_HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff")
_RIGHTS = (
    "The kubeconfig's user needs to create and delete Jobs, Services, ConfigMaps, ServiceAccounts and NetworkPolicies, "
    "and Secrets where headers or parameters are secret."
)
_VALUES_KEY = "values"
"""Of the Secret with the values of headers and parameters."""


@dataclass(frozen=True)
class JobSet:
    """Makes loads in a cluster.

    Args:
        api: the kubernetes library's client.
        model: that is loaded; the Jobs are made in its namespace.
        render: renders the chart with values, under a release's name.
        say: receives lines for people about what is awaited.
    """

    api: Any
    model: RunningModel
    render: Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]
    say: Callable[[str], None]

    def generate(self, plan: LoadPlan, on_progress: Callable[[Snapshot], None]) -> Run:
        """Send a plan's load from inside, and bring home what was recorded; nothing is left there.

        Raises:
            ClusterError: the Jobs cannot be made, their pods do not start, or one was lost.
            DrydockError: the load could not be made.
        """
        release = f"loadtest-{secrets.token_hex(4)}"
        objects = [*self.render(release, self._values(plan, release)), *self._parameters(plan, release)]
        with self._created(release, objects), tempfile.TemporaryDirectory(prefix="drydock-loadtest-") as folder:
            pod = self._master(release)
            with relayed(self.api, [pod]) as url:
                Collector(url, on_progress, lambda: self._states(release)).collect(Path(folder))
            return load_run(Path(folder))

    def _parameters(self, plan: LoadPlan, release: str) -> list[Mapping[str, Any]]:
        """The Secret with the values of secret headers and parameters, where there are any."""
        values = [secret.reveal() for secret in plan.target.dialect.secrets]
        if not values:
            return []
        metadata = {"name": f"{release}-parameters", "namespace": self.model.namespace}
        data = {_VALUES_KEY: json.dumps(values)}
        return [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}]

    def _values(self, plan: LoadPlan, release: str) -> dict[str, Any]:
        dataset = plan.workload.dataset
        prompts = dataset.read_text() if dataset else ""
        sent = replace(plan, target=replace(plan.target, base_url=self.model.url, api_key=None))
        text = json.dumps(plan_facts(sent))
        if len(text.encode()) + len(prompts.encode()) > _MOST_BYTES:
            raise UsageError(
                "the prompts, or the recorded times, are larger than the megabyte that a ConfigMap holds",
                remedy="Take a part of them, or a preset.",
            )
        key = self.model.key
        return {
            "plan": text,
            "dataset": prompts,
            "url": self.model.url,
            "workers": plan.processes,
            **({"apiKeySecret": {"name": key.name, "key": key.key}} if key else {}),
            **(
                {"parametersSecret": {"name": f"{release}-parameters", "key": _VALUES_KEY}}
                if plan.target.dialect.secrets
                else {}
            ),
        }

    @contextmanager
    def _created(self, release: str, objects: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """All objects belong to the master's Job and go with it, by the cluster itself after its time to live."""
        from kubernetes import client

        jobs = client.BatchV1Api(self.api)
        name, namespace = f"{release}-master", self.model.namespace
        master = next(
            content for content in objects if content["kind"] == "Job" and content["metadata"]["name"] == name
        )
        with asking(_RIGHTS):
            made = jobs.create_namespaced_job(namespace, {**master, "spec": {**master["spec"], "suspend": True}})
        try:
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made.metadata.uid}
            for content in objects:
                if content is not master:
                    _create(self.api, {**content, "metadata": {**content["metadata"], "ownerReferences": [owner]}})
            with asking(_RIGHTS):
                jobs.patch_namespaced_job(name, namespace, {"spec": {"suspend": False}})
            yield
        finally:
            with asking(f"Remove it: kubectl --namespace {namespace} delete job {name}"):
                jobs.delete_namespaced_job(name, namespace, propagation_policy="Background")

    def _master(self, release: str) -> Pod:
        """Its pod, once it is ready."""
        from kubernetes import client, watch

        namespace = self.model.namespace
        selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=master"
        told = ""
        with asking():
            core = client.CoreV1Api(self.api)
            for event in watch.Watch().stream(core.list_namespaced_pod, namespace, label_selector=selector):
                pod = event["object"]
                if any(
                    condition.type == "Ready" and condition.status == "True"
                    for condition in pod.status.conditions or ()
                ):
                    return Pod(pod.metadata.name, namespace, *RESULTS_PORT, pod.metadata.annotations or {})
                state = pod_state(pod)
                if state.split(":")[0] in _HOPELESS or pod.status.phase in ("Failed", "Succeeded"):
                    raise ClusterError(
                        f"the load test's pod {pod.metadata.name} does not start: {state}",
                        remedy="The chart loadtest says how its image is made; name it with --in-cluster-values.",
                    )
                if state != told:
                    told = state
                    self.say(f"{pod.metadata.name}: {state}")
        raise ClusterError(
            f"the load test's Job {release}-master came to no pod",
            remedy=f"kubectl -n {namespace} describe job {release}-master shows why: a quota, or an admission policy.",
        )

    def _states(self, release: str) -> str:
        from kubernetes import client

        with asking():
            pods = client.CoreV1Api(self.api).list_namespaced_pod(
                self.model.namespace, label_selector=f"app.kubernetes.io/instance={release}"
            )
        return "; ".join(f"{pod.metadata.name}: {pod_state(pod)}" for pod in pods.items)


def _create(api: Any, content: Mapping[str, Any]) -> None:
    from kubernetes.utils import FailToCreateError, create_from_dict

    try:
        create_from_dict(api, dict(content), namespace=content["metadata"]["namespace"])
    except FailToCreateError as error:
        reasons = "; ".join(str(api_exception.body or api_exception.reason) for api_exception in error.api_exceptions)
        raise ClusterError(f"the API server refused {content['kind']}: {reasons}", remedy=_RIGHTS) from error
