"""The chart vllm: adapters and weights in S3, and whose role reads them."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import HUB, S3, container, pod, render, the, volumes

IN_S3 = {"sql": {"path": "s3://adapters/team/sql"}}
REGION: dict[str, Any] = {"global": {"region": "us-west-2"}}


def _volume(render_chart: RenderChart, source: Any, **model: Any) -> Any:
    """Attributes of the one PersistentVolume."""
    manifests = render(render_chart, {"source": source, **model}, **REGION)
    (found,) = [each.content for each in manifests if each.kind == "PersistentVolume"]
    return found["spec"]["csi"]["volumeAttributes"]


# Adapters


@pytest.mark.parametrize("source", [HUB, S3])
def test_an_adapter_in_s3_is_mounted_read_only_wherever_the_model_is(render_chart: RenderChart, source: Any) -> None:
    model = {"source": source, "engine": {"loraAdapters": IN_S3}}
    manifests = render(render_chart, model, **REGION)
    mounted = volumes(pod(render_chart, model, **REGION))["/adapters/sql"]["persistentVolumeClaim"]
    assert mounted["claimName"].startswith("genai-vllm-small-lora-sql-")
    assert mounted["readOnly"] is True
    by_claim = {
        each.content["spec"]["claimRef"]["name"]: each.content["spec"]
        for each in manifests
        if each.kind == "PersistentVolume"
    }
    volume = by_claim[mounted["claimName"]]
    assert volume["csi"]["volumeAttributes"]["bucketName"] == "adapters"
    assert {"prefix team/sql/", "read-only", "region us-west-2"} <= set(volume["mountOptions"])
    assert len({each["csi"]["volumeHandle"] for each in by_claim.values()}) == len(by_claim)
    claims = {each.name for each in manifests if each.kind == "PersistentVolumeClaim"}
    assert claims == set(by_claim)
    args = container(render_chart, model)["args"]
    assert args[args.index("--lora-modules") + 1] == '{"name":"sql","path":"/adapters/sql"}'


def test_adapters_whose_names_differ_by_signs_do_not_meet(render_chart: RenderChart) -> None:
    adapters = {name: {"path": "s3://adapters/x"} for name in ("a.b", "a_b", "A-b", "a-b")}
    manifests = render(render_chart, {"engine": {"loraAdapters": adapters}})
    assert len({each.name for each in manifests if each.kind == "PersistentVolumeClaim"}) == len(adapters)
    assert len({each["name"] for each in pod(render_chart, {"engine": {"loraAdapters": adapters}})["volumes"]}) == 7


@pytest.mark.parametrize(
    ("ranks", "most", "argument"),
    [((8, 24), None, "--max-lora-rank=32"), ((4,), None, "--max-lora-rank=8"), ((8,), 64, "--max-lora-rank=64")],
)
def test_the_highest_rank_follows_from_the_adapters(
    render_chart: RenderChart, ranks: tuple[int, ...], most: int | None, argument: str
) -> None:
    adapters = {f"a{rank}": {"path": "some/adapter", "rank": rank} for rank in ranks}
    args = container(render_chart, {"engine": {"loraAdapters": adapters, "maxLoraRank": most}})["args"]
    assert argument in args


def test_a_rank_that_vllm_would_refuse(render_chart: RenderChart) -> None:
    engine = {"loraAdapters": {"sql": {"path": "some/adapter", "rank": 64}}, "maxLoraRank": 16}
    with pytest.raises(RenderError, match=r"loraAdapters\.sql\.rank: 64 is above maxLoraRank 16"):
        render(render_chart, {"engine": engine})


# Changes


@pytest.mark.parametrize(
    "change",
    [
        {"s3": {"uri": "s3://weights/some/other"}},
        {"s3": {"uri": "s3://elsewhere/some/model"}},
        {"s3": {**S3["s3"], "region": "eu-west-1"}},
        {"s3": {**S3["s3"], "authenticationSource": "pod"}},
        {"size": "16Gi"},
    ],
)
def test_another_volume_has_another_name_and_pods_that_mount_it(render_chart: RenderChart, change: Any) -> None:
    def names(source: Any) -> tuple[str, str, str]:
        manifests = render(render_chart, {"source": source}, **REGION)
        volume, claim = the(manifests, "PersistentVolume"), the(manifests, "PersistentVolumeClaim")
        spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
        mounted = volumes(spec)["/model"]["persistentVolumeClaim"]["claimName"]
        assert (claim["metadata"]["name"], volume["spec"]["csi"]["volumeHandle"]) == (
            mounted,
            volume["metadata"]["name"],
        )
        return volume["metadata"]["name"], claim["metadata"]["name"], mounted

    before = names(S3)
    assert before == names(S3)
    after = names({**S3, **change})
    assert all(old != new for old, new in zip(before, after, strict=True)), "Kubernetes changes no volume"


def test_other_devices_are_claimed_by_another_template(render_chart: RenderChart) -> None:
    def template(count: int) -> str:
        model = {"accelerator": {"dynamicResourceAllocation": True, "count": count}}
        name: str = the(render(render_chart, model), "ResourceClaimTemplate")["metadata"]["name"]
        (claim,) = pod(render_chart, model)["resourceClaims"]
        assert claim["resourceClaimTemplateName"] == name
        return name

    assert len({template(count) for count in (1, 2)}) == 2, "Kubernetes changes no template of claims"


# Roles


def test_the_drivers_role_reads_the_bucket_unless_told_otherwise(render_chart: RenderChart) -> None:
    assert _volume(render_chart, S3) == {"bucketName": "weights"}


@pytest.mark.parametrize(("own", "region"), [("", "us-west-2"), ("eu-west-1", "eu-west-1")])
def test_the_pods_own_role_reads_the_bucket(render_chart: RenderChart, own: str, region: str) -> None:
    source = {**S3, "s3": {**S3["s3"], "authenticationSource": "pod", "stsRegion": own}}
    assert _volume(render_chart, source) == {
        "bucketName": "weights",
        "authenticationSource": "pod",
        "stsRegion": region,
    }


def test_a_model_may_have_a_service_account_of_its_own(render_chart: RenderChart) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/small"}
    shared = pod(render_chart, {})["serviceAccountName"]
    model = {"serviceAccount": {"own": True, "annotations": role}}
    accounts = {each.name: each.content for each in render(render_chart, model) if each.kind == "ServiceAccount"}
    own = pod(render_chart, model)["serviceAccountName"]
    assert set(accounts) == {shared, own}
    assert own != shared
    assert accounts[own]["metadata"]["annotations"] == role
    assert accounts[own]["automountServiceAccountToken"] is False
    assert "annotations" not in accounts[shared]["metadata"]


def test_attributes_of_a_volume_make_another_volume(render_chart: RenderChart) -> None:
    """PersistentVolumes are immutable; without attributes the name is the one that it was before they existed."""
    bounds = {"mountpointContainerResourcesRequestsMemory": "1Gi", "mountpointContainerResourcesLimitsMemory": "4Gi"}

    def volume_name(attributes: dict[str, str]) -> str:
        source = {**S3, "s3": {**S3["s3"], "volumeAttributes": attributes}}
        found = _volume(render_chart, source)
        assert {name: found[name] for name in attributes} == attributes
        claimed = volumes(pod(render_chart, {"source": source}, **REGION))["/model"]["persistentVolumeClaim"]
        return str(claimed["claimName"])

    names = [volume_name({}), volume_name(bounds)]
    assert (
        names[0] == volumes(pod(render_chart, {"source": S3}, **REGION))["/model"]["persistentVolumeClaim"]["claimName"]
    )
    assert names[0] != names[1]
    for taken in ("bucketName", "stsRegion"):
        with pytest.raises(RenderError, match="propertyName"):
            volume_name({taken: "x"})
