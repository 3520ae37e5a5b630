"""`drydock facts`: where facts of AWS stand, and how they are brought up to date."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from drydock.deploy.eks.caller import AwsError
from drydock.deploy.refresh_facts import DATA, FACTS, day_read, refresh
from tests.conftest import Drydock

REGION = "us-west-2"
VERSIONS = [
    {
        "clusterVersion": "1.36",
        "endOfStandardSupportDate": 1812326400,  # 2027-06-07
        "endOfExtendedSupportDate": 1843862400,  # 2028-06-06
    },
    {"clusterVersion": "1.37"},
]
AMIS = "/aws/service/eks/optimized-ami/{minor}/amazon-linux-2023/x86_64/standard/{name}/image_id"
RELEASE = "amazon-eks-node-al2023-x86_64-standard-{minor}-{release}"
OFFERED = {"v20261112": ("1.35", "1.36"), "v20260724": ("1.36",), "v20260714": ("1.36",)}
USAGE = {
    "AmazonEKS": {"USW2-AmazonEKS-Hours:perCluster": "0.1100000000", "USW2-AmazonEKS-Hours:extendedSupport": "0.7"},
    "AmazonEC2": {"USW2-NatGateway-Hours": "0.05", "USW2-NatGateway-Bytes": "0.045"},
    "AmazonVPC": {},
}


def product(usage: str, price: str) -> str:
    dimensions = {"rate": {"unit": "Hrs", "pricePerUnit": {"USD": price}}}
    attributes = {"usagetype": usage, "regionCode": REGION}
    return json.dumps(
        {"product": {"attributes": attributes}, "terms": {"OnDemand": {"term": {"priceDimensions": dimensions}}}}
    )


def answer(request: Request) -> Mapping[str, Any]:
    """In the shapes of EKS, Systems Manager, Service Quotas and the price list."""
    if request.path == "/cluster-versions":
        return {"clusterVersions": VERSIONS}
    target, asked = request.headers.get("X-Amz-Target", ""), json.loads(request.get_data())
    if target.endswith("GetParametersByPath"):
        parts = asked["Path"].split("/")
        named = [RELEASE.format(minor=parts[5], release=each) for each, minors in OFFERED.items() if parts[5] in minors]
        names = [AMIS.format(minor=parts[5], name=name) for name in (*named, "recommended")]
        return {"Parameters": [{"Name": name, "Type": "String", "Value": "ami-1"} for name in names]}
    if target.endswith("ListAWSDefaultServiceQuotas"):
        return {"Quotas": [{"ServiceCode": "ec2", "QuotaCode": "L-417A185B", "Value": 96.0}]}
    return {"PriceList": [product(*pair) for pair in USAGE[asked["ServiceCode"]].items()]}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """AWS on a loopback port; a status in the list is answered in place of the facts."""
    refusals: list[int] = []

    @Request.application
    def application(request: Request) -> Response:
        if refusals:
            return Response('{"__type": "AccessDeniedException", "message": "no"}', refusals[0])
        return Response(json.dumps(answer(request)), content_type="application/x-amz-json-1.1")

    server = make_server("127.0.0.1", 0, application, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield refusals
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_refresh_takes_what_aws_answers_and_leaves_the_rest(aws: list[int], tmp_path: Path) -> None:
    assert not aws
    done = {each.file: each.changes for each in refresh(REGION, tmp_path)}
    new = {name: yaml.safe_load((tmp_path / name).read_text()) for name in done}
    versions = new["eks-versions.yaml"]
    assert str(versions["versions"]["1.36"]["standard"]) == "2027-06-07"
    assert versions["versions"]["1.37"] == {"standard": None, "extended": None}
    assert next(iter(versions["versions"])) == "1.37", "the newest first"
    assert "1.30" in versions["versions"]
    assert versions["dollars_per_hour"] == {"standard": 0.11, "extended": 0.7}
    releases = new["ami-releases.yaml"]["al2023"]
    assert releases["v20261112"] == ["1.35", "1.36"]
    assert list(releases) == sorted(releases, reverse=True)
    assert releases["v20260724"] == ["1.36", "1.36"], "what was not known"
    assert releases["v20260714"] == ["1.30", "1.36"], "the notes of the release say more"
    assert new["ec2-quotas.yaml"]["families"]["P"]["onDemand"]["default"] == 96
    assert new["ec2-quotas.yaml"]["families"]["G"]["onDemand"]["default"] == 0
    prices = new["eks-prices.yaml"]
    assert (prices["aws_eks_cluster"], prices["aws_nat_gateway"], prices["aws_eip"]) == (0.11, 0.05, 0.005)
    assert 'v20261112: ["1.35", "1.36"]' in done["ami-releases.yaml"]


def test_comments_stay_and_the_day_is_todays(aws: list[int], tmp_path: Path) -> None:
    assert not aws
    for each in refresh(REGION, tmp_path):
        before, after = ((folder / each.file).read_text() for folder in (DATA, tmp_path))
        comments = [line for line in before.splitlines() if line.startswith("#")]
        assert [line for line in after.splitlines() if line.startswith("#")] == comments
        assert day_read(after) >= day_read(before)
        assert yaml.safe_load(after).keys() == yaml.safe_load(before).keys()


def test_nothing_is_written_when_aws_refuses(aws: list[int], tmp_path: Path) -> None:
    aws.append(403)
    with pytest.raises(AwsError, match="AccessDenied"):
        list(refresh(REGION, tmp_path))
    assert not list(tmp_path.iterdir())


def test_every_fact_says_when_it_was_read(drydock: Drydock) -> None:
    done = drydock("facts", "--format", "json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert [each["file"] for each in listed["facts"]] == [fact.file for fact in FACTS]
    assert listed["changes"] == {}
    assert all(each["read"] for each in listed["facts"]), listed["facts"]


def test_the_command_shows_what_is_new(aws: list[int], drydock: Drydock, tmp_path: Path) -> None:
    assert not aws
    done = drydock("facts", "--refresh", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'v20261112: ["1.35", "1.36"]' in done.stdout
