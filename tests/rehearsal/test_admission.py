"""What accounts of the suite may change, tried as them on a real API server with the charts' policies."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.crds import crd_files
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.crd_objects import set_defaults
from drydock.rehearsal.rehearse import suite_cluster, suite_crds
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import assemble_charts
from drydock.suite.cluster_description import admission_policies, described
from drydock.suite.render import render_chart
from tests.checks.helpers import findings
from tests.checks.test_cluster_contents import AUTO_MODE, node_class, node_pool
from tests.rehearsal.small import RESTRICTED

NAMESPACE = "admission"
APPLIED = {
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "RayCluster": "rayclusters",
}
VALUES: Mapping[str, Mapping[str, Any]] = {
    "kuberay": {
        "rayClusters": {
            "research": {"workers": {"gpu": {"maxReplicas": 4}}},
            "other": {"workers": {"gpu": {"maxReplicas": 4}}},
        }
    },
    "argo": {
        "global": {"region": "us-west-2"},
        "artifactRepository": {"bucket": "artifacts"},
        "server": {
            "auth": {
                "sso": {
                    "enabled": True,
                    "issuer": "https://a",
                    "redirectUrl": "https://b/oauth2/callback",
                    "groups": {"ml": {"rule": "true", "access": "edit", "precedence": 1}},
                }
            }
        },
        "pipelines": {
            "assistant": {
                "data": "s3://data/assistant",
                "baseModel": "org/model",
                "models": "s3://models/assistant",
                "deployment": {"name": "model"},
                "ray": {"enabled": True},
            }
        },
    },
    "jupyterhub": {},
    "neuron-device-plugin": {"namespace": NAMESPACE, "global": {"neuronScheduler": "neuron"}},
}
PODS = collection("v1", "pods", NAMESPACE)
SECRETS = collection("v1", "secrets", NAMESPACE)
DEPLOYMENTS = collection("apps/v1", "deployments", NAMESPACE)
CLUSTERS = collection("ray.io/v1", "rayclusters", NAMESPACE)
JOBS = collection("ray.io/v1", "rayjobs", NAMESPACE)
ROLES = collection("rbac.authorization.k8s.io/v1", "roles", NAMESPACE)
BINDINGS = collection("rbac.authorization.k8s.io/v1", "rolebindings", NAMESPACE)


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(
    retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(240), wait=wait_fixed(0.5), reraise=True
)


def pod(name: str, labels: Mapping[str, str], account: str = "default", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "example.com/a:1", "securityContext": RESTRICTED}
    own = {"containers": [container], "serviceAccountName": account, "automountServiceAccountToken": False, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)}, "spec": own}


MODEL = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "model"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "model"}},
        "template": {
            "metadata": {"labels": {"app": "model"}},
            "spec": {
                "containers": [
                    {"name": "vllm", "image": "example.com/vllm:1", "args": ["/model/old", "--port", "8000"], "env": []}
                ]
            },
        },
    },
}
RAY, WORKFLOW = {"ray.io/cluster": "a"}, {"workflows.argoproj.io/workflow": "a"}
SINGLEUSER = {"app.kubernetes.io/component": "singleuser-server"}
HUB_POD = {"app.kubernetes.io/component": "hub"}


@dataclass(frozen=True)
class Suite:
    """An API server with the objects of the charts."""

    api: Api
    training: Mapping[str, Any]

    def refusal(self, user: str, method: str, path: str, body: Any = None, strategic: bool = False) -> str:
        """Why a user's request is refused; empty when it is not. Nothing is changed."""
        name = user if ":" in user else f"system:serviceaccount:{NAMESPACE}:{user}"
        caller = self.api.acting_as(name)
        try:
            if method == "POST":
                caller.request(f"{path}?dryRun=All", body)
            elif method == "PATCH":
                caller.merge(f"{path}?dryRun=All", body, strategic=strategic)
            else:
                caller.delete(f"{path}?dryRun=All")
        except ApiError as error:
            return str(error)
        return ""


