"""The real JupyterHub, configured as rendered and with its ServiceAccount's rights, makes servers that get nodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tenacity import retry, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, collection
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Release
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import load_environment
from tests.rehearsal.hub import Hub, Ports, install_proxy, running_hub, write_kubeconfig

GPU = "nvidia.com/gpu"
NAME = "genai-jupyterhub-hub"
USERS = {"cpu": "alice", "gpu": "bob", "gpu-share": "bob"}
NODES = collection("v1", "nodes")
PODS, CLAIMS = (collection("v1", plural, "genai") for plural in ("pods", "persistentvolumeclaims"))
ADMINISTRATOR = """
import os
c.JupyterHub.services.append({"name": "test", "api_token": os.environ["TEST_TOKEN"]})
c.JupyterHub.load_roles.append(
    {"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "list:services", "read:services"]}
)
"""


def values(ports: Ports) -> dict[str, Any]:
    """A hub for trials with three profiles; nobody answers as a server here, which the hub finds out in time."""
    config = {**ports.values(), "KubeSpawner": {"http_timeout": 90}}
    return {
        "vllm": {"enabled": False},
        "karpenter-nodepools": {
            "nodePools": {
                "gpu-shared": {
                    "accelerator": "nvidia",
                    "labels": {"nvidia.com/device-plugin.config": "time-slicing"},
                    "limits": {GPU: 1},
                }
            }
        },
        "jupyterhub": {
            "enabled": True,
            "hub": {
                "authenticator": {"type": "dummy", "allowPasswordless": True},
                "allowNamedServers": True,
                "config": config,
                "extraConfig": {"administrator": ADMINISTRATOR},
            },
            "singleuser": {"profiles": {"gpu": {"enabled": True}, "gpu-share": {"enabled": True}}},
        },
    }


@dataclass(frozen=True)
class Trial:
    """A hub of a release on a cluster."""

    hub: Hub
    api: Api
    release: Release


@pytest.fixture(scope="module")
def trial(
    shared_cluster: RehearsalCluster,
    rehearsal_tools: dict[str, Path],
    drydock_project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Trial]:
    """The release `genai` with JupyterHub, and the hub running as its ServiceAccount."""
    ports, folder = Ports.free(), tmp_path_factory.mktemp("hub")
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values(ports)))
    keys = ("hub.config.ConfigurableHTTPProxy.auth_token", "hub.config.JupyterHub.cookie_secret")
    environment = load_environment(drydock_project, "dev").stacked([file], [])
    release = Release(shared_cluster, rehearsal_tools["helm4"], assemble_charts(drydock_project))
    release.seed(replace(environment, secrets={**environment.secrets, "hub-secret": keys}))
    api = shared_cluster.await_api()
    release.install()
    outcome = release.wait()
    assert outcome.ready, outcome.verdict
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, shared_cluster.kubeconfig, _token(shared_cluster))
    config = api.get(f"{collection('v1', 'configmaps', 'genai')}/{NAME}")["data"]
    containers = {
        each["name"]: each
        for deployment in api.get(collection("apps/v1", "deployments", "genai"))["items"]
        for each in deployment["spec"]["template"]["spec"]["containers"]
    }
    arguments = {name: containers[name]["args"] for name in ("hub", "chp")}
    proxy = install_proxy(drydock_project, containers["chp"]["image"].rpartition(":")[2])
    with running_hub(folder, config, arguments, ports, proxy, kubeconfig) as hub:
        yield Trial(hub, api, release)


def _token(cluster: RehearsalCluster) -> str:
    from kubernetes import client, config

    with config.new_client_from_config(str(cluster.kubeconfig)) as connection:
        request = {"spec": {"expirationSeconds": 3600}}
        made = client.CoreV1Api(connection).create_namespaced_service_account_token(NAME, "genai", request)
        return str(made.status.token)


@pytest.fixture(scope="module")
def servers(trial: Trial) -> Mapping[str, Mapping[str, Any]]:
    """The pod of each server by its profile, once it is on a node; all are asked for at once."""
    pools = {each["metadata"]["labels"].get("karpenter.sh/nodepool") for each in trial.api.get(NODES)["items"]}
    assert not pools & {"gpu", "gpu-shared"}, "nothing is bought before somebody asks"
    for user in sorted(set(USERS.values())):
        assert trial.hub.call(f"/users/{user}", {})[0] == 201
    for profile in USERS:
        status, answer = trial.hub.call(_path(profile), {"profile": profile})
        assert status in (201, 202), answer
    found: dict[str, Mapping[str, Any]] = {}
    for kind, pod in trial.api.watch(PODS, seconds=600):
        profile = pod["metadata"].get("labels", {}).get("drydock.dev/profile", "")
        if kind != "BOOKMARK" and profile and pod["spec"].get("nodeName"):
            found[profile] = pod
        if found.keys() == USERS.keys():
            return found
    raise AssertionError(f"no node but for {sorted(found)}\n{trial.hub.log.read_text()}")


def _path(profile: str) -> str:
    """Of a user's default server, or of one named after its profile."""
    user = USERS[profile]
    return f"/users/{user}/server" if user == "alice" else f"/users/{user}/servers/{profile}"


def _node(trial: Trial, pod: Mapping[str, Any]) -> Mapping[str, Any]:
    labels: Mapping[str, Any] = trial.api.get(f"{NODES}/{pod['spec']['nodeName']}")["metadata"]["labels"]
    return labels


def test_the_hub_runs_with_what_was_rendered(trial: Trial) -> None:
    status, page = trial.hub.page("/hub/login")
    assert status == 200
    assert "This hub asks nobody for a password." in page
    assert trial.hub.call("/users", token="wrong")[0] == 403
    services = trial.hub.call("/services")[1]
    assert services["jupyterhub-idle-culler"]["pid"] > 0
    assert "not recognized" not in trial.hub.log.read_text()


def test_a_server_is_the_pod_of_its_profile_in_a_home_of_its_own(trial: Trial, servers: Mapping[str, Any]) -> None:
    pod = servers["cpu"]
    profiles = yaml.safe_load(
        trial.api.get(f"{collection('v1', 'configmaps', 'genai')}/{NAME}")["data"]["profiles.yaml"]
    )
    template = profiles["profiles"]["cpu"]["template"]
    assert template["metadata"]["labels"].items() <= pod["metadata"]["labels"].items()
    assert template["metadata"]["annotations"].items() <= pod["metadata"]["annotations"].items()
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    (wanted,) = template["spec"].pop("containers")
    for key in ("image", "resources", "securityContext"):
        assert container[key] == wanted[key]
    for key in ("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "nodeSelector"):
        assert spec[key] == template["spec"][key]
    assert template["spec"]["securityContext"].items() <= spec["securityContext"].items()
    limits = {
        each["name"]: each["valueFrom"]["resourceFieldRef"] for each in container["env"] if "_LIMIT" in each["name"]
    }
    assert limits["MEM_LIMIT"]["resource"] == "limits.memory"
    assert _node(trial, pod)["karpenter.sh/nodepool"] == "general-cpu"
    (home,) = [each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"] if each["name"] == "home"]
    claim = trial.api.get(f"{CLAIMS}/{home}")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert claim["status"]["phase"] == "Bound"
    assert [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "home"] == ["/home/jovyan"]


@pytest.mark.parametrize(("profile", "pool"), [("gpu", "gpu"), ("gpu-share", "gpu-shared")])
def test_a_node_with_a_gpu_is_bought_for_a_named_server(
    trial: Trial, servers: Mapping[str, Any], profile: str, pool: str
) -> None:
    labels = _node(trial, servers[profile])
    assert labels["karpenter.sh/nodepool"] == pool
    assert labels["karpenter.k8s.aws/instance-gpu-count"] == "1"
    assert servers[profile]["spec"]["containers"][0]["resources"]["limits"][GPU] == "1"
    assert servers[profile]["metadata"]["labels"]["hub.jupyter.org/servername"] == profile


def test_the_token_of_a_server_opens_little(trial: Trial, servers: Mapping[str, Any]) -> None:
    (container,) = servers["cpu"]["spec"]["containers"]
    token = next(each["value"] for each in container["env"] if each["name"] == "JUPYTERHUB_API_TOKEN")
    status, itself = trial.hub.call("/user", token=token)
    assert (status, itself["name"]) == (200, "alice")
    assert set(itself["scopes"]) <= {
        "access:servers!server=alice/",
        "read:users:activity!user=alice",
        "read:users:groups!user=alice",
        "read:users:name!user=alice",
        "users:activity!user=alice",
    }
    for path, method in (
        ("/users", "GET"),
        ("/users/bob", "GET"),
        ("/users/alice/tokens", "POST"),
        ("/users/alice/servers/more", "POST"),
        ("/users/alice/server", "DELETE"),
        ("/proxy", "GET"),
    ):
        assert trial.hub.call(path, method=method, token=token)[0] in (403, 404), path


def test_the_culler_may_look_at_all_servers(trial: Trial) -> None:
    @retry(stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True)
    def looked() -> None:
        calls = [line for line in trial.hub.log.read_text().splitlines() if "(jupyterhub-idle-culler@" in line]
        assert [line for line in calls if " 200 GET /hub/api/users" in line]
        assert not [line for line in calls if " 403 " in line]

    looked()


@pytest.mark.usefixtures("servers")
def test_the_hub_takes_away_what_it_made(trial: Trial) -> None:
    @retry(stop=stop_after_delay(480), wait=wait_fixed(0.5), reraise=True)
    def gone() -> None:
        for profile in USERS:  # refused while a server is starting or stopping
            trial.hub.call(_path(profile), method="DELETE")
        labels = [each["metadata"]["labels"] for each in trial.api.get(PODS)["items"]]
        assert not [each for each in labels if each.get("component") == "singleuser-server"]

    gone()
    homes = {each["metadata"]["name"] for each in trial.api.get(CLAIMS)["items"]}
    assert {"claim-alice", "claim-bob--gpu", "claim-bob--gpu-share"} <= homes, "homes stay"


@pytest.mark.parametrize(
    ("path", "verb"), [("secrets", "list"), ("configmaps", "list"), ("pods/exec", "create"), ("services", "create")]
)
def test_the_hub_may_do_no_more(trial: Trial, path: str, verb: str) -> None:
    from kubernetes import client, config

    resource, _, sub = path.partition("/")
    attributes = {"namespace": "genai", "verb": verb, "resource": resource, "subresource": sub}
    with config.new_client_from_config(str(trial.hub.log.parent / "kubeconfig")) as connection:
        review = {"spec": {"resourceAttributes": attributes}}
        answer = client.AuthorizationV1Api(connection).create_self_subject_access_review(review)
    assert answer.status.allowed is False
