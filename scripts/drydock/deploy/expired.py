"""Deployments in an AWS account that are past their time, whoever made them."""

from datetime import UTC, datetime

from drydock.deploy.deployments import Deployment, list_deployments
from drydock.deploy.eks.account import check_account
from drydock.deploy.eks.leftovers import CLUSTER_TAG, EXPIRES_TAG, expired_clusters
from drydock.project import Project


def find_expired(
    project: Project, account_id: str, region: str, bucket: str, bucket_region: str
) -> tuple[Deployment, ...]:
    """Clusters whose tag `drydock.dev/expires-at` is past, as deployments that can be destroyed from here.

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
    here = {each.name: each for each in list_deployments(project)}
    settings = {
        "account_id": account_id,
        "region": region,
        "backend_bucket": bucket,
        "backend_region": bucket_region,
    }
    return tuple(
        here.get(tags[CLUSTER_TAG])
        or Deployment(
            name=tags[CLUSTER_TAG],
            environment=tags.get("drydock.dev/environment", ""),
            target="eks",
            namespace="genai",
            created="",
            expires=tags[EXPIRES_TAG],
            settings={**settings, "owner": tags.get("drydock.dev/owner", "")},
        )
        for tags in expired_clusters(region, datetime.now(UTC))
    )
