"""Node pools and node classes."""

import email
import email.policy
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name, devices, labels_of_nodes, requirements, taints

CLUSTER = {"global": {"clusterName": "dev"}}
AUTO_MODE = {"global": {"clusterName": "dev", "autoMode": {"enabled": True}}}
CHART = "karpenter-nodepools"


def _values(classes: Any = None, pools: Any = None, **globals_: Any) -> dict[str, Any]:
    return {
        "global": {"clusterName": "dev", **globals_},
        "nodeClasses": dict(classes or {}),
        "nodePools": dict(pools or {}),
    }


def _render_class(render_chart: RenderChart, settings: Mapping[str, Any], **more: Any) -> Any:
    """The EC2NodeClass cpu with these settings."""
    return by_name(render_chart(CHART, _values({"cpu": settings}, **more)), "EC2NodeClass")["cpu"]


def _render_pool(render_chart: RenderChart, settings: Mapping[str, Any], name: str = "gpu", **more: Any) -> Any:
    """One NodePool with these settings."""
    return by_name(render_chart(CHART, _values(pools={name: settings}, **more)), "NodePool")[name]


def test_four_pools_and_a_class_for_each_accelerator(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, CLUSTER)
    pools = by_name(manifests, "NodePool")
    assert set(pools) == {"system-cpu", "general-cpu", "gpu", "neuron"}
    assert set(by_name(manifests, "EC2NodeClass")) == {"cpu", "gpu", "neuron"}
    assert {name: taints(pool) for name, pool in pools.items()} == {
        "system-cpu": {"CriticalAddonsOnly": "NoSchedule"},
        "general-cpu": {},
        "gpu": {"nvidia.com/gpu": "NoSchedule"},
        "neuron": {"aws.amazon.com/neuron": "NoSchedule"},
    }
    assert requirements(pools["general-cpu"])["karpenter.sh/capacity-type"]["values"] == ["spot", "on-demand"]
    assert requirements(pools["general-cpu"])["kubernetes.io/arch"]["values"] == ["amd64", "arm64"]
    for pool in pools.values():
        assert pool["spec"]["limits"]
        assert pool["spec"]["disruption"]["budgets"]
        assert pool["spec"]["template"]["spec"]["expireAfter"]
        assert pool["spec"]["template"]["spec"]["terminationGracePeriod"]


def test_both_helms_give_the_same_objects_each_time(render_chart: RenderChart) -> None:
    for values in CLUSTER, AUTO_MODE:
        assert render_chart(CHART, values, helm="helm3") == render_chart(CHART, values, helm="helm4")


def test_node_classes_keep_credentials_from_pods_and_encrypt(render_chart: RenderChart) -> None:
    for node_class in by_name(render_chart(CHART, CLUSTER), "EC2NodeClass").values():
        options = node_class["spec"]["metadataOptions"]
        assert options == {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}
        assert all(volume["encrypted"] for volume in devices(node_class).values())


def test_cluster_and_tags_come_from_the_globals(render_chart: RenderChart) -> None:
    spec = _render_class(render_chart, {"tags": {"tier": "cpu"}}, tags={"team": "ml", "tier": "all"})["spec"]
    discovery = [{"tags": {"karpenter.sh/discovery": "dev"}}]
    assert spec["subnetSelectorTerms"] == spec["securityGroupSelectorTerms"] == discovery
    assert spec["role"] == "KarpenterNodeRole-dev"
    assert spec["tags"] == {"team": "ml", "tier": "cpu"}


def test_a_missing_cluster_name_is_asked_for(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"set global\.clusterName"):
        render_chart(CHART)


