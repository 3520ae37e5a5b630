"""Every check, and every kind of finding that `validate` can make."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from drydock.checks import (
    accepted,
    account_state,
    cluster_contents,
    data_regions,
    devices,
    downloads,
    engine_memory,
    field_owners,
    gateways,
    gpu_drivers,
    image_tags,
    metric_names,
    missing_objects,
    node_pools,
    places,
    pod_feasibility,
    policy_targets,
    quantities,
    reachable_objectives,
    reachable_ports,
    reservations,
    rollouts,
    services,
    shared_memory,
    startup_probes,
    storage,
    termination,
    trust,
    unused_values,
    values_files,
    vcpu_quotas,
    workflows,
)
from drydock.checks.findings import Finding, folded
from drydock.checks.subject import Subject

Check = Callable[[Subject], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    places.check,
    reservations.check,
    pod_feasibility.check,
    node_pools.check,
    devices.check,
    engine_memory.check,
    gpu_drivers.check,
    reachable_objectives.check,
    rollouts.check,
    storage.check,
    downloads.check,
    startup_probes.check,
    missing_objects.check,
    shared_memory.check,
    services.check,
    trust.check,
    reachable_ports.check,
    policy_targets.check,
    image_tags.check,
    termination.check,
    metric_names.check,
    workflows.check,
    gateways.check,
    data_regions.check,
    quantities.documents,
    field_owners.check,
    cluster_contents.check,
    vcpu_quotas.check,
    account_state.check,
)
"""The checks of a rendered environment, in the order in which they run."""


@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        id: `Finding.check`.
        title: what is asked of an environment, in one line.
        pain: number of the known pain that it prevents, 0 for none.
    """

    id: str
    title: str
    pain: int = 0