@pytest.fixture(scope="module")
def ray_cluster(rehearsal_tools: dict[str, Path], drydock_project: Project) -> Iterator[RehearsalCluster]:
    """An API server that knows Ray, on which no controller of Ray runs."""
    crds = [*suite_crds(drydock_project), *crd_files(drydock_project, ["kuberay"])]
    with suite_cluster(drydock_project, rehearsal_tools, new_run_folder(drydock_project, "test"), crds=crds) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def suite(
    ray_cluster: RehearsalCluster,
    rehearsal_tools: dict[str, Path],
    drydock_project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Suite:
    api = ray_cluster.await_api()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create(collection("v1", "namespaces"), {"metadata": {"name": NAMESPACE, "labels": labels}})
    charts, training = assemble_charts(drydock_project), {}
    for name, values in VALUES.items():
        file = tmp_path_factory.mktemp("values") / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        for manifest in render_chart(
            rehearsal_tools["helm4"], charts.chart(name), values_files=[file], namespace=NAMESPACE
        ):
            if manifest.kind in APPLIED:
                version, plural = manifest.api_version, APPLIED[manifest.kind]
                cluster_wide = manifest.kind.startswith(("Cluster", "Validating"))
                namespace = "" if cluster_wide else manifest.content["metadata"]["namespace"]
                api.create(collection(version, plural, namespace), manifest.content)
            if manifest.kind == "WorkflowTemplate":
                (step,) = (each for each in manifest.content["spec"]["templates"] if each["name"] == "fine-tuning")
                training = yaml.safe_load(step["resource"]["manifest"])
    for cluster in ("research", "other"):
        for path, content in kuberay_gives(f"genai-kuberay-{cluster}"):
            api.create(path, content)
    api.create(DEPLOYMENTS, MODEL)
    for one in (
        pod("hub", HUB_POD),
        pod("of-ray", RAY),
        pod("of-a-workflow", WORKFLOW),
        pod("of-a-user", SINGLEUSER),
    ):
        api.create(PODS, one)
    made = Suite(api, training)
    in_force(made)
    return made


def kuberay_gives(cluster: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The role of an autoscaler: BuildRole and BuildRoleBinding of KubeRay 1.6.0, controllers/ray/common/rbac.go."""
    metadata = {"name": cluster, "labels": {"ray.io/cluster": cluster}}
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["pods/resize"], "verbs": ["patch"]},
        {"apiGroups": ["ray.io"], "resources": ["rayclusters"], "verbs": ["get", "patch"]},
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": cluster}
    subject = {"kind": "ServiceAccount", "name": cluster, "namespace": NAMESPACE}
    return (
        (ROLES, {"metadata": metadata, "rules": rules}),
        (BINDINGS, {"metadata": metadata, "roleRef": reference, "subjects": [subject]}),
    )


@until
def in_force(suite: Suite) -> None:
    """Every policy is: each is seen to refuse something."""
    attempts = (
        (AUTOSCALER, "PATCH", f"{PODS}/hub", {"metadata": {"labels": {"a": "b"}}}),
        (OPERATOR, "DELETE", f"{PODS}/hub", None),
        (CONTROLLER, "DELETE", f"{PODS}/hub", None),
        (SERVER, "POST", SECRETS, {"metadata": {"name": "other"}}),
        (HUB, "DELETE", f"{PODS}/hub", None),
        (NEURON, "PATCH", f"{PODS}/hub", {"metadata": {"labels": {"a": "b"}}}),
        (DEPLOYMENT, "PATCH", f"{DEPLOYMENTS}/model", {"spec": {"replicas": 3}}),
        (TRAINING, "POST", JOBS, {**suite.training, "spec": {**suite.training["spec"], "entrypoint": "id"}}),
        (OPERATOR, "POST", PODS, pod("a", RAY, OPERATOR)),
        (CONTROLLER, "POST", PODS, pod("a", WORKFLOW, CONTROLLER)),
        (HUB, "POST", PODS, pod("a", SINGLEUSER, HUB)),
    )
    for attempt in attempts:
        if "ValidatingAdmissionPolicy" not in (reason := suite.refusal(*attempt)):
            raise NotYetError(f"{attempt[:3]}: {reason}")


AUTOSCALER = "genai-kuberay-research"
OPERATOR = "genai-kuberay-operator"
CONTROLLER = "genai-argo-workflow-controller"
SERVER = "genai-argo-server"
DEPLOYMENT = "genai-argo-deployment"
TRAINING = "genai-argo-training"
HUB = "genai-jupyterhub-hub"
NEURON = "genai-neuron-device-plugin"
POLICY = "ValidatingAdmissionPolicy"


def cluster_with(suite: Suite, change: Callable[[Any], None], name: str = AUTOSCALER) -> dict[str, Any]:
    """A patch that replaces the groups of workers, as Ray's autoscaler sends none but attackers may."""
    content = copy.deepcopy(suite.api.get(f"{CLUSTERS}/{name}")["spec"])
    change(content)
    return {"spec": content}


def test_the_autoscaler_changes_the_number_of_its_workers(suite: Suite) -> None:
    def more(spec: Any) -> None:
        spec["workerGroupSpecs"][0] |= {"replicas": 3, "scaleStrategy": {"workersToDelete": ["a"]}}

    assert suite.refusal(AUTOSCALER, "PATCH", f"{CLUSTERS}/{AUTOSCALER}", cluster_with(suite, more)) == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"].update(hostPID=True),
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"].update(serviceAccountName=OPERATOR),
        lambda spec: spec["workerGroupSpecs"][0]["template"]["spec"]["containers"][0].update(image="attacker"),
        lambda spec: spec["workerGroupSpecs"][0].update(maxReplicas=99),
        lambda spec: spec["workerGroupSpecs"].append({**spec["workerGroupSpecs"][0], "groupName": "b"}),
        lambda spec: spec["workerGroupSpecs"][0].update(groupName="b"),
        lambda spec: spec["headGroupSpec"]["template"]["spec"].update(serviceAccountName=OPERATOR),
        lambda spec: spec.update(suspend=True),
        lambda spec: spec["autoscalerOptions"].update(image="attacker"),
    ],
)
def test_the_autoscaler_changes_nothing_else_of_its_cluster(suite: Suite, change: Callable[[Any], None]) -> None:
    assert POLICY in suite.refusal(AUTOSCALER, "PATCH", f"{CLUSTERS}/{AUTOSCALER}", cluster_with(suite, change))