def test_terms_replace_discovery_and_null_removes_one(render_chart: RenderChart) -> None:
    terms = {"b": {"id": "subnet-2"}, "a": {"tags": {"tier": "private"}}, "c": None}
    spec = _render_class(render_chart, {"subnetSelectorTerms": terms, "instanceProfile": "nodes"})["spec"]
    assert spec["subnetSelectorTerms"] == [{"tags": {"tier": "private"}}, {"id": "subnet-2"}]
    assert spec["instanceProfile"] == "nodes"
    assert "role" not in spec


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, [{"alias": "al2023@latest"}]),
        ({"amiVersion": "v20260714"}, [{"alias": "al2023@v20260714"}]),
        ({"amiFamily": "Bottlerocket", "amiVersion": "1.54.0"}, [{"alias": "bottlerocket@1.54.0"}]),
        ({"amiSelectorTerms": {"own": {"name": "gpu-*", "owner": "self"}}}, [{"name": "gpu-*", "owner": "self"}]),
    ],
)
def test_amis(render_chart: RenderChart, settings: Mapping[str, Any], terms: Any) -> None:
    assert _render_class(render_chart, settings)["spec"]["amiSelectorTerms"] == terms


def test_optional_fields_of_a_node_class(render_chart: RenderChart) -> None:
    settings = {
        "kubelet": {"maxPods": 50, "evictionHard": {"memory.available": "5%"}},
        "instanceStorePolicy": "RAID0",
        "placementGroup": {"name": "close"},
        "userData": "#!/bin/bash\necho hello",
    }
    spec = _render_class(render_chart, settings)["spec"]
    assert spec["kubelet"] == settings["kubelet"]
    assert spec["instanceStorePolicy"] == "RAID0"
    assert spec["placementGroupSelector"] == {"name": "close"}
    assert spec["userData"] == "#!/bin/bash\necho hello\n"
    bare = _render_class(render_chart, {})["spec"]
    assert not {"kubelet", "instanceStorePolicy", "placementGroupSelector", "userData", "networkInterfaces"} & set(bare)


