"""What holds data in an account and goes with a cluster, for people who are about to remove it."""

from collections.abc import Iterator
from typing import Any

from drydock.deploy.eks.caller import AwsError, call, client
from drydock.deploy.eks.leftovers import CLUSTER_TAG

_BUCKETS = ("models", "artifacts", "audit")
_MANY = 1000


def data_of(cluster: str, account: str, region: str) -> tuple[str, ...]:
    """Buckets with objects in them, and volumes, one line each.

    Raises:
        AwsError: AWS refused.
    """
    volumes = call(
        lambda: client("ec2", region).describe_volumes(Filters=[{"Name": f"tag:{CLUSTER_TAG}", "Values": [cluster]}])
    )["Volumes"]
    size = sum(int(volume["Size"]) for volume in volumes)
    held = (f"{len(volumes)} volumes, {size} GiB",) if volumes else ()
    return *_buckets(client("s3", region), cluster, account), *held


def _buckets(s3: Any, cluster: str, account: str) -> Iterator[str]:
    for use in _BUCKETS:
        bucket = f"{cluster}-{use}-{account}"
        try:
            found = call(lambda name=bucket: s3.list_objects_v2(Bucket=name, MaxKeys=_MANY))  # type: ignore[misc]
        except AwsError as error:
            if "NoSuchBucket" not in error.message:
                raise
            continue
        if count := found["KeyCount"]:
            more = " and more" if found.get("IsTruncated") else ""
            yield f"bucket {bucket}: {count} objects{more}"