RULES: tuple[Rule, ...] = (
    Rule("values-schema", "Values have the keys and types that the charts' schemas allow"),
    Rule("values-duplicate-key", "No values file sets a key twice"),
    Rule("render", "Helm renders the environment"),
    Rule("helm-lint", "helm lint has nothing to say of the charts"),
    Rule("object-schema", "Every object is what its API (or its CRD) defines, without unknown fields"),
    Rule(values_files.SHAPE, "A values file holds a map of keys"),
    Rule(quantities.DOCUMENT, "Files of ConfigMaps that are called YAML or JSON can be read as such"),
    Rule(quantities.CHECK, "Amounts of resources are Kubernetes quantities"),
    Rule(places.REGION, "The region is one that AWS has, and the catalogue of instance types knows it"),
    Rule(places.CHECK, "The zones that values, node pools and reservations name are the region's"),
    Rule(reservations.UNUSED, "Some node pool uses every capacity reservation of the account"),
    Rule(unused_values.CHECK, "Values are of charts that are on, and globals are spelt as charts read them"),
    Rule("render-differs", "Helm 3, Helm 4 and a second render give the same objects", 8),
    Rule("server-dry-run", "A real API server accepts every object: CEL rules, defaulting, pod security"),
    Rule(pod_feasibility.POD, "Every pod has a node pool that can host it", 1),
    Rule(pod_feasibility.DAEMON, "Every DaemonSet runs on the nodes of some pool", 1),
    Rule(node_pools.EMPTY, "Every node pool matches an instance type", 22),
    Rule(node_pools.LIMITS, "A pool's limits leave room for one node", 22),
    Rule(node_pools.NARROW, "No pool depends on one instance type in one zone", 22),
    Rule(node_pools.ARCHITECTURES, "Images exist for every architecture that a pool may buy for their pod", 24),
    Rule(engine_memory.FITS, "Every engine starts on each GPU that it may get: weights and the longest context fit", 3),
    Rule(engine_memory.UNCERTAIN, "Every engine starts even if memory that was not measured is needed", 3),
    Rule(engine_memory.REFUSED, "No engine is refused by vLLM for another reason than memory", 3),
    Rule(engine_memory.ROOM, "An engine has room for three requests of its longest context", 3),
    Rule(engine_memory.UNKNOWN, "The model of every engine is one whose memory is known", 3),
    Rule(gpu_drivers.CHECK, "Nodes have a driver that runs the CUDA of their pods' images"),
    Rule(reachable_objectives.CHECK, "One request alone meets the objectives on every GPU that an engine may get"),
    Rule(devices.MISSING, "The devices that pods ask for are announced by a device plugin", 4),
    Rule(devices.TWICE, "No node runs two device plugins for the same devices", 5),
    Rule(devices.IDLE, "Device plugins run only where their devices are", 5),
    Rule(rollouts.CAPACITY, "The pods of a pool fit into its limits or reservations together", 10),
    Rule(rollouts.SCALING, "The most replicas of an autoscaler fit into the limits or reservations of their pool", 10),
    Rule("replicas-too-few", "The replicas serve the load that the environment states, within its objectives"),
    Rule(accepted.UNUSED, "Every entry under accepted matches a finding"),
    Rule(account_state.LACKS, "The snapshot of the account has what the environment names"),
    Rule(account_state.OLD_SNAPSHOT, "The snapshot of the account is younger than a week"),
    Rule(vcpu_quotas.CHECK, "EC2's quotas of vCPUs allow the nodes that pods need"),
    Rule(rollouts.HEADROOM, "A rollout does not wait for accelerators that it never gets", 10),
    Rule(rollouts.RAY_UPGRADE, "An upgrade of a RayService does not wait for a second cluster's accelerators", 11),
    Rule(storage.SPACE, "Images and emptyDir volumes of a pod fit on its node's disk", 13),
    Rule(storage.DEVICE, "blockDeviceMappings size the device that the AMI family uses", 13),
    Rule(storage.ZONAL, "No volume ties a pod to a zone in which it may find no node", 14),
    Rule(storage.SNAPSHOT, "A volume from a snapshot is filled at a set rate", 12),
    Rule(downloads.REPEATED, "Models of several pods take their weights from a shared source", 15),
    Rule(startup_probes.STARTUP, "Probes leave an engine the time to load its model", 2),
    Rule(startup_probes.DEADLINE, "A Deployment does not count as failed before its pods can be ready", 12),
    Rule(missing_objects.SECRET, "Secrets that pods need are in the release, or expected in the namespace", 16),
    Rule(missing_objects.PLACEHOLDER, "No Secret of the release holds a placeholder", 16),
    Rule(missing_objects.RUNTIME, "RuntimeClasses that pods name are in the release", 24),
    Rule(shared_memory.MISSING, "Engines on several GPUs have memory-backed /dev/shm", 17),
    Rule(services.PUBLIC, "No load balancer takes requests from anywhere", 20),
    Rule(trust.ESCALATION, "No ServiceAccount can become a stronger one"),
    Rule(trust.ANY_NAMESPACE, "No NetworkPolicy lets in pods of every namespace"),
    Rule(trust.NAMESPACE, "Namespaces enforce a pod security standard and deny what no policy allows"),
    Rule(trust.CREDENTIAL, "No variable of a container holds a credential in plain text"),
    Rule(reachable_ports.CHECK, "Code of users reaches no port of Ray, notebooks, metrics or administrators"),
    Rule(policy_targets.CHECK, "NetworkPolicies name labels and ports that their pods and Services have"),
    Rule(services.VARIABLES, "No Service's variables read as settings of an engine", 18),
    Rule(image_tags.MUTABLE, "Images are pinned to a version", 19),
    Rule(metric_names.UNKNOWN, "Metrics that scalers, alarms and dashboards name exist"),
    Rule(metric_names.WAKE, "What wakes a model from zero pods outlives its pods"),
    Rule(termination.GRACE, "Nodes live as long as their pods' grace period", 21),
    Rule(termination.CHURN, "Karpenter does not move running models about", 21),
    Rule(termination.DRAIN, "A preStop hook ends before the pod is killed", 21),
    Rule(field_owners.CHECK, "No object states a field that a controller or a pipeline writes"),
    Rule(cluster_contents.STORAGE, "The target has the StorageClass and the driver of every volume"),
    Rule(cluster_contents.BALANCERS, "The target gives every load balancer and Ingress an address"),
    Rule(cluster_contents.GATES, "Karpenter's feature gates on the target are those that objects need"),
    Rule(cluster_contents.AMI, "Pinned AMI releases exist for the cluster's Kubernetes"),
    Rule(cluster_contents.AUTO_MODE, "EKS Auto Mode takes every NodePool and NodeClass"),
    Rule(cluster_contents.SUPPORT, "EKS supports the target's Kubernetes without a surcharge"),
    Rule(workflows.ARTIFACTS, "Artifacts of workflows have a repository with bucket, region and credentials", 25),
    Rule(gateways.CHECK, "Models that a gateway falls back to are there"),
    Rule(data_regions.CHECK, "Models of a gateway are processed in the regions that data may not leave"),
    Rule(workflows.ACCOUNT, "Pods of workflows have a ServiceAccount that exists and may report results", 25),
)


def run_checks(subject: Subject, more: Iterable[Check] = (), beside: Collection[Finding] = ()) -> tuple[Finding, ...]:
    """What the checks find in one environment, one finding for each cause, in a stable order.

    Objects are taken to be what their APIs define (kubeconform reports others); where an amount is not a quantity,
    nothing else is looked at. What is accepted with a reason has that severity.

    Args:
        subject: the environment.
        more: checks of layers above this one.
        beside: what else was found, which entries under `accepted` may be about.
    """
    why = accepted.reasons(subject.rendered.environment, subject.manifests)
    if unreadable := folded(quantities.check(subject)):
        return tuple(accepted.marked(unreadable, why))
    every = [finding for check in (*CHECKS, *more) for finding in check(subject)]
    return (*accepted.marked(folded(every), why), *accepted.unused(subject, [*beside, *every]))
