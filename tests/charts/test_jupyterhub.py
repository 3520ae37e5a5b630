"""JupyterHub: who gets in, what a profile's pod is, what servers may reach, and where secrets come from."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from drydock.errors import RenderError
from drydock.scheduling.pods import find_pods
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart, RenderEnvironment
from tests.charts.objects import by_name
from tests.pains.suite import findings, platform

CHART = "jupyterhub"
HUB, PROXY, SERVERS = "genai-jupyterhub-hub", "genai-jupyterhub-proxy-public", "genai-jupyterhub-singleuser"
GPU = "nvidia.com/gpu"
EVERY_PROFILE = {"profiles": {name: {"enabled": True} for name in ("gpu", "gpu-share", "neuron")}}
CALLBACK = "https://jupyter.example.com/hub/oauth_callback"
OIDC = {
    "type": "oidc",
    "callbackUrl": CALLBACK,
    "allowedUsers": {"alice": True, "bob": False},
    "oidc": {
        "authorizeUrl": "https://id.example.com/authorize",
        "tokenUrl": "https://id.example.com/token",
        "userdataUrl": "https://id.example.com/userinfo",
        "groupsClaim": "groups",
        "allowedGroups": {"research": True},
    },
}
GITHUB = {"type": "github", "callbackUrl": CALLBACK, "github": {"allowedOrganizations": {"example": True}}}
CREDENTIALS = {
    "CONFIGPROXY_AUTH_TOKEN": "hub.config.ConfigurableHTTPProxy.auth_token",
    "JPY_COOKIE_SECRET": "hub.config.JupyterHub.cookie_secret",
}
LOADED = """
import json, sys
from traitlets.config import PyFileConfigLoader
from {module} import {name}
config = PyFileConfigLoader("jupyterhub_config.py", path=sys.argv[1]).load_config()
made = {name}(config=config{more})
print(json.dumps({{trait: getattr(made, trait) for trait in sys.argv[2:]}}, default=sorted))
"""


def _files(manifests: Sequence[Manifest]) -> dict[str, str]:
    files: dict[str, str] = by_name(manifests, "ConfigMap")[HUB]["data"]
    return files


def _profiles(manifests: Sequence[Manifest]) -> dict[str, Any]:
    profiles: dict[str, Any] = yaml.safe_load(_files(manifests)["profiles.yaml"])["profiles"]
    return profiles


def _server(manifests: Sequence[Manifest], profile: str) -> Any:
    return _profiles(manifests)[profile]["template"]["spec"]


def _traits(manifests: Sequence[Manifest]) -> dict[str, Any]:
    traits: dict[str, Any] = yaml.safe_load(_files(manifests)["settings.yaml"])["traits"]
    return traits


def _container(manifests: Sequence[Manifest], deployment: str) -> Any:
    (container,) = by_name(manifests, "Deployment")[deployment]["spec"]["template"]["spec"]["containers"]
    return container


def _secrets(container: Any) -> dict[str, str]:
    """Keys of the Secret by variable."""
    references = {each["name"]: each.get("valueFrom", {}).get("secretKeyRef") for each in container["env"]}
    return {name: each["key"] for name, each in references.items() if each and not each.get("optional")}


def _loaded(
    manifests: Sequence[Manifest], folder: Path, of: str, *traits: str, more: str = "", **environment: str
) -> Any:
    """What the real classes make of the rendered configuration."""
    module, _, name = of.rpartition(".")
    return _run(LOADED.format(module=module, name=name, more=more), _files(manifests), folder, *traits, **environment)


def _run(script: str, files: Mapping[str, str], folder: Path, *arguments: str, **environment: str) -> Any:
    """What a program prints as JSON that gets the folder of the hub's files as its first argument."""
    for file, content in files.items():
        (folder / file).write_text(content)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *arguments],
        env={
            "POD_NAMESPACE": "genai",
            "OAUTH_CLIENT_ID": "me",
            "OAUTH_CLIENT_SECRET": "mine",
            "PATH": "",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "not recognized" not in done.stderr
    return json.loads(done.stdout)


def test_secrets_are_referred_to_and_never_rendered(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"hub": {"existingSecret": "mine"}})
    assert not by_name(manifests, "Secret")
    assert _secrets(_container(manifests, HUB)) == CREDENTIALS
    assert _secrets(_container(manifests, PROXY)) == {k: CREDENTIALS[k] for k in ("CONFIGPROXY_AUTH_TOKEN",)}
    references = [
        each["valueFrom"]["secretKeyRef"] for each in _container(manifests, HUB)["env"] if "OKEN" in str(each)
    ]
    assert {each["name"] for each in references} == {"mine"}