def test_no_two_groups_of_workers_have_one_name(suite: Suite) -> None:
    change = cluster_with(suite, lambda spec: spec["workerGroupSpecs"].append(spec["workerGroupSpecs"][0]))
    assert "Duplicate value" in suite.refusal(AUTOSCALER, "PATCH", f"{CLUSTERS}/{AUTOSCALER}", change)


def test_the_autoscaler_changes_no_pod_and_no_other_cluster(suite: Suite) -> None:
    image = {"spec": {"containers": [{"name": "main", "image": "attacker"}]}}
    for name in ("hub", "of-ray"):
        assert POLICY in suite.refusal(AUTOSCALER, "PATCH", f"{PODS}/{name}", image, strategic=True)

    def more(spec: Any) -> None:
        spec["workerGroupSpecs"][0]["replicas"] = 3

    other = "genai-kuberay-other"
    assert POLICY in suite.refusal(AUTOSCALER, "PATCH", f"{CLUSTERS}/{other}", cluster_with(suite, more, other))
    annotation = {"metadata": {"annotations": {"ray.io/disable-provisioned-head-restart": "true"}}}
    assert POLICY in suite.refusal(AUTOSCALER, "PATCH", f"{CLUSTERS}/{AUTOSCALER}", annotation)


def test_operators_change_what_they_made(suite: Suite) -> None:
    assert suite.refusal(OPERATOR, "POST", PODS, pod("a", RAY, AUTOSCALER)) == ""
    assert suite.refusal(OPERATOR, "DELETE", f"{PODS}/of-ray") == ""
    assert suite.refusal(CONTROLLER, "POST", PODS, pod("a", WORKFLOW, TRAINING)) == ""
    assert suite.refusal(CONTROLLER, "DELETE", f"{PODS}/of-a-workflow") == ""
    assert suite.refusal(HUB, "POST", PODS, pod("a", SINGLEUSER, "genai-jupyterhub-singleuser")) == ""
    assert suite.refusal(HUB, "DELETE", f"{PODS}/of-a-user") == ""
    (roles, role), (bindings, binding) = kuberay_gives("genai-kuberay-third")
    assert suite.refusal(OPERATOR, "POST", roles, role) == ""
    suite.api.create(roles, role)
    assert suite.refusal(OPERATOR, "POST", bindings, binding) == ""
    secret = {"metadata": {"name": "a", "labels": RAY}, "stringData": {"auth_token": "a"}}
    assert suite.refusal(OPERATOR, "POST", SECRETS, secret) == ""
    assert suite.refusal(SERVER, "POST", SECRETS, {"metadata": {"name": "sso"}}) == ""


