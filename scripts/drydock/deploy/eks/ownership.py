"""Whose cluster it is: Terraform's state proves it. Tags do not, as anyone who may tag one resource can write them."""

from collections.abc import Collection, Mapping
from typing import Any

from drydock.deploy.eks.caller import AwsError, call, client
from drydock.deploy.eks.leftovers import cluster_of, is_there
from drydock.errors import ClusterError, UsageError

_OWNER_TAG = "drydock.dev/owner"
_NOBODY = ("", "unknown")


def state_key(account: str, region: str, name: str) -> str:
    """Where the state of a deployment lies in a bucket: one name may stand for a cluster in each account and Region."""
    return f"drydock/{account}/{region}/{name}.tfstate"


def check_before_change(name: str, region: str, made: Collection[str], *, owner: str, take_over: bool) -> None:
    """Refuse to work on a cluster that another state holds, or that has another owner.

    Args:
        name: of the cluster.
        region: AWS Region.
        made: addresses in the deployment's state.
        owner: who deploys now.
        take_over: whether the cluster may change hands.

    Raises:
        UsageError: it is another's; nothing was changed.
        AwsError: AWS refused.
    """
    if not made and is_there(name, region):
        raise UsageError(
            f"there is a cluster {name} in {region}, and the Terraform state of this deployment does not hold it",
            remedy="Give the --backend-bucket that it was deployed with, or another --name. Nothing of it was touched.",
        )
    theirs = (cluster_of(name, region) or {}).get("tags", {}).get(_OWNER_TAG, "")
    if made and not take_over and owner not in _NOBODY and theirs not in (*_NOBODY, owner):
        raise UsageError(
            f"{theirs} answers for the cluster {name} (its tag {_OWNER_TAG}), and you are {owner}",
            remedy="Give another --name, or --take-over to answer for it from now on.",
        )


def check_before_removal(name: str, region: str, made: Collection[str], *, applied: bool) -> str:
    """Refuse to remove what the deployment's state does not hold; gives the VPC of the cluster, "" when that is gone.

    Args:
        name: of the cluster.
        region: AWS Region.
        made: addresses in the deployment's state.
        applied: whether this machine has deployed it before, so that what an earlier removal left may be swept.

    Raises:
        ClusterError: nothing proves that it is ours; nothing was changed.
        AwsError: AWS refused.
    """
    there = is_there(name, region)
    if not made and (there or not applied):
        what = (
            f"the cluster {name} is there, and its Terraform state is not" if there else f"no Terraform state of {name}"
        )
        raise ClusterError(
            f"{what}: tags alone do not show that it was deployed from here",
            remedy="Give --backend-bucket, or destroy it from the machine that made it.",
        )
    return str((cluster_of(name, region) or {}).get("resourcesVpcConfig", {}).get("vpcId") or "")


def check_versions(bucket: str, region: str) -> None:
    """A bucket of states keeps versions, or one bad write loses a cluster.

    Raises:
        UsageError: it keeps none.
        AwsError: AWS refused.
    """
    found: Mapping[str, Any] = call(lambda: client("s3", region).get_bucket_versioning(Bucket=bucket))
    if found.get("Status") != "Enabled":
        raise UsageError(
            f"--backend-bucket {bucket}: it keeps no versions of its objects, so a lost state stays lost",
            remedy=f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
        )


def adopt_old_state(bucket: str, bucket_region: str, account: str, region: str, name: str) -> bool:
    """Copy a state from where earlier releases kept it, `drydock/NAME.tfstate`, if it is of this account and Region.

    Returns:
        Whether it was copied. The old object stays, for the bucket's owner to remove.

    Raises:
        AwsError: AWS refused.
    """
    s3, old, new = client("s3", bucket_region), f"drydock/{name}.tfstate", state_key(account, region, name)
    if _exists(s3, bucket, new) or not _exists(s3, bucket, old):
        return False
    text = call(lambda: s3.get_object(Bucket=bucket, Key=old))["Body"].read().decode()
    if f"arn:aws:eks:{region}:{account}:cluster/{name}" not in text:
        return False
    call(lambda: s3.copy_object(Bucket=bucket, Key=new, CopySource={"Bucket": bucket, "Key": old}))
    return True


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        call(lambda: s3.head_object(Bucket=bucket, Key=key))
    except AwsError as error:
        if "404" in error.message or "Not Found" in error.message:
            return False
        raise
    return True
