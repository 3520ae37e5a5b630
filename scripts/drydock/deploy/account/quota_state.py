"""Service Quotas' part of a snapshot: vCPUs by family, and what instances of others and reservations use of them."""

from collections import Counter
from collections.abc import Iterable, Mapping

from drydock.deploy.eks.caller import call, client
from drydock.suite.account_snapshot import QuotaUse, Reservation
from drydock.suite.ec2_quotas import default_quotas, quota_of

_NODE_GROUP = "eks:nodegroup-name"
_COUNTED = ("active", "pending", "scheduled")


def quotas(
    region: str,
    cluster: str,
    running: Iterable[tuple[str, str, Mapping[str, str]]],
    reserved: Iterable[Reservation],
    vcpus: Mapping[str, int],
) -> dict[str, QuotaUse]:
    """Quotas of vCPUs by code.

    A quota of which Service Quotas has no applied value is not in its answer, and has its default (Service Quotas API,
    ListServiceQuotas). Nodes of the cluster that Karpenter buys are the environment's own; those of its managed node
    groups stay beside them. A capacity reservation counts against its owner's on-demand quota as a whole, used or not,
    and what runs in it does not count again; a Capacity Block does not count (EC2 User Guide, "Capacity Reservation
    limitations").

    Args:
        region: where.
        cluster: whose instances are the environment's own, managed node groups apart.
        running: instances, as `ec2_state.running` gives them.
        reserved: the account's own reservations.
        vcpus: of an instance, by its type.
    """
    api, known = client("service-quotas", region), default_quotas()
    pages = call(lambda: list(api.get_paginator("list_service_quotas").paginate(ServiceCode="ec2")))
    limits = {quota["QuotaCode"]: int(quota["Value"]) for page in pages for quota in page["Quotas"]}
    used: Counter[str] = Counter()
    own = {f"kubernetes.io/cluster/{cluster}", "eks:eks-cluster-name", "eks:cluster-name"}
    for instance_type, market, tags in running:
        quota = quota_of(instance_type, market)
        ours = _NODE_GROUP not in tags and any(
            key in tags and (key.endswith(f"/{cluster}") or tags[key] == cluster) for key in own
        )
        if quota and not ours:
            used[quota.code] += vcpus.get(instance_type, 0)
    for reservation in reserved:
        quota = quota_of(reservation.instance_type, "on-demand")
        if quota and reservation.kind == "default" and reservation.state in _COUNTED:
            used[quota.code] += reservation.total * vcpus.get(reservation.instance_type, 0)
    return {code: QuotaUse(limits.get(code, known[code]), used[code]) for code in sorted(known)}
