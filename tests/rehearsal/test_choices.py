"""Pure parts of the rehearsal: what is read from Karpenter's words, and the choice that stands in for EC2 Fleet's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drydock.errors import ClusterError
from drydock.outcome.decisions import Decided, RoundBegan
from drydock.outcome.exclusions import read_exclusions, shorten
from drydock.outcome.fleet import CAPACITY_TYPE, INSTANCE_TYPE, RESERVATION, ZONE, Offers, narrow, reserved_launch
from drydock.outcome.observe import Scene
from drydock.outcome.troubles import actionable_warnings
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.karpenter import LogReader
from drydock.rehearsal.prerequisites import find_prerequisites
from drydock.suite.cluster_description import described
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import parse_manifests
from tests.rehearsal.small import Content, claim, node_pool, to_yaml

BOTH = frozenset({"us-west-2a", "us-west-2b"})
OFFERS = Offers(
    zones={"g5.xlarge": BOTH, "g6.xlarge": BOTH, "g6.2xlarge": frozenset({"us-west-2b"})},
    on_demand={"g5.xlarge": 1.006, "g6.xlarge": 0.8048, "g6.2xlarge": 0.9776},
    reservations=(CapacityReservation("cr-00000000000000001", "g6.2xlarge", "us-west-2b", 1, "default", {}),),
)
ANY_GPU = [{"key": INSTANCE_TYPE, "operator": "In", "values": ["g5.xlarge", "g6.2xlarge", "g6.xlarge"], "minValues": 2}]


def chosen(*more: Content) -> dict[str, Any]:
    found = narrow([*ANY_GPU, *more], BOTH, OFFERS)
    assert found is not None
    return {each["key"]: each["values"] for each in found if each["operator"] == "In"}


def one(key: str, *values: str, operator: str = "In") -> Content:
    return {"key": key, "operator": operator, "values": list(values)}


def test_the_cheapest_offering_is_chosen() -> None:
    assert chosen() == {INSTANCE_TYPE: ["g6.xlarge"], ZONE: ["us-west-2a"]}
    assert chosen(one(ZONE, "us-west-2a", operator="NotIn"))[ZONE] == ["us-west-2b"]


def test_a_reservation_is_chosen_by_what_it_holds() -> None:
    reserved = (one(CAPACITY_TYPE, "reserved"), one(RESERVATION, "cr-00000000000000001"))
    assert chosen(*reserved)[INSTANCE_TYPE] == ["g6.2xlarge"]
    assert chosen(*reserved)[ZONE] == ["us-west-2b"]
    narrowed = narrow([*ANY_GPU, *reserved], BOTH, OFFERS)
    assert narrowed
    assert reserved_launch(narrowed, OFFERS) == ("g6.2xlarge", "us-west-2b")
    assert reserved_launch([one(INSTANCE_TYPE, "g6.2xlarge"), one(ZONE, "us-west-2b")], OFFERS) is None, "on demand"
    block = replace(OFFERS, reservations=(replace(OFFERS.reservations[0], kind="capacity-block"),))
    assert reserved_launch(narrowed, block) is None, "EC2 counts it against no quota by itself"
    full = one(CAPACITY_TYPE, "reserved", "on-demand")
    assert chosen(full)[INSTANCE_TYPE] == ["g6.xlarge"], "Karpenter names a reservation when it has room"


def test_where_nothing_can_be_launched_another_zone_or_type_is_chosen() -> None:
    def refuses(name: str, market: str, zone: str) -> bool:
        return market == "on-demand" and (zone == "us-west-2a" or name == "g6.xlarge")

    found = narrow([*ANY_GPU, one(CAPACITY_TYPE, "on-demand")], BOTH, replace(OFFERS, refuses=refuses))
    assert found
    assert found[-2:] == [one(INSTANCE_TYPE, "g6.2xlarge"), one(ZONE, "us-west-2b")]
    assert narrow(ANY_GPU, BOTH, replace(OFFERS, refuses=lambda *_: True)) is None, "Karpenter sees each refusal"


def test_what_nothing_offers_is_left_to_karpenter() -> None:
    assert narrow([*ANY_GPU, one(ZONE, "us-west-2c")], BOTH, OFFERS) is None
    assert narrow([one(ZONE, "us-west-2a")], BOTH, OFFERS) is None


def test_an_offering_without_a_known_price_is_never_chosen_by_its_name() -> None:
    unpriced = replace(OFFERS, on_demand={"g6.2xlarge": 0.9776})
    with pytest.raises(ClusterError, match=r"no price of g5\.xlarge is known"):
        narrow(ANY_GPU, BOTH, unpriced)
    with pytest.raises(ClusterError, match="the cheapest cannot be named"):
        narrow(ANY_GPU, BOTH, replace(OFFERS, on_demand={}))
    only = [one(INSTANCE_TYPE, "g5.xlarge")]
    assert narrow(only, BOTH, unpriced) == [one(INSTANCE_TYPE, "g5.xlarge"), one(ZONE, "us-west-2a")]


def test_reasons_without_a_pools_name_are_told_in_the_order_of_weight_and_name_backwards() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    pools = [
        node_pool("a", "x", {}, taints=["one", "two"]) | ready,
        node_pool("b", "x", {}) | ready,
        node_pool("heavy", "x", {}, taints=["one"], weight=5) | ready,
        node_pool("static", "x", {}, replicas=1) | ready,
        node_pool("waiting", "x", {}),
    ]
    causes = [
        "did not tolerate taint (taint=one:NoSchedule)",
        "incompatible requirements, key karpenter.sh/nodepool, "
        "karpenter.sh/nodepool In [a] not in karpenter.sh/nodepool In [b]",
        "did not tolerate taint (taint=one:NoSchedule)",
        "did not tolerate taint (taint=two:NoSchedule)",
    ]
    found = read_exclusions(causes, pools, {})
    assert list(found) == ["a", "b", "heavy", "static", "waiting"]
    assert found["heavy"] == causes[0]
    assert found["b"] == causes[1]
    assert found["a"] == f"{causes[2]}; {causes[3]}"
    assert "static capacity" in found["static"]
    assert found["waiting"].startswith("not ready")


def test_karpenters_own_labels_are_left_out_of_a_reason() -> None:
    own = "karpenter.k8s.aws/ec2nodeclass In [gpu], karpenter.sh/initialized In [true], karpenter.sh/nodepool In [gpu]"
    reason = f"no instance type has enough resources, requirements={own}, x.y/z In [1], resources={{}}"
    assert shorten(reason) == "no instance type has enough resources, requirements=x.y/z In [1], resources={}"


def test_lines_that_tell_nothing_are_passed_over() -> None:
    reader = LogReader()
    assert reader.read("could not schedule pod: not JSON") is None
    assert reader.read('{"message": "found provisionable pod(s)"}') is None


def test_a_decision_is_as_old_as_the_round_in_which_it_was_made() -> None:
    reader = LogReader()
    began = {"time": "2026-01-01T00:00:00Z", "message": "computing scheduling decision for provisionable pod(s)"}
    told = {
        "time": "2026-01-01T00:00:09Z",
        "message": "could not schedule pod",
        "Pod": {"namespace": "a", "name": "b"},
        "error": "x; y",
        "errorCauses": [{"error": "x"}, {"error": "y"}],
    }
    assert reader.read(json.dumps(began)) == RoundBegan(1767225600.0, frozenset())
    assert reader.read(json.dumps(told)) == Decided("a/b", "x; y", ("x", "y"), 1767225600.0)


def test_a_round_names_the_pods_that_it_ignored_itself() -> None:
    reader = LogReader()

    def read(message: str, pod: str = "") -> object:
        line = {"time": "2026-01-01T00:00:00Z", "message": message, "error": "x"}
        return reader.read(json.dumps(line | ({"Pod": {"namespace": "a", "name": pod}} if pod else {})))

    read("ignoring pod", "volumes")
    for ignored in ({"a/volumes"}, set()):
        assert read("computing scheduling decision for provisionable pod(s)") == RoundBegan(
            1767225600.0, frozenset(ignored)
        )


def test_what_a_controller_made_already_is_no_warning() -> None:
    def made(name: str, owner: str) -> Content:
        return {"metadata": {"name": name, "uid": name, "ownerReferences": [{"kind": "RayService", "uid": owner}]}}

    def told(message: str) -> Content:
        about = {"kind": "RayService", "namespace": "here", "name": "drawing", "uid": "its-own"}
        said = {"type": "Warning", "reason": "FailedToCreateRayCluster", "message": message}
        return {"metadata": {"name": message, "uid": message}, "involvedObject": about, **said}

    scene = Scene()
    for kind, content in [
        ("RayCluster", made("first", "its-own")),
        ("RayCluster", made("theirs", "another")),
        ("Event", told('rayclusters.ray.io "first" already exists')),
        ("Event", told('rayclusters.ray.io "theirs" already exists')),
        ("Event", told("Operation cannot be fulfilled: the object has been modified; please apply your changes")),
        ("Event", told("rayclusters.ray.io is forbidden")),
    ]:
        scene.see(kind, "ADDED", content, 0.0)
    assert [each.message for each in actionable_warnings(scene)] == [
        'rayclusters.ray.io "theirs" already exists',
        "rayclusters.ray.io is forbidden",
    ]


def test_a_node_that_goes_is_a_warning_while_it_is_there() -> None:
    about = {"kind": "Node", "name": "first", "uid": "first"}
    said = {"type": "Warning", "reason": "TerminationGracePeriodExpiring", "message": "All pods will be deleted"}
    node = {"metadata": {"name": "first", "uid": "first"}, "spec": {}}
    scene = Scene()
    scene.see("Node", "ADDED", node, 0.0)
    scene.see("Event", "ADDED", {"metadata": {"name": "a", "uid": "a"}, "involvedObject": about, **said}, 0.0)
    assert [warning.object for warning in actionable_warnings(scene)] == ["Node/first"]
    scene.see("Node", "DELETED", node, 0.0)
    assert not actionable_warnings(scene)


def test_an_account_survives_the_way_to_the_supervisor_and_holds_what_both_hold() -> None:
    one_class, other_class = {"role": "a", "amiSelectorTerms": [{"alias": "al2023@latest"}]}, {"role": "b"}
    account = Account("x", "us-west-2", ("us-west-2a",), (one_class,), tuple(OFFERS.reservations))
    assert Account.from_json(account.to_json()) == account
    other = Account("y", "us-west-2", ("us-west-2a", "us-west-2b"), (one_class, other_class))
    both = account.with_also(other)
    assert both.zones == ("us-west-2a", "us-west-2b")
    assert both.node_classes == (one_class, other_class)
    assert both.with_also(account) == both


def test_namespaces_that_nothing_makes_and_classes_of_the_target_are_prerequisites(tmp_path: Path) -> None:
    made = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "made"}, "provisioner": "x"}
    template = {"volumeClaimTemplates": [{"metadata": {"name": "data"}, **{"spec": claim("x", "fast")["spec"]}}]}
    objects = [
        made,
        claim("a", "made"),
        claim("b", "shared", "ReadWriteMany"),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "s", "namespace": "other"},
            "spec": template,
        },
    ]
    rendered = "---\n".join(f"# Source: a/templates/b.yaml\n{to_yaml([each])}" for each in objects)
    environment = Environment("e", tmp_path, "", (), namespace="here", secrets={"token": ("key",)})
    found = find_prerequisites(environment, parse_manifests("---\n" + rendered), described("existing", {"efs": True}))
    assert found.namespaces == ("here", "other")
    assert found.told()[0] == "StorageClass efs exists, as on existing"
    assert found.told()[-1].startswith("Secret token with key exists in namespace here")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ScaledObject", "KEDA's operator runs in the cluster; here ScaledObjects were accepted, and nothing scaled"),
        (
            "LeaderWorkerSet",
            "LeaderWorkerSet's controller runs in the cluster; here nothing made the pods of its objects",
        ),
    ],
)
def test_an_operator_that_only_the_cluster_has_is_told(kind: str, expected: str, tmp_path: Path) -> None:
    made = {"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": "s"}, "spec": {}}
    rendered = f"---\n# Source: a/templates/b.yaml\n{to_yaml([made])}"
    environment = Environment("e", tmp_path, "", ())
    (told,) = find_prerequisites(environment, parse_manifests(rendered), described("existing")).told()
    assert told == expected
    assert find_prerequisites(environment, (), described("existing")).told() == ()