def test_renders_are_the_same_with_both_helms(render_chart: RenderChart) -> None:
    values = {"singleuser": EVERY_PROFILE, "prePuller": {"continuous": {"enabled": True}}}
    first = render_chart(CHART, values)
    assert first == render_chart(CHART, values) == render_chart(CHART, values, helm="helm3")


def test_nobody_gets_in_until_it_is_decided_who(render_chart: RenderChart) -> None:
    assert _traits(render_chart(CHART))["JupyterHub"]["authenticator_class"] == "null"


@pytest.mark.parametrize(
    ("hub", "reason"),
    [
        (
            {"authenticator": {"type": "dummy"}},
            "admits any user by name, without a password: set oidc or github, or allowPasswordless",
        ),
        (
            {
                "authenticator": {"type": "custom"},
                "config": {"JupyterHub": {"authenticator_class": "jupyterhub.auth.DummyAuthenticator"}},
            },
            "admits any user by name, without a password",
        ),
        (
            {"config": {"JupyterHub": {"authenticator_class": "dummy"}}},
            "hub.authenticator.type is none: set it to custom",
        ),
        ({"authenticator": {"type": "custom"}}, r"custom needs a class: set hub\.config"),
        ({"authenticator": {**GITHUB, "github": {}}}, "no user could log in"),
        ({"authenticator": {**GITHUB, "callbackUrl": ""}}, "set https://HOST/hub/oauth_callback"),
        ({"authenticator": {**OIDC, "oidc": {**OIDC["oidc"], "tokenUrl": ""}}}, r"oidc\.tokenUrl: set it to"),  # type: ignore[dict-item]
        ({"config": {"GitHubOAuthenticator": {"client_secret": "x"}}}, "client_secret: a credential in values"),
        ({"extraEnv": {"OWN_TOKEN": "x"}}, r"hub\.extraEnv\.OWN_TOKEN: a credential in values"),
        ({"extraEnv": {"JPY_COOKIE_SECRET": "x"}}, "the chart sets this variable itself"),
        (
            {"db": {"type": "postgres", "url": "postgresql://hub:secret@db/hub"}},
            r"hub\.db\.url: set DIALECT://USER@HOST/DATABASE",
        ),
        ({"db": {"type": "postgres"}}, r"hub\.db\.url: postgres needs the address"),
        ({"db": {"url": "postgresql://hub@db/hub"}}, "set it to postgres or mysql"),
        ({"allowNamedServer": True}, "additional properties 'allowNamedServer' not allowed"),
    ],
)
def test_hubs_that_are_open_or_cannot_work(render_chart: RenderChart, hub: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(CHART, {"hub": hub})


def test_a_hub_without_passwords_is_said_aloud_and_says_so(render_chart: RenderChart) -> None:
    traits = _traits(render_chart(CHART, {"hub": {"authenticator": {"type": "dummy", "allowPasswordless": True}}}))
    assert traits["JupyterHub"]["authenticator_class"] == "dummy"
    assert "password" in traits["JupyterHub"]["template_vars"]["announcement_login"]


@pytest.mark.parametrize(
    ("balancer", "reason"),
    [
        ({}, "without a certificate"),
        ({"certificateArn": "arn:aws:acm:r:1:certificate/1"}, "needs the address ranges"),
        ({"certificateArn": "arn:aws:acm:r:1:certificate/1", "sourceRanges": {"a": "0.0.0.0/0"}}, "whole internet"),
    ],
)
def test_the_world_is_kept_out(render_chart: RenderChart, balancer: Mapping[str, Any], reason: str) -> None:
    service = {"type": "LoadBalancer", "loadBalancer": {"scheme": "internet-facing", **balancer}}
    with pytest.raises(RenderError, match=reason):
        render_chart(CHART, {"proxy": {"service": service}})


def test_oidc_as_oauthenticator_understands_it(render_chart: RenderChart, tmp_path: Path) -> None:
    manifests = render_chart(CHART, {"hub": {"authenticator": OIDC}})
    assert _secrets(_container(manifests, HUB)) == {
        **CREDENTIALS,
        "OAUTH_CLIENT_ID": "client_id",
        "OAUTH_CLIENT_SECRET": "client_secret",
    }
    wanted = ("token_url", "allowed_groups", "allowed_users", "client_secret", "manage_groups", "allow_all", "scope")
    made = _loaded(manifests, tmp_path, "oauthenticator.generic.GenericOAuthenticator", *wanted)
    assert made == {
        "token_url": "https://id.example.com/token",
        "allowed_groups": ["research"],
        "allowed_users": ["alice"],
        "client_secret": "mine",
        "manage_groups": True,
        "allow_all": False,
        "scope": ["openid", "profile"],
    }


def test_github_as_oauthenticator_understands_it(render_chart: RenderChart, tmp_path: Path) -> None:
    manifests = render_chart(CHART, {"hub": {"authenticator": GITHUB}})
    wanted = ("allowed_organizations", "client_id", "oauth_callback_url", "scope")
    made = _loaded(manifests, tmp_path, "oauthenticator.github.GitHubOAuthenticator", *wanted)
    assert made == {
        "allowed_organizations": ["example"],
        "client_id": "me",
        "oauth_callback_url": CALLBACK,
        "scope": ["read:org"],
    }


def test_limits_culler_and_own_configuration_reach_the_hub(render_chart: RenderChart, tmp_path: Path) -> None:
    hub = {
        "allowNamedServers": True,
        "namedServerLimitPerUser": 2,
        "config": {"JupyterHub": {"shutdown_on_logout": True, "concurrent_spawn_limit": 7}},
        "extraConfig": {"own": "c.JupyterHub.redirect_to_server = False"},
        "baseUrl": "/jupyter/",
    }
    manifests = render_chart(CHART, {"hub": hub, "cull": {"timeout": 900, "users": True}})
    wanted = ("shutdown_on_logout", "allow_named_servers", "named_server_limit_per_user", "redirect_to_server")
    more = ("concurrent_spawn_limit", "services", "load_roles", "cleanup_servers")
    made = _loaded(manifests, tmp_path, "jupyterhub.app.JupyterHub", *wanted, *more)
    assert [made[name] for name in wanted] == [True, True, 2, False]
    assert made["concurrent_spawn_limit"] == 7
    assert made["cleanup_servers"] is False
    (culler,), (role,) = made["services"], made["load_roles"]
    assert "--url=http://127.0.0.1:8081/jupyter/hub/api" in culler["command"]
    assert {"--timeout=900", "--cull-users"} <= set(culler["command"])
    assert role["services"] == [culler["name"]]
    assert role["scopes"] == ["list:users", "read:users:activity", "read:servers", "delete:servers", "admin:users"]
    off = render_chart(CHART, {"cull": {"enabled": False}})
    assert _loaded(off, tmp_path, "jupyterhub.app.JupyterHub", "services") == {"services": []}


def test_services_and_roles_of_the_configuration_stand_beside_the_culler(
    render_chart: RenderChart, tmp_path: Path
) -> None:
    own = {"services": [{"name": "own", "url": "http://own"}], "load_roles": [{"name": "own", "services": ["own"]}]}
    manifests = render_chart(CHART, {"hub": {"config": {"JupyterHub": own}}})
    made = _loaded(manifests, tmp_path, "jupyterhub.app.JupyterHub", *own)
    for entries in made.values():
        assert [entry["name"] for entry in entries] == ["own", "jupyterhub-idle-culler"]


@pytest.mark.parametrize("query", ["", "?charset=utf8mb4"])
def test_the_password_of_mysql_reaches_its_driver_and_no_address(
    render_chart: RenderChart, tmp_path: Path, query: str
) -> None:
    address = f"mysql+pymysql://hub@db.example.com:3306/hub{query}"
    manifests = render_chart(CHART, {"hub": {"db": {"type": "mysql", "url": address}}})
    assert "MYSQL_PWD" in _secrets(_container(manifests, HUB))
    made = _loaded(manifests, tmp_path, "jupyterhub.app.JupyterHub", "db_url", MYSQL_PWD="a#b%c;d'")
    assert made["db_url"].startswith(address)
    options = make_url(made["db_url"]).query
    assert set(options) == {"read_default_file", *(["charset"] if query else [])}
    file = Path(str(options["read_default_file"]))
    read = RawConfigParser()
    read.read(file)
    assert read.get("client", "password") == '"a#b%c;d\'"'  # PyMySQL takes the quotes away
    assert file.stat().st_mode & 0o077 == 0


def test_profiles_ask_for_their_accelerator(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"singleuser": EVERY_PROFILE})
    assert [name for name, each in _profiles(manifests).items() if each["default"]] == ["cpu"]
    for profile, resource, pool in (
        ("gpu", GPU, "gpu"),
        ("gpu-share", GPU, None),
        ("neuron", "aws.amazon.com/neuron", "neuron"),
    ):
        server = _server(manifests, profile)
        assert server["containers"][0]["resources"]["limits"][resource] == "1"
        assert server.get("nodeSelector", {}).get("karpenter.sh/nodepool") == pool
        assert {"key": resource, "operator": "Exists", "effect": "NoSchedule"} in server["tolerations"]
    required = _server(manifests, "gpu-share")["affinity"]["nodeAffinity"]
    ((expression,),) = [
        term["matchExpressions"]
        for term in required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    ]
    assert (expression["key"], expression["values"]) == ("nvidia.com/device-plugin.config", ["time-slicing"])
    assert set(_server(manifests, "cpu")["containers"][0]["resources"]["limits"]) == {"memory"}