def test_efa_puts_an_interface_on_every_network_card(render_chart: RenderChart) -> None:
    interfaces = _render_class(render_chart, {"efa": {"networkCards": 32}})["spec"]["networkInterfaces"]
    primary = [each for each in interfaces if each["interfaceType"] == "interface"]
    assert primary == [{"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}]
    efa = [each for each in interfaces if each["interfaceType"] == "efa-only"]
    assert [each["networkCardIndex"] for each in efa] == list(range(32))
    assert len({(each["networkCardIndex"], each["deviceIndex"]) for each in interfaces}) == 33


def test_network_interfaces_one_by_one(render_chart: RenderChart) -> None:
    own = {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}
    efa = {"networkCardIndex": 1, "deviceIndex": 1, "interfaceType": "efa-only"}
    spec = _render_class(render_chart, {"networkInterfaces": {"own": own, "first-efa": efa}})["spec"]
    assert spec["networkInterfaces"] == [efa, own]


def test_parallel_pulls_on_al2023_beside_a_script(render_chart: RenderChart) -> None:
    fast = {"sociParallelPull": {"enabled": True}, "instanceStorePolicy": "RAID0"}
    alone = yaml.safe_load(_render_class(render_chart, fast)["spec"]["userData"])
    assert alone["spec"]["featureGates"] == {"FastImagePull": True}
    for own, kind in ("#!/bin/bash\necho hi", "text/x-shellscript"), ("kind: NodeConfig", "application/node.eks.aws"):
        text = _render_class(render_chart, {**fast, "userData": own})["spec"]["userData"]
        config, mine = email.message_from_string(text, policy=email.policy.default).iter_parts()
        assert yaml.safe_load(config.get_content()) == alone
        assert mine.get_content_type() == kind
        assert mine.as_bytes().decode().endswith(f"\n\n{own}\n")


def test_parallel_pulls_on_bottlerocket_beside_settings(render_chart: RenderChart) -> None:
    settings = {
        "amiFamily": "Bottlerocket",
        "sociParallelPull": {"enabled": True},
        "instanceStorePolicy": "RAID0",
        "userData": "[settings.kubernetes]\nkube-api-qps = 30",
    }
    user_data = tomllib.loads(_render_class(render_chart, settings)["spec"]["userData"])["settings"]
    assert user_data["container-runtime"] == {"snapshotter": "soci"}
    assert user_data["container-runtime-plugins"]["soci-snapshotter"] == {"pull-mode": "parallel-pull-unpack"}
    assert user_data["kubernetes"] == {"kube-api-qps": 30}


def test_a_later_file_changes_one_requirement(render_chart: RenderChart) -> None:
    before = requirements(by_name(render_chart(CHART, CLUSTER), "NodePool")["gpu"])
    family = {"karpenter.k8s.aws/instance-family": {"operator": "In", "values": ["g6", "g6e"], "minValues": 2}}
    after = requirements(_render_pool(render_chart, {"requirements": family}))
    added = after.pop("karpenter.k8s.aws/instance-family")
    assert added["values"] == ["g6", "g6e"]
    assert added["minValues"] == 2
    assert after == before


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_a_default_requirement_is_lifted(render_chart: RenderChart, helm: str) -> None:
    category, name = "karpenter.k8s.aws/instance-category", "karpenter.k8s.aws/instance-gpu-name"
    lifted = {category: {"operator": "Exists", "values": None}, name: None}
    values = _values(pools={"gpu": {"requirements": lifted}})
    after = requirements(by_name(render_chart(CHART, values, helm=helm), "NodePool")["gpu"])
    assert after[category] == {"key": category, "operator": "Exists"}
    assert name not in after


def test_a_pool_of_ones_own_inherits_what_its_accelerator_needs(render_chart: RenderChart) -> None:
    pool = _render_pool(render_chart, {"accelerator": "nvidia", "nodeClass": "cpu"}, name="mine")
    assert taints(pool) == {"nvidia.com/gpu": "NoSchedule"}
    assert requirements(pool)["karpenter.k8s.aws/instance-gpu-manufacturer"]["values"] == ["nvidia"]
    assert pool["spec"]["template"]["spec"]["nodeClassRef"]["name"] == "cpu"


def test_zones_of_a_pool_before_those_of_all(render_chart: RenderChart) -> None:
    pools = {"gpu": {"zones": ["us-west-2c"]}, "neuron": {}}
    rendered = by_name(render_chart(CHART, _values(pools=pools, zones=["us-west-2a", "us-west-2b"])), "NodePool")
    zone = "topology.kubernetes.io/zone"
    assert requirements(rendered["gpu"])[zone]["values"] == ["us-west-2c"]
    assert requirements(rendered["neuron"])[zone]["values"] == ["us-west-2a", "us-west-2b"]


def test_optional_fields_of_a_pool(render_chart: RenderChart) -> None:
    settings = {
        "weight": 10,
        "labels": {"team": "ml"},
        "taints": {"team": {"value": "ml", "effect": "NoExecute"}},
        "startupTaints": {"starting": {"effect": "NoSchedule"}},
        "limits": {"cpu": 8, "nvidia.com/gpu": None},
        "disruption": {"budgets": {"day": {"nodes": "0", "schedule": "0 8 * * *", "duration": "8h"}}},
    }
    pool = _render_pool(render_chart, settings)
    spec = pool["spec"]["template"]["spec"]
    assert pool["spec"]["weight"] == 10
    assert labels_of_nodes(pool)["team"] == "ml"
    assert taints(pool) == {"nvidia.com/gpu": "NoSchedule", "team": "NoExecute"}
    assert spec["startupTaints"] == [{"key": "starting", "effect": "NoSchedule"}]
    assert pool["spec"]["limits"] == {"cpu": 8}
    assert len(pool["spec"]["disruption"]["budgets"]) == 2


def test_static_capacity(render_chart: RenderChart) -> None:
    pool = _render_pool(render_chart, {"replicas": 0, "limits": {"nvidia.com/gpu": None, "nodes": 3}})
    assert pool["spec"]["replicas"] == 0
    assert pool["spec"]["limits"] == {"nodes": 3}
    assert "weight" not in pool["spec"]


def test_reservations_with_and_without_fallback(render_chart: RenderChart) -> None:
    terms = {"block": {"id": "cr-0123"}, "all": {"tags": {"use": "ml"}, "ownerID": "123456789012"}}
    classes = {"gpu": {"capacityReservationSelectorTerms": terms}}
    for types in ["reserved"], ["reserved", "on-demand"]:
        manifests = render_chart(CHART, _values(classes, {"gpu": {"capacityTypes": types}}))
        spec = by_name(manifests, "EC2NodeClass")["gpu"]["spec"]
        assert spec["capacityReservationSelectorTerms"] == [terms["all"], terms["block"]]
        pool = by_name(manifests, "NodePool")["gpu"]
        assert requirements(pool)["karpenter.sh/capacity-type"]["values"] == types


def test_auto_mode_gives_its_own_kind_and_labels(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, AUTO_MODE)
    assert {each.kind for each in manifests} == {"NodeClass", "NodePool"}
    assert "karpenter.k8s.aws" not in "".join(each.text for each in manifests)
    for name, pool in by_name(manifests, "NodePool").items():
        reference = pool["spec"]["template"]["spec"]["nodeClassRef"]
        assert (reference["group"], reference["kind"]) == ("eks.amazonaws.com", "NodeClass"), name
    gpu = by_name(manifests, "NodePool")["gpu"]
    assert requirements(gpu)["eks.amazonaws.com/instance-gpu-manufacturer"]["values"] == ["nvidia"]


def test_the_same_values_render_both_ways(render_chart: RenderChart) -> None:
    terms = {"mine": {"tags": {"use": "ml"}, "ownerID": "123456789012"}}
    classes = {
        "gpu": {
            "volume": {"size": "500Gi", "kmsKeyID": "alias/nodes"},
            "capacityReservationSelectorTerms": terms,
            "kubelet": {"maxPods": 50},
            "autoMode": {"networkPolicy": "DefaultDeny"},
        }
    }
    pools = {"gpu": {"capacityTypes": ["reserved"], "replicas": 2, "limits": {"nvidia.com/gpu": None}}}
    karpenter = render_chart(CHART, _values(classes, pools))
    auto_mode = render_chart(CHART, _values(classes, pools, autoMode={"enabled": True}))
    assert [each.name for each in karpenter] == [each.name for each in auto_mode]
    spec = by_name(auto_mode, "NodeClass")["gpu"]["spec"]
    assert spec["ephemeralStorage"] == {"size": "500Gi", "iops": 3000, "throughput": 125, "kmsKeyID": "alias/nodes"}
    assert spec["capacityReservationSelectorTerms"] == [{"tags": {"use": "ml"}, "owner": "123456789012"}]
    assert spec["networkPolicy"] == "DefaultDeny"


def test_classes_and_pools_can_be_left_out(render_chart: RenderChart) -> None:
    classes = {"neuron": {"enabled": False}}
    manifests = render_chart(CHART, _values(classes, {"neuron": {"enabled": False}, "system-cpu": {"enabled": False}}))
    assert set(by_name(manifests, "NodePool")) == {"general-cpu", "gpu"}
    assert set(by_name(manifests, "EC2NodeClass")) == {"cpu", "gpu"}


SNAPSHOT = {"amiFamily": "Bottlerocket", "volume": {"snapshotID": "snap-1", "volumeInitializationRate": 100}}
RESERVED = {"capacityReservationSelectorTerms": {"mine": {"id": "cr-0123"}}}
REFUSED_CLASSES = [
    ({"role": "one", "instanceProfile": "two"}, "role and instanceProfile exclude each other"),
    ({"amiVersion": "1.54.0"}, "'1.54.0' is no release of AL2023: set latest or one like v20260714"),
    ({"amiFamily": "Bottlerocket", "amiVersion": "v20260714"}, "is no release of Bottlerocket"),
    ({"volume": {"throughput": 1000}}, "with throughput 1000 set iops to 4000 or more"),
    (
        {**SNAPSHOT, "instanceStorePolicy": "RAID0"},
        'snapshotID: its images are not found .* set instanceStorePolicy to ""',
    ),
    (
        {**SNAPSHOT, "sociParallelPull": {"enabled": True}, "instanceStorePolicy": "RAID0"},
        "sociParallelPull.enabled to false",
    ),
    ({**SNAPSHOT, "amiFamily": "AL2023"}, "on AL2023 the snapshot would replace the system"),
    ({"amiFamily": "Bottlerocket", "volume": {"snapshotID": "snap-1"}}, "volumeInitializationRate.* set 100 to 300"),
    ({"volume": {"volumeInitializationRate": 100}}, "set volume.snapshotID, or leave the rate at 0"),
    ({"sociParallelPull": {"enabled": True}}, "slower with it on a disk of 125 MiB/s: set volume.throughput to 600"),
    (
        {"sociParallelPull": {"enabled": True}, "instanceStorePolicy": "RAID0", "userData": "MIME-Version: 1.0"},
        "a multi-part message cannot be joined",
    ),
    (
        {"sociParallelPull": {"enabled": True}, "instanceStorePolicy": "RAID0", "userData": "Content-Type: text/x"},
        "a multi-part message cannot be joined",
    ),
    (
        {
            "amiFamily": "Bottlerocket",
            "sociParallelPull": {"enabled": True},
            "instanceStorePolicy": "RAID0",
            "userData": "[settings.container-runtime]",
        },
        "settings.container-runtime is set by sociParallelPull",
    ),
    ({"amiFamily": "Bottlerocket", "kubelet": {"podsPerCore": 2}}, "Bottlerocket does not apply it: set maxPods"),
    ({"placementGroup": {"name": "a", "id": "pg-1"}}, "name and id exclude each other"),
    (
        {
            "efa": {"networkCards": 1},
            "networkInterfaces": {"a": {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}},
        },
        "efa.networkCards and networkInterfaces exclude each other",
    ),
    (RESERVED, "no enabled pool of this class takes reserved capacity"),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED_CLASSES)
def test_node_classes_that_cannot_work(render_chart: RenderChart, settings: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=rf"nodeClasses\.cpu.*{reason}"):
        _render_class(render_chart, settings)


CATEGORY = "karpenter.k8s.aws/instance-category"
REFUSED_POOLS = [
    ({"nodeClass": "none-such"}, "no enabled node class 'none-such': set one of cpu, gpu, neuron"),
    ({"capacityTypes": ["reserved"]}, r"reserved needs .* set nodeClasses\.gpu\.capacityReservationSelectorTerms"),
    ({"requirements": {"kubernetes.io/arch": {"operator": "Exists"}}}, r"set nodePools\.gpu\.architectures"),
    ({"requirements": {"topology.kubernetes.io/zone": {"operator": "Exists"}}}, r"set nodePools\.gpu\.zones"),
    ({"requirements": {CATEGORY: {"operator": "In", "values": []}}}, "In needs values"),
    ({"requirements": {CATEGORY: {"operator": "Exists"}}}, "Exists takes no values: set values to null"),
    ({"requirements": {"cpus": {"operator": "Gt", "values": ["many"]}}}, "compares with one whole number"),
    ({"requirements": {"cpus": {"operator": "In", "values": ["1"], "minValues": 2}}}, "minValues 2 asks for more"),
    ({"replicas": 1, "weight": 5}, "a pool of fixed size takes none: set it to 0"),
    ({"replicas": 1}, "no limit but nodes: set nvidia.com/gpu to null"),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED_POOLS)
def test_pools_that_cannot_work(render_chart: RenderChart, settings: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=rf"nodePools\.gpu.*{reason}"):
        _render_pool(render_chart, settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (CATEGORY, {"operator": "In", "values": ["m", "g"]}),
        ("eks.amazonaws.com/instance-category", {"operator": "In", "values": ["trn"]}),
        ("karpenter.k8s.aws/instance-family", {"operator": "In", "values": ["g6e"]}),
        ("node.kubernetes.io/instance-type", {"operator": "In", "values": ["inf2.xlarge"]}),
        ("karpenter.k8s.aws/instance-gpu-count", {"operator": "Gt", "values": ["0"]}),
    ],
)
def test_accelerated_types_without_the_taint_are_refused(render_chart: RenderChart, key: str, value: Any) -> None:
    with pytest.raises(RenderError, match=r"set nodePools\.mine\.accelerator to nvidia or neuron"):
        _render_pool(render_chart, {"requirements": {key: value}}, name="mine")


@pytest.mark.parametrize(
    ("classes", "reason"),
    [
        ({"default": {}}, "Auto Mode has a node class of this name already"),
        ({"cpu": {"placementGroup": {"name": "close"}}}, "Auto Mode's NodeClass has none"),
    ],
)
def test_what_auto_mode_cannot_do(render_chart: RenderChart, classes: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render_chart(CHART, _values(classes, autoMode={"enabled": True}))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"nodePools": {"gpu": {"limit": {}}}}, r"/nodePools/gpu.*additional properties 'limit' not allowed"),
        ({"nodeClasses": {"gpu": {"volume": {"size": 100}}}}, r"/nodeClasses/gpu/volume/size.*want string"),
        ({"nodePools": {"gpu": {"architectures": []}}}, r"/nodePools/gpu/architectures.*minItems"),
        ({"nodePools": {"GPU": {}}}, "propertyNames|invalid propertyName"),
    ],
)
def test_the_schema_names_what_is_wrong(render_chart: RenderChart, values: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        render_chart(CHART, {**CLUSTER, **values})


IN_AUTO_MODE: Mapping[str, Any] = {"autoMode": {"enabled": True}}


@pytest.mark.parametrize(("auto_mode", "age"), [({}, "720h"), (IN_AUTO_MODE, "336h")])
def test_nodes_live_as_long_as_who_runs_them_allows(
    render_chart: RenderChart, auto_mode: Mapping[str, Any], age: str
) -> None:
    pools = by_name(render_chart(CHART, _values({}, {}, **auto_mode)), "NodePool")
    assert {each["spec"]["template"]["spec"]["expireAfter"] for each in pools.values()} == {age}


@pytest.mark.parametrize(
    ("pool", "reason"),
    [
        ({"expireAfter": "720h"}, r"720h and terminationGracePeriod 1h are more than the 21 days \(504h\)"),
        ({"expireAfter": "504h"}, "lower one of them"),
        ({"expireAfter": "400h", "terminationGracePeriod": "105h"}, "lower one of them"),
        ({"expireAfter": "Never"}, "set 480h or less in place of Never"),
    ],
)
def test_auto_mode_refuses_a_longer_life(render_chart: RenderChart, pool: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=rf"nodePools\.gpu\.expireAfter: .*{reason}"):
        render_chart(CHART, _values({}, {"gpu": pool}, **IN_AUTO_MODE))
    render_chart(CHART, _values({}, {"gpu": {"expireAfter": "502h59m"}}, **IN_AUTO_MODE))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (SNAPSHOT, r"volume\.snapshotID: Auto Mode's NodeClass has no snapshot"),
        (
            {"capacityReservationSelectorTerms": {"mine": {"id": "cr-1", "instanceMatchCriteria": "open"}}},
            "leave instanceMatchCriteria out",
        ),
    ],
)
def test_auto_mode_refuses_what_its_node_class_lacks(
    render_chart: RenderChart, settings: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(RenderError, match=rf"nodeClasses\.cpu.*{reason}"):
        render_chart(CHART, _values({"cpu": settings}, {}, **IN_AUTO_MODE))


def test_efa_begins_at_the_card_that_has_it(render_chart: RenderChart) -> None:
    interfaces = _render_class(render_chart, {"efa": {"networkCards": 2, "firstCard": 1}})["spec"]["networkInterfaces"]
    assert [(each["networkCardIndex"], each["interfaceType"]) for each in interfaces] == [
        (0, "interface"),
        (1, "efa-only"),
        (2, "efa-only"),
    ]
