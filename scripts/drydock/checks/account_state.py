"""An environment against the snapshot of its account and cluster, where `drydock account` wrote one."""

from collections.abc import Iterator

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.suite.account_snapshot import NODE_ADDRESSES, OLD, AccountSnapshot, NodeClassState, selectors
from drydock.suite.manifests import Manifest

LACKS = "account-lacks"
OLD_SNAPSHOT = "account-snapshot-old"
_FEW_ADDRESSES = 32
_GOING = ("DELETING", "FAILED")
_CLASSES = ("EC2NodeClass", "NodeClass")


def check(subject: Subject) -> Iterator[Finding]:
    """What the account lacks of what node classes and the environment's file name; and a snapshot that is old."""
    environment, snapshot = subject.rendered.environment, subject.rendered.environment.snapshot
    if snapshot is None:
        return
    again = f"Run `drydock account {environment.name}` again."
    if snapshot.is_old or snapshot.is_ahead:
        when = "which is still to come" if snapshot.is_ahead else f"more than {OLD.days} days ago"
        reason = f"What is known of account {snapshot.account} is as of {snapshot.day}, {when}."
        yield Finding(environment.name, OLD_SNAPSHOT, reason, again, Severity.WARNING, file=str(environment.file))
    yield from _elsewhere(subject, snapshot, again)
    for manifest in subject.manifests:
        if manifest.kind in _CLASSES:
            yield from _node_class(subject, manifest, snapshot, again)
    yield from _addresses(subject, snapshot)
    yield from _reservations(subject, snapshot)
    yield from _secrets(subject, snapshot)


def _elsewhere(subject: Subject, snapshot: AccountSnapshot, again: str) -> Iterator[Finding]:
    """A snapshot of another Region or cluster than the environment's, or of a cluster that goes."""
    environment, plane, region = subject.rendered.environment, snapshot.control_plane, subject.account.region
    if snapshot.region != region:
        reason = f"The snapshot is of Region {snapshot.region}, and the environment is for {region}."
        yield Finding(environment.name, LACKS, reason, again, file=str(environment.file))
    if plane and plane.status in _GOING:
        reason = f"The EKS cluster is {plane.status}, as of {snapshot.day}."
        yield Finding(environment.name, LACKS, reason, "Make or name another one.", file=str(environment.file))
    if plane and snapshot.cluster and plane.kubernetes != snapshot.cluster.kubernetes:
        reason = (
            f"EKS has Kubernetes {plane.kubernetes} in the cluster, and the API server of the kubeconfig "
            f"{snapshot.cluster.kubernetes}: it may be another cluster's."
        )
        yield Finding(environment.name, LACKS, reason, again, Severity.WARNING, file=str(environment.file))


def _node_class(subject: Subject, manifest: Manifest, snapshot: AccountSnapshot, again: str) -> Iterator[Finding]:
    state, as_of = snapshot.node_classes.get(manifest.name), f"as of {snapshot.day}"
    if state is None:
        reason = f"The snapshot of the account, {as_of}, does not have what node class {manifest.name} selects."
        yield subject.finding(LACKS, manifest, reason, again, severity=Severity.WARNING)
        return
    spec = selectors(manifest.content.get("spec") or {})
    changed = {key for key in spec if state.asked.get(key) != spec[key]}
    if changed:
        keys = ", ".join(sorted(changed))
        reason = f"Node class {manifest.name} selects otherwise by {keys} than when the account was read ({as_of})."
        yield subject.finding(LACKS, manifest, reason, again, path="spec", severity=Severity.WARNING)
    for path, what, remedy in _missing(manifest, state):
        if path.removeprefix("spec.") in changed:
            continue
        reason = f"Account {snapshot.account} has no {what} ({as_of}): node class {manifest.name} is never ready."
        yield subject.finding(LACKS, manifest, reason, remedy, path=path)
    for name, subnet in sorted(state.subnets.items()):
        if subnet.free_addresses < _FEW_ADDRESSES:
            reason = f"Subnet {name} in {subnet.zone} has {subnet.free_addresses} free addresses ({as_of})."
            remedy = "Free some, or add a subnet that the node class selects: a node takes several at once."
            path = "spec.subnetSelectorTerms"
            yield subject.finding(LACKS, manifest, reason, remedy, path=path, severity=Severity.WARNING)


def _missing(manifest: Manifest, state: NodeClassState) -> Iterator[tuple[str, str, str]]:
    """Path in the node class, what is missing, and the remedy."""
    spec = manifest.content.get("spec") or {}
    for label, image in state.images.items():
        if not image:
            yield "spec.amiSelectorTerms", f"image {label}", "Name a release that Systems Manager has."
    if spec.get("subnetSelectorTerms") and not state.subnets:
        yield "spec.subnetSelectorTerms", "subnet that it selects", "Tag the subnets, or correct the selector."
    elif state.subnets and all(subnet.free_addresses < NODE_ADDRESSES for subnet in state.subnets.values()):
        what = f"subnet with the {NODE_ADDRESSES} free addresses that a node takes"
        yield "spec.subnetSelectorTerms", what, "Free some, or add a subnet that it selects."
    if spec.get("securityGroupSelectorTerms") and not state.security_groups:
        yield "spec.securityGroupSelectorTerms", "security group that it selects", "Tag one, or correct the selector."
    for key, name in state.names.items():
        if not (state.role if key == "role" else state.instance_profile):
            yield f"spec.{key}", f"{key} {name}", "Create it, or name one that is there."


def _addresses(subject: Subject, snapshot: AccountSnapshot) -> Iterator[Finding]:
    """Every pod takes an address of its own, unless it has its node's."""
    environment = subject.rendered.environment
    subnets = {name: subnet for state in snapshot.node_classes.values() for name, subnet in state.subnets.items()}
    free = sum(subnet.free_addresses for subnet in subnets.values())
    pods = sum(verdict.pod.replicas for verdict in subject.verdicts if not verdict.pod.spec.get("hostNetwork"))
    if subnets and pods > free:
        reason = f"The environment has {pods} pods, and its subnets {free} free addresses, as of {snapshot.day}."
        remedy = "Free some, or add subnets that the node classes select."
        yield Finding(environment.name, LACKS, reason, remedy, Severity.WARNING, file=str(environment.file))


def _reservations(subject: Subject, snapshot: AccountSnapshot) -> Iterator[Finding]:
    environment = subject.rendered.environment
    for name, reservation in snapshot.reservations.items():
        state = reservation.state_now
        if state == "active" and reservation.available:
            continue
        why = f"is {state}" if state != "active" else f"has none of its {reservation.total} instances left"
        reason = f"Reservation {name} ({reservation.instance_type} in {reservation.zone}) {why}, as of {snapshot.day}."
        remedy = "Karpenter takes other capacity, if the pool allows any: see that it does, or free the reservation."
        yield Finding(environment.name, LACKS, reason, remedy, Severity.WARNING, file=str(environment.file))


def _secrets(subject: Subject, snapshot: AccountSnapshot) -> Iterator[Finding]:
    environment = subject.rendered.environment
    if snapshot.cluster is None:
        return
    for name, keys in environment.secrets.items():
        found = snapshot.cluster.secrets.get(name)
        missing = ", ".join(key for key in keys if key not in (found or ()))
        if missing:
            what = f"has no key {missing}" if found is not None else "is not there"
            reason = f"Secret {name} of namespace {environment.namespace} {what}, as of {snapshot.day}."
            yield Finding(environment.name, LACKS, reason, "Create it before the install.", file=str(environment.file))