def test_a_profile_starts_with_what_all_servers_have(render_chart: RenderChart) -> None:
    own = {"enabled": True, "memory": {"guarantee": "8Gi"}, "extraEnv": {"EDITOR": "vi"}, "default": True}
    start = {"memory": {"limit": "16Gi"}, "zone": "us-west-2a", "extraEnv": {"TEAM": "search"}}
    manifests = render_chart(CHART, {"singleuser": {**start, "profiles": {"own": own, "cpu": None}}})
    server = _server(manifests, "own")
    resources = server["containers"][0]["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("8Gi", "16Gi")
    assert server["nodeSelector"]["topology.kubernetes.io/zone"] == "us-west-2a"
    environment = {each["name"]: each.get("value") for each in server["containers"][0]["env"]}
    assert (environment["EDITOR"], environment["TEAM"]) == ("vi", "search")


def test_servers_have_no_rights_and_restricted_pods(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART)
    server = _server(manifests, "cpu")
    assert server["automountServiceAccountToken"] is False
    assert server["serviceAccountName"] == SERVERS
    assert by_name(manifests, "ServiceAccount")[SERVERS]["automountServiceAccountToken"] is False
    subjects = [each["subjects"] for each in by_name(manifests, "RoleBinding").values()]
    assert [each["name"] for (each,) in subjects] == [HUB]
    security = server["containers"][0]["securityContext"]
    assert server["securityContext"]["runAsNonRoot"] is True
    assert server["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (security["allowPrivilegeEscalation"], security["capabilities"]) == (False, {"drop": ["ALL"]})


def test_the_hub_may_do_what_its_servers_need(render_chart: RenderChart) -> None:
    def rules(values: Mapping[str, Any]) -> dict[str, list[str]]:
        role = by_name(render_chart(CHART, values), "Role")[HUB]
        return {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]}

    everything = rules({})
    assert set(everything) == {"pods", "persistentvolumeclaims", "events"}
    assert everything["events"] == ["get", "list", "watch"]
    assert set(rules({"singleuser": {"events": False, "storage": {"type": "none"}}})) == {"pods"}


def _egress(manifests: Sequence[Manifest]) -> list[Any]:
    rules: list[Any] = by_name(manifests, "NetworkPolicy")[SERVERS]["spec"]["egress"]
    return rules


def _allows(rules: Sequence[Any], address: str, port: int) -> bool:
    """Whether some rule lets a connection to an address through."""
    import ipaddress

    wanted = ipaddress.ip_address(address)

    def within(cidr: str) -> bool:
        network = ipaddress.ip_network(cidr)
        return network.version == wanted.version and wanted in network

    return any(
        within(block["cidr"]) and not any(within(each) for each in block.get("except", ()))
        for rule in rules
        if port in {each["port"] for each in rule.get("ports", ())} or not rule.get("ports")
        for block in (peer["ipBlock"] for peer in rule.get("to", ()) if "ipBlock" in peer)
    )


METADATA = (("169.254.169.254", 80), ("fd00:ec2::254", 80))
PRIVATE = (("10.0.12.7", 443), ("172.20.0.1", 443), ("192.168.3.4", 22), ("100.64.9.9", 8000), ("fd12::1", 443))
INTERNET = (("93.184.216.34", 443), ("2606:2800:220:1::1", 443))


def test_servers_reach_models_and_the_internet_and_nothing_private(render_chart: RenderChart) -> None:
    rules = _egress(render_chart(CHART))
    assert all(_allows(rules, *each) for each in INTERNET)
    assert not [each for each in (*METADATA, *PRIVATE) if _allows(rules, *each)]
    assert not any(_allows(rules, address, 53) for address, _ in METADATA)
    peers = {
        (peer["podSelector"]["matchLabels"].get("app.kubernetes.io/component", ""), rule["ports"][0]["port"])
        for rule in rules
        for peer in rule.get("to", ())
        if "podSelector" in peer and peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == CHART
    }
    assert peers == {("hub", 8081)}, "neither the proxy nor another server"
    models = {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: rule["ports"][0]["port"]
        for rule in rules
        for peer in rule.get("to", ())
        if "podSelector" in peer
    }
    assert (models["vllm"], models["model-gateway"]) == (8000, 4000)


def test_what_servers_may_reach_is_where_the_models_listen(render_environment: RenderEnvironment) -> None:
    manifests = render_environment("prod").manifests
    rules = {
        name: rule["ports"][0]["port"]
        for rule in _egress(manifests)
        for peer in rule.get("to", ())
        if (name := peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name"))
    }
    for chart in "vllm", "model-gateway":
        pods = [
            each.content["spec"]["template"]["spec"]
            for each in manifests
            if each.chart == chart and each.kind == "Deployment"
        ]
        listening = {port["containerPort"] for pod in pods for each in pod["containers"] for port in each["ports"]}
        assert rules[chart] in listening


def test_what_draws_in_prod_lets_its_users_in(render_environment: RenderEnvironment) -> None:
    """Both ends agree: the servers' policy lets them out, the Ray service's lets them in."""
    policies = by_name(render_environment("prod").manifests, "NetworkPolicy")
    servers, drawing = (policies[f"genai-{name}"]["spec"] for name in ("jupyterhub-singleuser", "kuberay-drawing"))

    def admits(peers: Any, policy: Any) -> bool:
        labels = policy["podSelector"]["matchLabels"].items()
        return any(each.get("podSelector", {}).get("matchLabels", {"": ""}).items() <= labels for each in peers)

    ports = [{"port": 8000, "protocol": "TCP"}]
    # The VPC CNI compares a Service's address with its selector, which KubeRay makes of these two labels.
    selector = {"ray.io/cluster": "genai-kuberay-drawing-abcde", "ray.io/serve": "true"}
    called = {"podSelector": {"matchLabels": selector}}
    assert any(rule.get("ports") == ports and admits(rule["to"], called) for rule in servers["egress"])
    assert any(rule.get("ports") == ports and admits(rule["from"], servers) for rule in drawing["ingress"])


@pytest.mark.parametrize(
    ("switch", "opened"), [("privateIPs", PRIVATE), ("cloudMetadataServer", METADATA), ("podIdentityAgent", ())]
)
def test_what_is_closed_can_be_opened(render_chart: RenderChart, switch: str, opened: Sequence[Any]) -> None:
    values = {"singleuser": {"networkPolicy": {"egressAllowRules": {switch: True, "nonPrivateIPs": False}}}}
    rules = _egress(render_chart(CHART, values))
    assert all(_allows(rules, *each) for each in opened)
    assert not [each for each in (*METADATA, *INTERNET) if each not in opened and _allows(rules, *each)]
    assert _allows(rules, "169.254.170.23", 80) == (switch == "podIdentityAgent")


def test_only_the_hub_tells_the_proxy_its_routes(render_chart: RenderChart) -> None:
    balancer = {"proxy": {"service": {"type": "LoadBalancer"}}}
    policy = by_name(render_chart(CHART, balancer), "NetworkPolicy")[PROXY]["spec"]
    peers = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    (hub,) = peers[8001]
    assert hub["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "hub"
    assert {each["ipBlock"]["cidr"] for each in peers[8000]} == {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    alone = by_name(render_chart(CHART), "NetworkPolicy")[PROXY]["spec"]
    assert [rule["ports"][0]["port"] for rule in alone["ingress"]] == [8001], "nobody, until it is said who"


def test_an_ingress_is_healthy_and_speaks_https(render_chart: RenderChart) -> None:
    def annotations(**own: str | None) -> dict[str, str]:
        ingress = {"enabled": True, "annotations": {f"alb.ingress.kubernetes.io/{key}": own[key] for key in own}}
        manifests = render_chart(CHART, {"ingress": ingress})
        found: dict[str, str] = by_name(manifests, "Ingress")[PROXY]["metadata"]["annotations"]
        return {key.rpartition("/")[2]: value for key, value in found.items()}

    manifests = render_chart(CHART)
    probe = _container(manifests, PROXY)["readinessProbe"]["httpGet"]
    made = annotations()
    assert made["healthcheck-path"] == probe["path"], "/ answers with a redirect"
    assert json.loads(made["listen-ports"]) == [{"HTTPS": 443}]
    assert made["scheme"] == "internal"
    assert set(annotations(**{"listen-ports": None})) == set(made) - {"listen-ports"}


def test_an_external_database(render_chart: RenderChart) -> None:
    database = {"type": "postgres", "url": "postgresql+psycopg2://hub@db.example.com:6432/hub"}
    manifests = render_chart(CHART, {"hub": {"db": database}, "global": {"zones": ["us-west-2a", "us-west-2b"]}})
    assert _secrets(_container(manifests, HUB))["PGPASSWORD"] == "hub.db.password"
    assert _traits(manifests)["JupyterHub"]["db_url"] == database["url"]
    assert not by_name(manifests, "PersistentVolumeClaim")
    pod = by_name(manifests, "Deployment")[HUB]["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    ports = {
        port["port"]
        for rule in by_name(manifests, "NetworkPolicy")[HUB]["spec"]["egress"]
        for port in rule.get("ports", ())
    }
    assert 6432 in ports


def test_the_pre_puller_stays_away_from_accelerators(render_chart: RenderChart) -> None:
    assert not by_name(render_chart(CHART), "DaemonSet")
    values = {"prePuller": {"continuous": {"enabled": True}}, "singleuser": EVERY_PROFILE}
    manifests = render_chart(CHART, values)
    (daemon_set,) = by_name(manifests, "DaemonSet").values()
    pod = daemon_set["spec"]["template"]["spec"]
    assert [each["image"] for each in pod["initContainers"]] == ["quay.io/jupyter/scipy-notebook:2026-04-20"]
    affinity = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    absent = {each["key"] for each in affinity["nodeSelectorTerms"][0]["matchExpressions"] if "values" not in each}
    assert absent == {"karpenter.k8s.aws/instance-gpu-count", "karpenter.k8s.aws/instance-accelerator-count"}
    assert "tolerations" not in pod
    assert not by_name(manifests, "Job")


def test_a_change_of_the_configuration_restarts_the_hub_alone(render_chart: RenderChart) -> None:
    def templates(values: Mapping[str, Any]) -> tuple[Any, Any]:
        deployments = by_name(render_chart(CHART, values), "Deployment")
        return deployments[HUB]["spec"]["template"], deployments[PROXY]["spec"]["template"]

    hub, proxy = templates({})
    changed = templates({"singleuser": EVERY_PROFILE})
    assert changed[0] != hub
    assert changed[1] == proxy


POOLS = {"gpu-shared": {"accelerator": "nvidia", "labels": {"nvidia.com/device-plugin.config": "time-slicing"}}}


def test_validate_judges_the_pods_that_the_hub_will_make(render_chart: RenderChart) -> None:
    charts = {CHART: {"enabled": True, "singleuser": EVERY_PROFILE}}
    (found,) = findings(platform(render_chart, charts=charts), "pod-feasibility")
    assert "profiles.gpu-share" in found.path
    assert "No node pool can host the pod" in found.reason
    subject = platform(render_chart, pools=POOLS, charts=charts)
    assert not findings(subject, "pod-feasibility")
    hosts = {
        verdict.pod.labels["drydock.dev/profile"]: {each.pool.name for each in verdict.pools if each.hosts}
        for verdict in subject.verdicts
        if "drydock.dev/profile" in verdict.pod.labels
    }
    assert hosts == {"cpu": {"general-cpu"}, "gpu": {"gpu"}, "gpu-share": {"gpu-shared"}, "neuron": {"neuron"}}
    greedy = {CHART: {"enabled": True, "singleuser": {"memory": {"guarantee": "999Ti"}}}}
    assert findings(platform(render_chart, charts=greedy), "pod-feasibility")


@pytest.mark.parametrize(
    ("singleuser", "reason"),
    [
        ({"storage": {"type": "static"}}, r"static\.pvcName: static homes need a claim"),
        ({"storage": {"dynamic": {"accessMode": "ReadWriteMany"}}}, "EBS, .* has no ReadWriteMany volumes"),
        ({"profiles": {"cpu": None}}, "there is nothing to choose from"),
        ({"profiles": {"gpu": {"enabled": True, "default": True}}}, "only one can be the default, not cpu, gpu"),
        ({"profiles": {"cpu": {"acelerator": {}}}}, "additional properties 'acelerator' not allowed"),
        ({"image": {"tag": "latest"}}, "latest can change under a running release"),
    ],
)
def test_servers_that_cannot_work(render_chart: RenderChart, singleuser: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(CHART, {"singleuser": singleuser})


def test_named_servers_do_not_share_a_volume_of_one_node(render_chart: RenderChart) -> None:
    storage = {"dynamic": {"pvcNameTemplate": "claim-{username}"}}
    with pytest.raises(RenderError, match="two servers of a user cannot mount"):
        render_chart(CHART, {"hub": {"allowNamedServers": True}, "singleuser": {"storage": storage}})
    assert render_chart(CHART, {"singleuser": {"storage": storage}})


GROUPS = """
import asyncio, json, sys
from oauthenticator.generic import GenericOAuthenticator
from traitlets.config import PyFileConfigLoader
config = PyFileConfigLoader("jupyterhub_config.py", path=sys.argv[1]).load_config()
made = GenericOAuthenticator(config=config)
print(json.dumps(sorted(asyncio.run(made.get_user_groups({"oauth_user": json.loads(sys.argv[2])})))))
"""


@pytest.mark.parametrize(
    ("claim", "user", "groups"),
    [
        ("groups", {"groups": ["research"]}, ["research"]),
        ("https://example.com/groups", {"https://example.com/groups": ["research", "ml"]}, ["ml", "research"]),
        ("realm_access.roles", {"realm_access": {"roles": ["research"]}}, ["research"]),
        ("realm_access.roles", {"realm_access": None}, []),
        ("https://example.com/groups", {"sub": "alice"}, []),
    ],
)
def test_groups_come_from_claims_of_any_name(
    render_chart: RenderChart, tmp_path: Path, claim: str, user: Mapping[str, Any], groups: Sequence[str]
) -> None:
    oidc = {**OIDC, "oidc": {**OIDC["oidc"], "groupsClaim": claim}}  # type: ignore[dict-item]
    files = _files(render_chart(CHART, {"hub": {"authenticator": oidc}}))
    assert _run(GROUPS, files, tmp_path, json.dumps(user)) == groups


STARTED = """
import asyncio, json, sys
from traitlets.config import PyFileConfigLoader
from kubernetes_asyncio.client import ApiClient
from kubespawner import KubeSpawner
config = PyFileConfigLoader("jupyterhub_config.py", path=sys.argv[1]).load_config()
async def pod():
    spawner = KubeSpawner(_mock=True, config=config)
    spawner.user_options = {"profile": "cpu"}
    await spawner.load_user_options()
    return ApiClient().sanitize_for_serialization(await spawner.get_pod_manifest())
print(json.dumps(asyncio.run(pod())))
"""


def test_kubespawner_makes_servers_with_what_is_added(render_chart: RenderChart, tmp_path: Path) -> None:
    image = {"registry": "docker.io", "repository": "library/busybox", "tag": "1.37.0"}
    added = {
        "volumes": {"datasets": {"persistentVolumeClaim": {"claimName": "datasets"}}},
        "volumeMounts": {"/home/jovyan/own": {"name": "datasets", "subPath": "{username}"}},
        "envFrom": {"proxy": {"configMap": "egress-proxy"}},
        "lifecycle": {"postStart": {"exec": {"command": ["true"]}}},
        "hostAliases": {"10.0.0.7": ["registry.example.com"]},
        "initContainers": {"fetch": {"image": image, "args": ["{username}"]}},
        "sidecars": {"agent": {"image": image}},
        "labels": {"team": "search"},
    }
    manifests = render_chart(CHART, {"singleuser": {"pod": added}})
    # The spawner wants an address of the API, which a manifest does not ask.
    cluster = {"clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}]}
    context = {
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "current-context": "none",
    }
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(
        json.dumps(
            {"apiVersion": "v1", "kind": "Config", "users": [{"name": "none", "user": {}}], **cluster, **context}
        )
    )
    pod = _run(STARTED, _files(manifests), tmp_path)
    container = pod["spec"]["containers"][0]
    assert pod["metadata"]["labels"]["team"] == "search"
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert mounts["/home/jovyan/own"]["subPath"] not in ("", "{username}")
    assert container["envFrom"] == [{"configMapRef": {"name": "egress-proxy", "optional": False}}]
    assert container["lifecycle"] == added["lifecycle"]
    assert pod["spec"]["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["registry.example.com"]}]
    agent, fetch = pod["spec"]["initContainers"]
    assert (agent["name"], agent["restartPolicy"]) == ("agent", "Always")
    assert fetch["args"] == [mounts["/home/jovyan/own"]["subPath"]]


SPAWNER_NAMESPACE = """
import json, sys
from traitlets.config import PyFileConfigLoader
config = PyFileConfigLoader("jupyterhub_config.py", path=sys.argv[1]).load_config()
print(json.dumps([config.KubeSpawner.namespace, config.JupyterHub.hub_connect_url]))
"""


def test_servers_run_in_a_namespace_of_their_own(render_chart: RenderChart, tmp_path: Path) -> None:
    """Their account, policies and the hub's rights are there; hub and proxy reach them across."""
    manifests = render_chart(CHART, {"singleuser": {"namespace": "notebooks"}})
    assert _run(SPAWNER_NAMESPACE, _files(manifests), tmp_path) == [
        "notebooks",
        "http://genai-jupyterhub-hub.genai:8081",
    ]
    assert {each.identity for each in manifests if each.namespace == "notebooks"} == {
        f"ServiceAccount/notebooks/{SERVERS}",
        f"NetworkPolicy/notebooks/{SERVERS}",
        "NetworkPolicy/notebooks/genai-jupyterhub-default-deny",
        f"Role/notebooks/{HUB}",
        f"RoleBinding/notebooks/{HUB}",
    }
    (namespace,) = by_name(manifests, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (subject,) = by_name(manifests, "RoleBinding")[HUB]["subjects"]
    assert subject["namespace"] == "genai"
    policies = by_name(manifests, "NetworkPolicy")
    across = {"matchLabels": {"kubernetes.io/metadata.name": "genai"}}
    assert [peer["namespaceSelector"] for peer in policies[SERVERS]["spec"]["ingress"][0]["from"]] == [across, across]
    for name in (HUB, PROXY):
        servers = [
            peer["namespaceSelector"]["matchLabels"]
            for rule in policies[name]["spec"]["egress"]
            for peer in rule.get("to", ())
            if peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component")
            == "singleuser-server"
        ]
        assert servers == [{"kubernetes.io/metadata.name": "notebooks"}]
    models = [
        rule for rule in policies[SERVERS]["spec"]["egress"] if rule.get("ports") == [{"port": 8000, "protocol": "TCP"}]
    ]
    assert [peer["namespaceSelector"] for rule in models for peer in rule["to"]] == [across]
    kept = render_chart(CHART, {"singleuser": {"namespace": "notebooks", "createNamespace": False}})
    assert not by_name(kept, "Namespace")


def test_the_checks_see_servers_where_they_run(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"singleuser": {"namespace": "notebooks"}})
    servers = [pod for pod in find_pods(manifests) if pod.path.startswith("data.")]
    assert {pod.manifest.namespace for pod in servers} == {"notebooks"}


OF_THE_IMAGE = {
    "jupyterhub": "5.5.0",
    "jupyterhub-kubespawner": "7.0.0",
    "jupyterhub-idle-culler": "1.4.0",
    "oauthenticator": "17.4.0",
}
"""Of quay.io/jupyterhub/k8s-hub:4.4.0: images/hub/requirements.txt of Zero to JupyterHub at that tag."""


def test_the_programs_that_are_tried_are_those_of_the_image(render_chart: RenderChart) -> None:
    deployment = by_name(render_chart(CHART), "Deployment")[HUB]
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith("/k8s-hub:4.4.0"), "read the requirements of the new image"
    assert {name: importlib.metadata.version(name) for name in OF_THE_IMAGE} == OF_THE_IMAGE
