"""A pod's volumes as folders of this machine, and its paths as paths in them."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.errors import ClusterError
from drydock.rehearsal.kubelet.isolation import Mount
from drydock.rehearsal.kubelet.references import References

_WRITTEN = frozenset({"configMap", "secret", "projected", "downwardAPI"})
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PREFIX = "prefix "
_TOKEN_SECONDS = 3607
"""What a pod's own token is asked for with; the API server makes such a one valid for a year."""


@dataclass(frozen=True)
class Mounts:
    """Folders in place of a container's paths.

    Args:
        folders: by mount path.
    """

    folders: Mapping[str, Path]

    def translate(self, text: str) -> str:
        """A text with each mounted path that begins a word in it replaced by the folder's."""
        if not self.folders:
            return text
        paths = "|".join(re.escape(path) for path in sorted(self.folders, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])({paths})(?=$|[/:,])", lambda found: str(self.folders[found[1]]), text)

    def find(self, path: str) -> Path | None:
        """The folder mounted there."""
        return self.folders.get(path)


@dataclass(frozen=True)
class VolumeMaker:
    """Makes the volumes of one pod.

    Args:
        folder: of the pod, gone with it.
        claims: folder for volumes that outlive pods.
        references: of the pod.
    """

    folder: Path
    claims: Path
    references: References

    def mounts(self, container: Mapping[str, Any]) -> Mounts:
        """Where the volumes of a container are; `make` must have made them."""
        folders = {}
        for mount in container.get("volumeMounts") or ():
            folder = self._place(self._volume(mount["name"])) / str(mount.get("subPath", ""))
            if not folder.exists() and not folder.is_symlink():  # a part of a volume that nothing has made yet
                folder.mkdir(parents=True)
            folders[mount["mountPath"].rstrip("/") or "/"] = folder
        return Mounts(folders)

    def binds(self, container: Mapping[str, Any]) -> tuple[Mount, ...]:
        """The same for a container that is isolated; what the kubelet writes is never the container's to write.

        Raises:
            ClusterError: a `subPath` leads out of its volume, by a link that a container made.
        """
        found = []
        for mount in container.get("volumeMounts") or ():
            volume = self._volume(mount["name"])
            top = self._place(volume).resolve()
            ((path, folder),) = self.mounts({"volumeMounts": [mount]}).folders.items()
            if not folder.resolve().is_relative_to(top):
                raise ClusterError(f"subPath {mount['subPath']} of volume {mount['name']} leads out of the volume")
            read_only = bool(mount.get("readOnly")) or not _WRITTEN.isdisjoint(volume)
            found.append(Mount(str(folder.resolve()), os.path.normpath(path), read_only))
        return tuple(found)

    def make(self) -> None:
        """Make all of the pod's volumes.

        Raises:
            MissingReferenceError: one needs something that is not there yet.
        """
        for volume in self.references.pod["spec"].get("volumes") or ():
            folder = self._place(volume)
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in self._files(volume).items():
                _write(folder / name, content)

    def _volume(self, name: str) -> Mapping[str, Any]:
        volumes: Sequence[Mapping[str, Any]] = self.references.pod["spec"].get("volumes") or ()
        return next(each for each in volumes if each["name"] == name)

    def _place(self, volume: Mapping[str, Any]) -> Path:
        if "persistentVolumeClaim" in volume:
            namespace = self.references.pod["metadata"]["namespace"]
            return self.claims / str(namespace) / str(volume["persistentVolumeClaim"]["claimName"])
        return self.folder / "volumes" / str(volume["name"])

    def _files(self, volume: Mapping[str, Any]) -> dict[str, bytes]:
        """Content by relative path; nothing for volumes that start empty, or whose content is not here."""
        if "projected" in volume:
            sources = volume["projected"].get("sources") or ()
            return {name: content for each in sources for name, content in self._files(each).items()}
        if "serviceAccountToken" in volume:
            source = volume["serviceAccountToken"]
            return {source["path"]: self._token(source).encode()}
        for kind, named in (("configMap", "name"), ("secret", "secretName")):
            if kind in volume:
                source = volume[kind]
                name = source.get(named) or source.get("name")
                content = self.references.files(kind, name, optional=bool(source.get("optional")))
                return _chosen(content, source.get("items"))
        if "downwardAPI" in volume:
            items = volume["downwardAPI"].get("items") or ()
            return {each["path"]: self._downward(each).encode() for each in items}
        return {}

    def _downward(self, item: Mapping[str, Any]) -> str:
        if "fieldRef" in item:
            return self.references.field(item["fieldRef"]["fieldPath"])
        containers = self.references.pod["spec"]["containers"]
        asked = item["resourceFieldRef"].get("containerName", containers[0]["name"])
        container = next(each for each in containers if each["name"] == asked)
        return self.references.value({"resourceFieldRef": item["resourceFieldRef"]}, container) or ""

    def _token(self, source: Mapping[str, Any]) -> str:
        metadata, spec = self.references.pod["metadata"], self.references.pod["spec"]
        account = spec.get("serviceAccountName", "default")
        wanted: dict[str, Any] = {
            "expirationSeconds": source.get("expirationSeconds", _TOKEN_SECONDS),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        }
        if source.get("audience"):
            wanted["audiences"] = [source["audience"]]
        path = f"{collection('v1', 'serviceaccounts', metadata['namespace'])}/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        return str(self.references.api.request(path, request)["status"]["token"])


def prefix_of_weights(api: Api, pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """The prefix in its bucket of the first volume of S3 that a container mounts; empty where there is none."""
    namespace = pod["metadata"]["namespace"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    for mount in container.get("volumeMounts") or ():
        if mount["name"] in claims:
            claim = api.find(f"{collection('v1', 'persistentvolumeclaims', namespace)}/{claims[mount['name']]}") or {}
            name = (claim.get("spec") or {}).get("volumeName", "")
            volume = api.find(f"{collection('v1', 'persistentvolumes')}/{name}") if name else None
            for option in (volume or {}).get("spec", {}).get("mountOptions") or ():
                if option.startswith(_PREFIX):  # of Mountpoint for S3
                    return str(option.removeprefix(_PREFIX)).strip("/")
    return ""


def write_kubeconfig(file: Path, server: str, mounts: Mounts, namespace: str) -> bool:
    """Write what clients read that know no fixed path to a ServiceAccount's token; False for a pod without one."""
    account = mounts.find(SERVICE_ACCOUNT)
    if account is None:
        return False
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": server, "certificate-authority": f"{account}/ca.crt"}}],
        "users": [{"name": "pod", "user": {"tokenFile": f"{account}/token"}}],
        "contexts": [{"name": "pod", "context": {"cluster": "cluster", "user": "pod", "namespace": namespace}}],
        "current-context": "pod",
    }
    _write(file, json.dumps(content).encode())
    return True


def _chosen(content: Mapping[str, bytes], items: Sequence[Mapping[str, Any]] | None) -> dict[str, bytes]:
    if items is None:
        return dict(content)
    return {each["path"]: content[each["key"]] for each in items if each["key"] in content}


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