def test_operators_change_nothing_of_others(suite: Suite) -> None:
    image = {"spec": {"containers": [{"name": "main", "image": "attacker"}]}}
    assert POLICY in suite.refusal(OPERATOR, "PATCH", f"{PODS}/hub", image, strategic=True)
    assert POLICY in suite.refusal(OPERATOR, "PATCH", f"{PODS}/hub", {"metadata": {"labels": RAY}})
    assert POLICY in suite.refusal(CONTROLLER, "PATCH", f"{PODS}/hub", image, strategic=True)
    assert POLICY in suite.refusal(HUB, "DELETE", f"{PODS}/of-ray")
    for user in (OPERATOR, CONTROLLER, HUB):
        assert POLICY in suite.refusal(user, "POST", PODS, pod("a", HUB_POD))


@pytest.mark.parametrize("account", [OPERATOR, CONTROLLER, SERVER, HUB])
def test_no_account_becomes_one_of_the_platform(suite: Suite, account: str) -> None:
    for user, labels in ((OPERATOR, RAY), (CONTROLLER, WORKFLOW), (HUB, SINGLEUSER)):
        assert POLICY in suite.refusal(user, "POST", PODS, pod("a", labels, account))
    controller = "system:serviceaccount:kube-system:replicaset-controller"
    assert POLICY not in suite.refusal(controller, "POST", PODS, pod("a", HUB_POD, account))


def test_nobody_makes_a_token_of_an_account(suite: Suite) -> None:
    for user, name in ((OPERATOR, "a"), (SERVER, "sso")):
        annotations = {"kubernetes.io/service-account.name": OPERATOR}
        secret = {
            "metadata": {"name": name, "labels": RAY, "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        }
        assert POLICY in suite.refusal(user, "POST", SECRETS, secret)
    assert POLICY in suite.refusal(SERVER, "POST", SECRETS, {"metadata": {"generateName": "sso"}})


def test_the_operator_of_ray_gives_no_rights_of_its_own(suite: Suite) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    role = {"metadata": {"name": "a", "labels": RAY}, "rules": rules}
    assert POLICY in suite.refusal(OPERATOR, "POST", ROLES, role)
    ((_, _), (_, binding)) = kuberay_gives("a")
    other = {**binding, "roleRef": {**binding["roleRef"], "name": OPERATOR}}
    assert POLICY in suite.refusal(OPERATOR, "POST", BINDINGS, other)


def test_the_hub_starts_no_server_with_a_token_or_a_folder_of_the_node(suite: Suite) -> None:
    account = "genai-jupyterhub-singleuser"
    assert POLICY in suite.refusal(HUB, "POST", PODS, pod("a", SINGLEUSER, account, automountServiceAccountToken=True))
    assert POLICY in suite.refusal(HUB, "POST", PODS, pod("a", SINGLEUSER, TRAINING))
    host = [{"name": "host", "hostPath": {"path": "/"}}]
    assert suite.refusal(HUB, "POST", PODS, pod("a", SINGLEUSER, account, volumes=host))


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "vllm", **fields}]}}}}


def annotated(folder: str) -> dict[str, Any]:
    names = ("drydock.dev/model-folder", "drydock.dev/previous-model-folder")
    return {"spec": {"template": {"metadata": {"annotations": dict.fromkeys(names, folder)}}}}


