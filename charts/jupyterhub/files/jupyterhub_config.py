"""Configuration of the hub, from settings.yaml and profiles.yaml beside this file, which the chart renders.

Credentials come from the environment alone, where the Deployment puts them by reference to Secrets: JupyterHub reads
CONFIGPROXY_AUTH_TOKEN, JPY_COOKIE_SECRET and JUPYTERHUB_CRYPT_KEY by itself, oauthenticator OAUTH_CLIENT_ID and
OAUTH_CLIENT_SECRET, and the driver of PostgreSQL PGPASSWORD. That of MySQL reads no variable: see `mysql_password`.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from tornado.httpclient import AsyncHTTPClient

Content = Mapping[str, Any]

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (JupyterHub brings it)


def read(name: str) -> Any:
    """A file of the chart's ConfigMap."""
    return yaml.safe_load((Path(__file__).parent / name).read_text())


def profile(slug: str, content: Content) -> dict[str, Any]:
    """An entry of KubeSpawner's profile_list that makes the pod of a template."""
    metadata, spec = content["template"]["metadata"], dict(content["template"]["spec"])
    (container,) = spec.pop("containers")
    return {
        "slug": slug,
        "display_name": content["displayName"],
        "description": content["description"],
        "default": content["default"],
        "kubespawner_override": {
            "image": container["image"],
            "environment": {each["name"]: each for each in container["env"]},
            "extra_labels": metadata["labels"],
            "extra_annotations": metadata.get("annotations") or {},
            "service_account": spec.pop("serviceAccountName"),
            "automount_service_account_token": spec.pop("automountServiceAccountToken"),
            "pod_security_context": spec.pop("securityContext"),
            "container_security_context": container["securityContext"],
            "volumes": spec.pop("volumes"),
            "volume_mounts": container["volumeMounts"],
            "extra_container_config": {
                name: container[name] for name in ("resources", "envFrom", "lifecycle") if name in container
            },
            "extra_pod_config": spec,
        },
    }


def homes(claims: Sequence[Content]) -> dict[str, Any]:
    """Traits of KubeSpawner that make the claim of a home, if there is one."""
    if not claims:
        return {}
    (claim,) = claims
    return {
        "storage_pvc_ensure": True,
        "pvc_name_template": claim["metadata"]["name"],
        "storage_extra_labels": claim["metadata"]["labels"],
        "storage_class": claim["spec"].get("storageClassName"),
        "storage_access_modes": claim["spec"]["accessModes"],
        "storage_capacity": claim["spec"]["resources"]["requests"]["storage"],
    }


def claimed_groups(claim: str) -> Callable[[Content], Iterable[str]]:
    """Groups in a claim with dots in its name, which may be an address or the path of a claim in another."""

    def groups(auth_state: Content) -> Iterable[str]:
        user = auth_state["oauth_user"]
        if claim in user:
            return user[claim]
        return reduce(lambda around, key: (around or {}).get(key), claim.split("."), user) or ()

    return groups


def idle_culler(options: Sequence[str], scopes: Sequence[str]) -> None:
    """The service that stops idle servers, with the rights that it needs and no more."""
    port = urlsplit(c.JupyterHub.hub_bind_url).port
    api = f"http://127.0.0.1:{port}{c.JupyterHub.base_url}hub/api"
    name = "jupyterhub-idle-culler"
    command = [sys.executable, "-m", "jupyterhub_idle_culler", f"--url={api}", *options]
    c.JupyterHub.services.append({"name": name, "command": command})
    c.JupyterHub.load_roles.append({"name": name, "scopes": list(scopes), "services": [name]})


def mysql_password(password: str) -> None:
    """Give PyMySQL the password in a file: JupyterHub logs the address of a database that it does not reach."""
    file = Path(tempfile.gettempdir()) / "mysql.cnf"
    file.touch(mode=0o600)
    file.write_text(f'[client]\npassword="{password}"\n')
    address = c.JupyterHub.db_url
    c.JupyterHub.db_url = f"{address}{'&' if '?' in address else '?'}read_default_file={file}"


settings, templates = read("settings.yaml"), read("profiles.yaml")
for section, traits in settings["traits"].items():
    c[section].update(traits)
if "MYSQL_PWD" in os.environ:
    mysql_password(os.environ["MYSQL_PWD"])
claim = str(c.GenericOAuthenticator.get("auth_state_groups_key", "")).removeprefix("oauth_user.")
if "." in claim:
    c.GenericOAuthenticator.auth_state_groups_key = claimed_groups(claim)
if find_spec("pycurl"):  # of the image; Tornado's own client is slow at the many routes that the proxy reports
    AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")
c.KubeSpawner.namespace = templates.get("namespace") or os.environ["POD_NAMESPACE"]
c.KubeSpawner.update(homes(templates["volumeClaimTemplates"]))
c.KubeSpawner.profile_list = [profile(slug, each) for slug, each in templates["profiles"].items()]
# Those of hub.config, in lists that extraConfig can add to.
for trait in ("services", "load_roles"):
    c.JupyterHub[trait] = list(c.JupyterHub.get(trait, ()))
if settings["cull"]:
    idle_culler(**settings["cull"])
for title, code in settings["extraConfig"].items():
    exec(compile(code, f"hub.extraConfig.{title}", "exec"))  # noqa: S102 (the administrator's own)
