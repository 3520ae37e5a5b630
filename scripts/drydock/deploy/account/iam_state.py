"""IAM's part of a snapshot: the roles and instance profiles that node classes name."""

from collections.abc import Callable

from drydock.deploy.eks.caller import AwsError, call, client


def role_arn(region: str, name: str) -> str:
    """ARN of a role; empty when there is none of the name, or none was given."""
    iam = client("iam", region)
    return _arn(lambda: iam.get_role(RoleName=name.rpartition("/")[2])["Role"]["Arn"]) if name else ""


def profile_arn(region: str, name: str) -> str:
    """ARN of an instance profile; empty likewise."""
    iam = client("iam", region)
    return _arn(lambda: iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Arn"]) if name else ""


def _arn(ask: Callable[[], object]) -> str:
    try:
        return str(call(ask))
    except AwsError as error:
        if "NoSuchEntity" in error.message:
            return ""
        raise