def test_a_pipeline_changes_the_model_of_a_deployment(suite: Suite) -> None:
    for folder in ("/run-1/base", "/..a/b", ""):
        change = annotated(folder)
        assert suite.refusal(DEPLOYMENT, "PATCH", f"{DEPLOYMENTS}/model", change, strategic=True) == ""


@pytest.mark.parametrize(
    "change",
    [
        annotated("/../etc/passwd"),
        annotated("/a/.."),
        annotated("/."),
        annotated("a"),
        annotated("/a --trust-remote-code"),
        annotated("/a\n--port"),
        container(args=["/model/a", "--port", "8000"]),
        container(args=["/model/old", "--port", "8000", "--trust-remote-code"]),
        container(image="attacker"),
        container(command=["sh"]),
        container(envFrom=[{"secretRef": {"name": "hub"}}]),
        container(securityContext={"privileged": True}),
        {"spec": {"template": {"spec": {"serviceAccountName": HUB}}}},
        {"spec": {"template": {"spec": {"hostNetwork": True}}}},
        {"spec": {"template": {"spec": {"containers": [{"name": "second", "image": "attacker"}]}}}},
        {"spec": {"template": {"metadata": {"labels": {"app": "model", "component": "hub"}}}}},
        {"spec": {"template": {"metadata": {"annotations": {"sidecar.example.com/inject": "true"}}}}},
        {"spec": {"replicas": 100}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
    ],
)
def test_a_pipeline_changes_nothing_else_of_a_deployment(suite: Suite, change: Mapping[str, Any]) -> None:
    assert POLICY in suite.refusal(DEPLOYMENT, "PATCH", f"{DEPLOYMENTS}/model", change, strategic=True)


def test_a_pipeline_starts_its_own_training(suite: Suite) -> None:
    assert suite.refusal(TRAINING, "POST", JOBS, suite.training) == ""


def head(job: Any) -> Any:
    return job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(entrypoint="id"),
        lambda job: job["spec"].update(entrypoint=job["spec"]["entrypoint"] + "; id"),
        lambda job: job["spec"].update(runtimeEnvYAML="env_vars: {PYTHONPATH: /tmp}"),
        lambda job: job["spec"].update(submissionMode="K8sJobMode"),
        lambda job: job["spec"].update(clusterSelector={"ray.io/cluster": AUTOSCALER}),
        lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"),
        lambda job: head(job).update(serviceAccountName=OPERATOR),
        lambda job: head(job).update(automountServiceAccountToken=True),
        lambda job: head(job).update(hostPID=True),
        lambda job: head(job)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
        lambda job: head(job)["volumes"].append({"name": "s", "secret": {"secretName": "model-gateway"}}),
        lambda job: head(job)["containers"][0].update(image="attacker"),
        lambda job: head(job)["containers"][0].update(command=["sh"]),
        lambda job: head(job)["containers"][0].update(envFrom=[{"secretRef": {"name": "hub"}}]),
        lambda job: head(job)["containers"][0]["env"].append(
            {"name": "a", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "a"}}}
        ),
        lambda job: head(job)["containers"][0]["securityContext"].update(privileged=True),
        lambda job: head(job).update(initContainers=head(job)["containers"]),
    ],
)
def test_a_pipeline_starts_nothing_else(suite: Suite, change: Callable[[Any], None]) -> None:
    job = copy.deepcopy(suite.training)
    change(job)
    assert POLICY in suite.refusal(TRAINING, "POST", JOBS, job)


def test_the_neuron_components_write_annotations_of_pods(suite: Suite) -> None:
    for user in (NEURON, f"{NEURON}-scheduler-extension"):
        annotation = {"metadata": {"annotations": {"NEURON_DEVICE_INDEX": "0"}}}
        assert suite.refusal(user, "PATCH", f"{PODS}/hub", annotation) == ""
        image = {"spec": {"containers": [{"name": "main", "image": "attacker"}]}}
        assert POLICY in suite.refusal(user, "PATCH", f"{PODS}/hub", image, strategic=True)
        assert POLICY in suite.refusal(user, "PATCH", f"{PODS}/hub", {"metadata": {"labels": {"a": "b"}}})


