"""Whose credentials these are, and what the account already has."""

from collections.abc import Callable
from typing import Any, TypeVar

from drydock.errors import DrydockError, UsageError
from drydock.suite.environments import Environment

_Result = TypeVar("_Result")
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_SPOT_ROLE = "/aws-service-role/spot.amazonaws.com/"


class AwsError(DrydockError):
    """AWS refused, or does not answer."""


def check_account(account_id: str, region: str) -> str:
    """Compare the credentials with the account that was named; gives the identity's ARN.

    Raises:
        UsageError: they belong to another account.
        AwsError: there are none, they have expired, or AWS does not answer.
    """
    identity = call(lambda: client("sts", region).get_caller_identity())
    if identity["Account"] != account_id:
        raise UsageError(
            f"--account-id {account_id}: the credentials are of account {identity['Account']} ({identity['Arn']})",
            remedy="Name the account that you mean, or sign in to it.",
        )
    return str(identity["Arn"])


def check_snapshot(environment: Environment, account_id: str, region: str) -> None:
    """Compare where the environment's snapshot was read with where it is deployed to.

    Raises:
        UsageError: it is of another account or Region: quotas, zones and versions in it are not those to be found.
    """
    snapshot = environment.snapshot
    if snapshot and (snapshot.account, snapshot.region) != (account_id, region):
        raise UsageError(
            f"the snapshot of {environment.name} is of account {snapshot.account} in {snapshot.region}, "
            f"and the deployment is for account {account_id} in {region}",
            remedy=f"Run `drydock account {environment.name}` there, or delete the snapshot.",
        )


def has_spot_role(region: str) -> bool:
    """Whether the account has the service-linked role of EC2 Spot."""
    iam = client("iam", region)
    return bool(call(lambda: iam.list_roles(PathPrefix=_SPOT_ROLE))["Roles"])


def has_log_group(cluster: str, region: str) -> bool:
    """Whether the account has the log group of the control plane of an EKS cluster of that name, gone or not."""
    name = f"/aws/eks/{cluster}/cluster"
    found = call(lambda: client("logs", region).describe_log_groups(logGroupNamePrefix=name))["logGroups"]
    return name in {policy["logGroupName"] for policy in found}


def has_node_entry(cluster: str, region: str) -> bool:
    """Whether a cluster has the access entry of its nodes' role already, which EKS makes for a managed node group."""
    eks = client("eks", region)
    try:
        arns = call(lambda: eks.list_access_entries(clusterName=cluster))["accessEntries"]
    except AwsError as error:
        if "ResourceNotFoundException" in error.message:
            return False
        raise
    return any(arn.endswith(f":role/KarpenterNodeRole-{cluster}") for arn in arns)


def client(service: str, region: str) -> Any:
    """A client of an AWS API, with retries as AWS recommends them."""
    import boto3
    from botocore.config import Config

    return boto3.client(service, region_name=region, config=Config(retries={"mode": "adaptive", "max_attempts": 8}))


def call(ask: Callable[[], _Result]) -> _Result:
    """What AWS answers.

    Raises:
        AwsError: it refused, in its own words.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        remedy = "Look at AWS_PROFILE and at what the role may do."
        if "Expired" in code:
            remedy = "Sign in again: the credentials have expired."
        elif code in _DENIED:
            remedy = f"Allow the role {error.operation_name}, or set AWS_PROFILE to one that may."
        raise AwsError(f"AWS: {error}", remedy=remedy) from error
    except BotoCoreError as error:
        raise AwsError(f"AWS: {error}", remedy="Sign in, or set AWS_PROFILE and the Region.") from error
