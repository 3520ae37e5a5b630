"""Deployments in an AWS account that are past their time, from any machine."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from drydock.deploy.deployments import Deployment, is_name, list_deployments
from drydock.deploy.eks.caller import check_account
from drydock.deploy.eks.leftovers import CLUSTER_TAG, EXPIRES_TAG, dated_clusters, expiry
from drydock.project import Project


@dataclass(frozen=True)
class Found:
    """Clusters of an account.

    Attributes:
        expired: past their time, as deployments that can be destroyed from here.
        undated: name and what stands in the tag, of those whose time cannot be read.
        misnamed: what stands in the tag of a cluster's name and is no such name, quoted.
    """

    expired: tuple[Deployment, ...]
    undated: Mapping[str, str]
    misnamed: tuple[str, ...] = ()


def find_expired(project: Project, account_id: str, region: str, bucket: str, bucket_region: str) -> Found:
    """Clusters whose tag `drydock.dev/expires-at` is past, or is no time.

    Args:
        project: its environments name what was deployed.
        account_id: must be that of the credentials.
        region: AWS Region to look in.
        bucket: with the Terraform states of deployments that other machines made.
        bucket_region: of that bucket; empty takes the Region.

    Raises:
        DrydockError: wrong account, or AWS refused.
    """
    check_account(account_id, region)
    here = {
        item.name: item
        for item in list_deployments(project)
        if (item.settings.get("account_id"), item.settings.get("region")) == (account_id, region)
    }
    settings = {
        "account_id": account_id,
        "region": region,
        "backend_bucket": bucket,
        "backend_region": bucket_region,
    }

    def deployment(tags: Mapping[str, str]) -> Deployment:
        if known := here.get(tags[CLUSTER_TAG]):
            return replace(known, expires=tags[EXPIRES_TAG])
        return Deployment(
            name=tags[CLUSTER_TAG],
            environment=tags.get("drydock.dev/environment", ""),
            target="eks",
            namespace="genai",
            created="",
            expires=tags[EXPIRES_TAG],
            settings={**settings, "owner": tags.get("drydock.dev/owner", "")},
        )

    found = dated_clusters(region)
    named = [tags for tags in found if is_name(tags[CLUSTER_TAG])]
    now, times = datetime.now(UTC), [(tags, expiry(tags[EXPIRES_TAG])) for tags in named]
    return Found(
        expired=tuple(deployment(tags) for tags, expires in times if expires and expires < now),
        undated={tags[CLUSTER_TAG]: tags[EXPIRES_TAG] for tags, expires in times if expires is None},
        misnamed=tuple(sorted({repr(tags[CLUSTER_TAG]) for tags in found if tags not in named})),
    )