SELECTORS = {
    "role": "nodes",
    "subnetSelectorTerms": [{"tags": {"a": "b"}}],
    "securityGroupSelectorTerms": [{"tags": {"a": "b"}}],
}
IN_AUTO_MODE = {
    "as the charts have it": node_pool(),
    "no lifetime": node_pool(expireAfter=None),
    "21 days": node_pool(expireAfter="336h", terminationGracePeriod="168h"),
    "a minute more": node_pool(expireAfter="336h", terminationGracePeriod="168h1m"),
    "a long life": node_pool(expireAfter="481h"),
    "no end": node_pool(expireAfter="Never"),
    "a long grace alone": node_pool(expireAfter=None, terminationGracePeriod="169h"),
    "a label of Karpenter's provider": node_pool(key="karpenter.k8s.aws/instance-family"),
    "a label of Windows": node_pool(key="node.kubernetes.io/windows-build"),
    "tags of its own": node_class(tags={"team": "ml", "eksctl": "a"}),
    "a tag of the cluster": node_class(tags={"kubernetes.io/cluster/a": "owned"}),
    "a tag of Karpenter": node_class(tags={"karpenter.sh/nodepool": "a"}),
    "a tag of EKS": node_class(tags={"eks:cluster-name": "a"}),
    "a tag of Auto Mode": node_class(tags={"eks.amazonaws.com/a": "b"}),
    "a tag of AWS": node_class(tags={"aws:a": "b"}),
    "its own class": node_class("default"),
    "reservations by id": node_class(capacityReservationSelectorTerms=[{"id": "cr-0123456789abcdef0"}]),
    "reservations by criteria": node_class(
        capacityReservationSelectorTerms=[{"tags": {"a": "b"}, "instanceMatchCriteria": "open"}]
    ),
}


@pytest.fixture(scope="module")
def auto_mode(suite: Suite) -> Callable[[Mapping[str, Any]], str]:
    """Why an API server with the rules of Auto Mode refuses an object; empty when it takes it."""
    plurals = {"NodePool": "nodepools", "NodeClass": "nodeclasses", **APPLIED}
    target = described("eks-auto-mode")
    for crd, defaults in target.crd_defaults.items():
        set_defaults(suite.api, crd, defaults)
    for policy in admission_policies(target):
        suite.api.create(collection(policy["apiVersion"], plurals[policy["kind"]]), policy)

    def refusal(content: Mapping[str, Any]) -> str:
        try:
            whole = content if content["kind"] == "NodePool" else {**content, "spec": {**SELECTORS, **content["spec"]}}
            path = collection(content["apiVersion"], plurals[content["kind"]])
            suite.api.request(f"{path}?dryRun=All&fieldValidation=Strict", whole)
        except ApiError as error:
            return str(error)
        return ""

    @until
    def in_force() -> None:
        for name in ("no end", "a label of Windows", "its own class"):
            if POLICY not in refusal(IN_AUTO_MODE[name]):
                raise NotYetError(name)
        if refused := refusal(_without_null(IN_AUTO_MODE["no lifetime"])):
            raise NotYetError(refused)

    in_force()
    return refusal


@pytest.mark.parametrize("case", sorted(IN_AUTO_MODE))
def test_validate_and_the_rules_of_auto_mode_say_the_same(
    auto_mode: Callable[[Mapping[str, Any]], str], case: str
) -> None:
    """Apart are pools of Karpenter's provider, which a rehearsal installs in place of Auto Mode's own."""
    content = _without_null(IN_AUTO_MODE[case])
    refused, found = auto_mode(content), findings(yaml.safe_dump(content), "auto-mode", environment=AUTO_MODE)
    assert refused == "" or any(reason in refused for reason in (POLICY, "unknown field", "Auto Mode keeps")), refused
    assert bool(refused) == bool(found), (refused, found)


def _without_null(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_null(value) for key, value in node.items() if value is not None}
    return node
