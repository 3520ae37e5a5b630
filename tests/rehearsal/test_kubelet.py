"""A pod that runs as a process of this machine has what Kubernetes gives a container, and the API tells its state."""

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from kubernetes import client, config
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, ApiError, collection
from drydock.rehearsal.children import read_records
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.journeys.live_cluster import service_addresses
from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.programs import Program
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.rehearsal.seeding import Seed
from tests.rehearsal.hub import write_kubeconfig
from tests.rehearsal.small import RESTRICTED, Content, node_class, small_release

NAMESPACE = "programs"
IMAGE = "example.com/tools/reporter:1"
PODS, CONFIG_MAPS = (collection("v1", plural, NAMESPACE) for plural in ("pods", "configmaps"))
PROXY = f"{PODS}/reporter:8080/proxy"


class NotYetError(AssertionError):
    """What is waited for has not come."""


until = retry(
    retry=retry_if_exception_type(NotYetError), stop=stop_after_delay(240), wait=wait_fixed(0.2), reraise=True
)


def pod(name: str, *command: str, image: str = IMAGE, **variables: str) -> Content:
    """A pod of the reporter, on the node that is there."""
    container: Content = {
        "name": "reporter",
        "image": image,
        "command": [*(command or ("/reporter",)), "--listen=:8080", "--as=$(NAME)", "--config=/etc/reporter/settings"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "reporter", "key": "level"}}},
            {"name": "SETTINGS", "value": "/etc/reporter/settings"},
            {"name": "TOKEN", "value": "/var/run/secrets/kubernetes.io/serviceaccount/token"},
            {"name": "STATE", "value": "/state"},
            *({"name": name, "value": value} for name, value in variables.items()),
        ],
        "resources": {"limits": {"memory": "256Mi"}},
        "securityContext": {**RESTRICTED, "readOnlyRootFilesystem": True, "runAsUser": 4711},
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/reporter"}, {"name": "state", "mountPath": "/state"}],
    }
    volumes = [{"name": "settings", "configMap": {"name": "reporter"}}, {"name": "state", "emptyDir": {}}]
    spec = {"nodeName": "here", "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 5}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


@pytest.fixture(scope="module")
def api(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Api:
    """Of a cluster with a node, the image's program, and nothing that the pods need."""
    folder = tmp_path_factory.mktemp("charts") / NAMESPACE
    release = small_release(shared_cluster, rehearsal_tools["helm4"], folder, [node_class("none")])
    source = str(Path(__file__).parent / "reporter.py")
    program = Program(
        image="tools/reporter",
        command=(sys.executable, source),
        entrypoint=("/reporter",),
        defaults=(),
        arguments=(),
        environment={"FROM": "{namespace}"},
        needs=(*isolation.python_folders(), source),
    )
    free = replace(program, image="tools/free", isolated=False)
    shared_cluster.seed(Seed(release.account, (program, free)))
    release.install()
    _await_program(shared_cluster)
    made = shared_cluster.await_api()
    made.create(collection("v1", "nodes"), {"metadata": {"name": "here", "labels": {"kubernetes.io/arch": "amd64"}}})
    _await_account(made)
    return made


@until
def _await_program(cluster: RehearsalCluster) -> None:
    """KWOK keeps the pods of every program that the cluster does not know yet."""
    stages = cluster.folder.cluster / "stages.yaml"
    if not stages.exists() or "tools/reporter" not in stages.read_text():
        raise NotYetError("the program is not known")


@until
def _await_account(api: Api) -> None:
    if api.find(f"{collection('v1', 'serviceaccounts', NAMESPACE)}/default") is None:
        raise NotYetError("no ServiceAccount")


def state(api: Api, name: str, pods: str = PODS) -> Mapping[str, Any]:
    """Status of a pod's one container."""
    statuses = api.get(f"{pods}/{name}")["status"].get("containerStatuses") or [{}]
    return dict(statuses[0])


@until
def _await_state(api: Api, name: str, holds: Callable[[Mapping[str, Any]], Any], pods: str = PODS) -> Mapping[str, Any]:
    found = state(api, name, pods)
    if not holds(found):
        raise NotYetError(str(found))
    return found


@pytest.fixture(scope="module")
def reporter(api: Api) -> Iterator[Api]:
    """The pod `reporter`, which waited for its ConfigMap and runs."""
    assert api.create(PODS, pod("reporter"))
    waiting = _await_state(api, "reporter", lambda each: each.get("state", {}).get("waiting"))["state"]["waiting"]
    assert waiting["reason"] in ("ContainerCreating", "CreateContainerConfigError")
    told = lambda each: "not found" in each.get("state", {}).get("waiting", {}).get("message", "")  # noqa: E731
    assert "ConfigMap reporter not found" in _await_state(api, "reporter", told)["state"]["waiting"]["message"]
    api.create(CONFIG_MAPS, {"metadata": {"name": "reporter"}, "data": {"level": "high", "settings": "some"}})
    _await_state(api, "reporter", lambda each: "running" in each.get("state", {}))
    yield api
    api.delete(f"{PODS}/reporter")


@until
def _told(api: Api, path: str = "/", proxy: str = PROXY) -> Mapping[str, Any]:
    try:
        return dict(api.get(f"{proxy}{path}"))
    except ApiError as error:
        raise NotYetError(error.message) from error


def test_it_has_what_its_container_was_given(reporter: Api) -> None:
    told = _told(reporter)
    environment = told["environment"]
    assert {key: environment[key] for key in ("NAME", "LEVEL", "FROM", "HOSTNAME")} == {
        "NAME": "reporter",
        "LEVEL": "high",
        "FROM": NAMESPACE,
        "HOSTNAME": "reporter",
    }
    assert told["files"]["SETTINGS"] == "some"
    listen, named, config_file = told["arguments"]
    assert listen.startswith("--listen=127.")
    assert named == "--as=reporter"
    assert Path(config_file.removeprefix("--config=")).parent == Path(environment["SETTINGS"]).parent
    assert not {"USER", "VIRTUAL_ENV", "DRYDOCK_CACHE"} & environment.keys(), "nothing of this machine's"


@pytest.mark.namespaces
def test_its_paths_and_its_user_are_those_of_the_pod(reporter: Api) -> None:
    told = _told(reporter)
    assert told["arguments"][2] == "--config=/etc/reporter/settings"
    assert told["environment"]["STATE"] == "/state"
    assert told["user"] == 4711


def test_one_that_nothing_isolates_has_folders_of_this_machine(reporter: Api) -> None:
    reporter.create(PODS, pod("free", image="example.com/tools/free:1"))
    _await_state(reporter, "free", lambda each: "running" in each.get("state", {}))
    told = _told(reporter, proxy=PROXY.replace("reporter", "free"))
    assert told["files"]["SETTINGS"] == "some"
    assert told["environment"]["STATE"] != "/state"
    with config.new_client_from_config(told["environment"]["KUBECONFIG"]) as connection:
        assert client.VersionApi(connection).get_code().major == "1"


@pytest.mark.namespaces
def test_a_write_outside_of_its_volumes_fails_and_names_the_path(reporter: Api) -> None:
    reporter.create(PODS, pod("writer", WRITE="/var/cache/some"))
    ended = _await_state(reporter, "writer", lambda each: each.get("restartCount"))
    told = ended["lastState"]["terminated"]["message"]
    assert told.startswith("/var/cache/some cannot be written: the root is read-only")
    reporter.delete(f"{PODS}/writer")


def test_one_that_takes_more_memory_than_its_limit_is_killed(reporter: Api) -> None:
    reporter.create(PODS, pod("eater", EAT="512"))
    ended = _await_state(reporter, "eater", lambda each: each.get("restartCount"))["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    reporter.delete(f"{PODS}/eater")


def test_one_that_must_not_be_root_and_is_does_not_start(reporter: Api) -> None:
    """In a namespace that does not enforce `restricted`, where admission would refuse the pod."""
    pods = collection("v1", "pods", "default")
    container = {"name": "a", "image": IMAGE, "securityContext": {"runAsNonRoot": True, "runAsUser": 0}}
    reporter.create(pods, {"metadata": {"name": "rooted"}, "spec": {"nodeName": "here", "containers": [container]}})
    rooted = _await_state(reporter, "rooted", lambda each: "non-root" in str(each.get("state")), pods)
    assert rooted["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    reporter.delete(f"{pods}/rooted")


def test_it_is_its_service_account(reporter: Api, shared_cluster: RehearsalCluster, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    write_kubeconfig(kubeconfig, shared_cluster.kubeconfig, _told(reporter)["files"]["TOKEN"])
    with config.new_client_from_config(str(kubeconfig)) as connection:
        who = client.AuthenticationV1Api(connection).create_self_subject_review({})
    assert who.status.user_info.username == f"system:serviceaccount:{NAMESPACE}:default"
    assert who.status.user_info.extra["authentication.kubernetes.io/pod-name"] == ["reporter"]


def test_its_probe_decides_whether_it_is_ready(reporter: Api) -> None:
    assert state(reporter, "reporter")["ready"] is False
    _told(reporter, "/become-ready")
    _await_state(reporter, "reporter", lambda each: each["ready"])
    conditions = {each["type"]: each["status"] for each in reporter.get(f"{PODS}/reporter")["status"]["conditions"]}
    assert (conditions["Ready"], conditions["ContainersReady"]) == ("True", "True")


SERVICES = collection("v1", "services", NAMESPACE)


def service(name: str, **spec: Any) -> Content:
    ports = [{"name": "web", "port": 9000, "targetPort": "http"}]
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "reporter"}, "ports": ports, **spec}}


@until
def _answering(cluster: RehearsalCluster, name: str) -> str:
    ports = service_addresses(cluster.folder).get(f"{NAMESPACE}/{name}", {})
    if "web" not in ports:
        raise NotYetError(str(ports))
    return ports["web"]


def _ask(url: str) -> Mapping[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return dict(json.load(answer))


def test_a_service_of_ready_pods_answers_on_this_machine(reporter: Api, shared_cluster: RehearsalCluster) -> None:
    reporter.create(SERVICES, service("front"))
    assert _ask(f"http://{_answering(shared_cluster, 'front')}/")["environment"]["NAME"] == "reporter"


@pytest.mark.namespaces
@pytest.mark.parametrize("name", ["front", "front.programs", "front.programs.svc", "front.programs.svc.cluster.local"])
def test_a_service_has_its_names_in_pods(reporter: Api, name: str) -> None:
    assert _found(reporter, f"http://{name}:9000/")["environment"]["NAME"] == "reporter"


@pytest.mark.namespaces
def test_a_headless_service_is_its_pods(reporter: Api) -> None:
    reporter.create(SERVICES, service("headless", clusterIP="None"))
    assert _found(reporter, "http://headless:8080/")["environment"]["NAME"] == "reporter"


@until
def _found(api: Api, url: str) -> Mapping[str, Any]:
    """What the pod gets at a URL."""
    found = _told(api, f"/fetch?{url}")
    if "error" in found:
        raise NotYetError(found["error"])
    return found


def test_a_service_without_ready_pods_refuses(reporter: Api, shared_cluster: RehearsalCluster) -> None:
    address = _answering(shared_cluster, "front")
    _told(reporter, "/become-unready")
    _await_refused(address)
    assert f"{NAMESPACE}/front" not in service_addresses(shared_cluster.folder)
    _told(reporter, "/become-ready")
    _await_state(reporter, "reporter", lambda each: each["ready"])


@until
def _await_refused(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=60).close()
    except ConnectionRefusedError:
        return
    raise NotYetError("it accepts connections")


def test_one_that_ends_is_started_again(reporter: Api) -> None:
    with pytest.raises(ApiError):
        reporter.get(f"{PROXY}/exit")
    restarted = _await_state(reporter, "reporter", lambda each: each["restartCount"] and "running" in each["state"])
    assert restarted["lastState"]["terminated"]["exitCode"] == 3
    assert _told(reporter)["files"]["SETTINGS"] == "some"


def test_another_program_of_the_image_is_kept_by_kwok(reporter: Api) -> None:
    reporter.create(PODS, pod("other", "/something-else"))
    kept = _await_state(reporter, "other", lambda each: each.get("ready"))
    assert kept["state"]["running"]
    assert REACHABLE not in reporter.get(f"{PODS}/other")["metadata"].get("annotations", {})


@until
def _log(api: Api) -> list[str]:
    lines = api.text(f"{PODS}/reporter/log").splitlines()
    if not lines:
        raise NotYetError("nothing was written")
    return lines


def test_its_log_is_what_it_wrote(reporter: Api) -> None:
    assert _log(reporter)[-1] == "up"
    assert reporter.text(f"{PODS}/reporter/log?tailLines=1") == "up\n"
    with pytest.raises(ApiError, match="KWOK keeps it alive") as told:
        reporter.text(f"{PODS}/other/log")
    assert "--live" in told.value.message


def kubectl(cluster: RehearsalCluster, *arguments: str) -> list[str]:
    return ["kubectl", f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]


def test_a_command_runs_in_its_container(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    command = ["/bin/sh", "-c", 'read line; echo "$NAME got $line"; echo wrong >&2; exit 7']
    done = subprocess.run(
        kubectl(shared_cluster, "exec", "-i", "reporter", "--", *command),
        input="a word\n",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (7, "reporter got a word\n")
    assert done.stderr.startswith("wrong\n")


@pytest.mark.namespaces
def test_a_command_has_a_terminal_where_it_asks_for_one(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    command = ["/bin/sh", "-c", "test -t 0 && test -t 1 && id -u && cat /proc/1/comm"]
    here, there = pty.openpty()
    with os.fdopen(here, "rb"):
        entered = kubectl(shared_cluster, "exec", "-it", "reporter", "--", *command)
        done = subprocess.run(entered, stdin=there, capture_output=True, text=True, timeout=240, check=False)
        os.close(there)
    user, process = done.stdout.split()
    assert (user, process[:6]) == ("4711", "python")


def test_a_port_of_it_is_forwarded(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    forwarding = kubectl(shared_cluster, "port-forward", "pod/reporter", ":8080")
    with subprocess.Popen(forwarding, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        address = running.stdout.readline().split()[2]
        try:
            assert _ask(f"http://{address}/")["environment"]["NAME"] == "reporter"
        finally:
            running.terminate()


def test_a_pod_that_kwok_keeps_has_nothing_to_enter(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    entered = kubectl(shared_cluster, "exec", "other", "--", "id")
    done = subprocess.run(entered, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1
    assert "KWOK keeps it alive" in done.stderr


POLICIES = collection("networking.k8s.io/v1", "networkpolicies", NAMESPACE)


def _policy(name: str, labels: Content, **spec: Any) -> Content:
    return {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": labels}, **spec}}


@pytest.mark.namespaces
def test_a_connection_that_no_policy_lets_through_is_refused_and_reported(reporter: Api) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "reporter"}
    owner["uid"] = reporter.get(f"{CONFIG_MAPS}/reporter")["metadata"]["uid"]
    caller = pod("caller")
    caller["metadata"]["ownerReferences"] = [owner]  # without an owner it would not be policed
    reporter.create(PODS, caller)
    _await_state(reporter, "caller", lambda each: "running" in each.get("state", {}))
    through = PROXY.replace("reporter", "caller")
    url = "/fetch?http://front:9000/"
    assert _fetched(reporter, url, through)["environment"]["NAME"] == "reporter"
    reporter.create(POLICIES, _policy("closed", {"app": "caller"}, policyTypes=["Egress"]))
    message = _await_event(reporter, "caller", url, through)
    assert message == f"no NetworkPolicy lets it connect to port 8080 of pod {NAMESPACE}/reporter"
    to = [{"podSelector": {"matchLabels": {"app": "reporter"}}}]
    opened = _policy(
        "opened", {"app": "caller"}, policyTypes=["Egress"], egress=[{"to": to, "ports": [{"port": "http"}]}]
    )
    reporter.create(POLICIES, opened)
    assert _fetched(reporter, url, through)["environment"]["NAME"] == "reporter"
    for name in ("closed", "opened"):
        reporter.delete(f"{POLICIES}/{name}")
    reporter.delete(f"{PODS}/caller")


@until
def _fetched(api: Api, url: str, proxy: str) -> Mapping[str, Any]:
    found = _told(api, url, proxy=proxy)
    if "error" in found:
        raise NotYetError(found["error"])
    return found


@until
def _await_event(api: Api, name: str, url: str, proxy: str) -> str:
    _told(api, url, proxy=proxy)
    events = api.get(collection("v1", "events", NAMESPACE))["items"]
    found = [event for event in events if event["reason"] == "NetworkPolicyDenied"]
    if not found:
        raise NotYetError("no Event")
    assert found[0]["involvedObject"]["name"] == name
    return str(found[0]["message"])


def _listening(cluster: RehearsalCluster) -> set[tuple[str, int]]:
    """Where the programs of a cluster listen, its pods' included."""
    programs = [each.find() for each in read_records(cluster.folder.processes)]
    found = (one for program in programs if program for one in program.net_connections(kind="inet"))
    return {(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN}


def test_nothing_listens_for_other_machines(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    listening = _listening(shared_cluster)
    assert listening
    assert {address for address, _ in listening if not address.startswith("127.")} == set()
    sockets = [path for path in shared_cluster.folder.cluster.rglob("*") if path.is_socket()]
    assert {path.name for path in sockets} >= {"egress.sock", "kubelet.sock"}
    assert [path for path in sockets if path.stat().st_mode & 0o077] == []


ATTACK = """
import http.client, ssl, sys
def ask(connection, method, path, headers={}):
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
trusting = ssl._create_unverified_context()
signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=rehearsal/20300101/us-west-2/ec2/aws4_request"}
for port in map(int, sys.argv[1:]):
    for method, path in (("POST", "/moto-api/reset"), ("GET", "/api/v1/secrets"), ("POST", "/"), ("GET", "/metrics")):
        for headers in ({}, signed):
            for kind, more in ((http.client.HTTPConnection, {}), (http.client.HTTPSConnection, {"context": trusting})):
                print(port, method, path, ask(kind("127.0.0.1", port, timeout=20, **more), method, path, headers))
"""


def test_another_user_of_the_machine_gets_nothing(shared_cluster: RehearsalCluster, reporter: Api) -> None:
    ports = sorted(str(port) for address, port in _listening(shared_cluster) if address == "127.0.0.1")
    assert len(ports) >= len(("API server", "AWS", "webhook"))
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    python = shutil.which("python3", path=os.defpath) or sys.executable  # that another user may run too
    done = subprocess.run(
        [*user, python, "-c", ATTACK, *ports], capture_output=True, text=True, check=True, timeout=240, cwd="/"
    )
    answers = {line.split()[-1] for line in done.stdout.splitlines()}
    assert len(done.stdout.splitlines()) == len(ports) * 16
    assert {answer for answer in answers if answer.isdigit()} <= {"400", "401", "403", "404"}, done.stdout


def test_an_exec_probe_runs_where_its_container_does(reporter: Api) -> None:
    probed = pod("probed")
    (container,) = probed["spec"]["containers"]
    look = ["/bin/sh", "-c", 'test "$NAME" = probed && test -r "$SETTINGS"']
    container["readinessProbe"] = {"exec": {"command": look}, "timeoutSeconds": 60}
    reporter.create(PODS, probed)
    assert _await_state(reporter, "probed", lambda each: each.get("ready"))
    reporter.delete(f"{PODS}/probed")


@pytest.mark.namespaces
def test_what_is_to_be_done_before_the_stop_is_done(reporter: Api, shared_cluster: RehearsalCluster) -> None:
    stopped = pod("stopped")
    say = ["/bin/sh", "-c", "echo stopping > /proc/1/fd/1"]
    stopped["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": say}}}
    reporter.create(PODS, stopped)
    _await_state(reporter, "stopped", lambda each: "running" in each.get("state", {}))
    log = shared_cluster.folder.logs / "pods" / f"{NAMESPACE}_stopped_reporter.log"
    _await_line(log, "up")
    reporter.delete(f"{PODS}/stopped")
    _await_line(log, "stopping")


@until
def _await_line(log: Path, line: str) -> None:
    if line not in log.read_text().splitlines():
        raise NotYetError(log.read_text())


PROBE = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 60}


@pytest.mark.parametrize("kind", ["liveness", "startup"])
def test_one_whose_probe_fails_is_restarted_and_says_why(reporter: Api, kind: str) -> None:
    failing = pod(f"{kind}-fails")
    failing["spec"]["containers"][0] |= {f"{kind}Probe": PROBE}
    reporter.create(PODS, failing)
    ended = _await_state(reporter, f"{kind}-fails", lambda each: each.get("restartCount"))["lastState"]["terminated"]
    assert f"{kind} probe failed" in ended["message"]
    assert "HTTP" in ended["message"]
    events = reporter.get(collection("v1", "events", NAMESPACE), {"fieldSelector": f"involvedObject.name={kind}-fails"})
    assert {event["reason"] for event in events["items"]} >= {"Unhealthy"}
    reporter.delete(f"{PODS}/{kind}-fails")


def test_a_hook_after_the_start_that_fails_ends_the_container(reporter: Api) -> None:
    hooked = pod("hooked")
    hooked["spec"]["containers"][0]["lifecycle"] = {"postStart": {"exec": {"command": ["/bin/sh", "-c", "exit 9"]}}}
    reporter.create(PODS, hooked)
    ended = _await_state(reporter, "hooked", lambda each: each.get("restartCount"))["lastState"]["terminated"]
    assert "postStart hook failed: exit status 9" in ended["message"]
    reporter.delete(f"{PODS}/hooked")


def _one_after_the_other(name: str, **main: str) -> Content:
    """A pod whose init container leaves what its sidecar's startup probe asks for."""
    whole = pod(name, **main)
    spec = whole["spec"]
    first, sidecar = (pod(name, **variables)["spec"]["containers"][0] for variables in ({"LEAVE": "0"}, {}))
    first |= {"name": "first", "env": [*first["env"], {"name": "WRITE", "value": "/state/ready"}]}
    first = {key: value for key, value in first.items() if key not in ("ports", "readinessProbe")}
    sidecar |= {
        "name": "side",
        "restartPolicy": "Always",
        "startupProbe": PROBE | {"httpGet": {"path": "/ready", "port": 8081}},
    }
    sidecar |= {"command": ["/reporter", "--listen=:8081"], "ports": []}
    del sidecar["readinessProbe"]
    spec["initContainers"] = [first, sidecar]
    return whole


@pytest.mark.namespaces
def test_init_containers_run_one_after_the_other_and_sidecars_go_on(reporter: Api) -> None:
    reporter.create(PODS, _one_after_the_other("ordered"))
    _await_state(reporter, "ordered", lambda each: each.get("ready"))
    status = reporter.get(f"{PODS}/ordered")["status"]
    first, side = status["initContainerStatuses"]
    assert first["state"]["terminated"]["exitCode"] == 0
    assert (side["started"], "running" in side["state"]) == (True, True)
    (main,) = status["containerStatuses"]
    assert first["state"]["terminated"]["finishedAt"] <= side["state"]["running"]["startedAt"]
    assert side["state"]["running"]["startedAt"] <= main["state"]["running"]["startedAt"]
    reporter.delete(f"{PODS}/ordered")


@pytest.mark.namespaces
def test_a_pod_that_runs_once_ends_with_its_program_and_takes_its_sidecar_along(reporter: Api) -> None:
    once = _one_after_the_other("once", LEAVE="4")
    once["spec"]["restartPolicy"] = "Never"
    reporter.create(PODS, once)
    status = _await_phase(reporter, "once", "Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    assert _await_sidecar_ended(reporter, "once")["state"]["terminated"]
    reporter.delete(f"{PODS}/once")


def test_nothing_follows_an_init_container_that_fails(reporter: Api) -> None:
    failing = pod("uninitialized")
    first = pod("first", LEAVE="3")["spec"]["containers"][0] | {"name": "first"}
    del first["readinessProbe"]
    failing["spec"] |= {"initContainers": [first], "restartPolicy": "Never"}
    reporter.create(PODS, failing)
    status = _await_phase(reporter, "uninitialized", "Failed")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    assert "waiting" in status["containerStatuses"][0]["state"]
    reporter.delete(f"{PODS}/uninitialized")


@until
def _await_phase(api: Api, name: str, phase: str) -> Mapping[str, Any]:
    status: Mapping[str, Any] = api.get(f"{PODS}/{name}")["status"]
    if status.get("phase") != phase:
        raise NotYetError(str(status))
    return status


@until
def _await_sidecar_ended(api: Api, name: str) -> Mapping[str, Any]:
    side: Mapping[str, Any] = api.get(f"{PODS}/{name}")["status"]["initContainerStatuses"][1]
    if "terminated" not in side["state"]:
        raise NotYetError(str(side))
    return side


def test_its_process_ends_with_it(reporter: Api) -> None:
    host, _, port = (
        reporter.get(f"{PODS}/reporter")["metadata"]["annotations"][REACHABLE].partition("=")[2].partition(":")
    )
    (listener,) = (
        each
        for each in psutil.net_connections("tcp")
        if each.laddr and each.laddr[:2] == (host, int(port)) and not each.raddr
    )
    process = psutil.Process(listener.pid)
    reporter.delete(f"{PODS}/reporter")
    _await_gone(reporter)
    _, alive = psutil.wait_procs([process], timeout=60)
    assert alive == []


@until
def _await_gone(api: Api) -> None:
    if api.find(f"{PODS}/reporter") is not None:
        raise NotYetError("it is there")


def test_where_there_is_one_loopback_address_each_port_becomes_another() -> None:
    address = Address("10.130.0.1", "127.0.0.1", whole=False)
    listen = address.listening("--listen=:8080")
    assert listen == f"--listen=127.0.0.1:{address.port(8080)}"
    assert address.port(8080) not in (8080, address.port(8081))
    assert address.listening("0.0.0.0") == "127.0.0.1"
    assert address.listening("http://somewhere:8080") == "http://somewhere:8080"
