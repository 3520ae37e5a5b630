"""CRDs as an earlier control plane stored them, for the next one that is to have the same.

Creating the CRDs of an environment and having them served costs an API server many times what it takes to find them
at its start. A snapshot holds etcd's records of the CRDs and nothing else: every other object, identity and clock of a
cluster is its own.
"""

import hashlib
import json
import os
import zlib
from base64 import b64decode
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api
from drydock.clusters.objects import is_true
from drydock.rehearsal.crd_objects import create_crds, read_crds
from drydock.rehearsal.etcd import Etcd, Record
from drydock.tools.identity import content_key, file_identity

FOLDER = "crd-snapshots"
"""Of the cache."""
_PREFIX = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
_FORM = 1


@dataclass(frozen=True)
class HelmCrds:
    """CRDs that Helm is going to install with the suite.

    Attributes:
        program: path of Helm, whose name and version stand in what it installs.
        files: of the CRDs.
    """

    program: Path
    files: tuple[Path, ...]


@dataclass(frozen=True)
class CrdSnapshot:
    """A file of the cache with the CRDs that a control plane stored; there whole, or not used."""

    file: Path

    def read(self) -> tuple[Record, ...] | None:
        """Its records; None when there is none, or its content is not what was written."""
        try:
            digest, content = self.file.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != digest:
                return None
        except (OSError, ValueError):
            return None
        with suppress(OSError):  # of another user
            os.utime(self.file)  # what is in use is not pruned
        return tuple({"key": key, "value": value} for key, value in json.loads(zlib.decompress(content)))

    def take(self, etcd: Etcd, names: Set[str]) -> bool:
        """Keep the CRDs of a control plane, unless others than the named ones are there, or one is not as it was made.

        Returns:
            Whether they were kept.
        """
        records = etcd.under(_PREFIX)
        if [_name(record) for record in records] != sorted(names) or not all(map(_untouched, records)):
            return False
        content = zlib.compress(json.dumps([[record["key"], record["value"]] for record in records]).encode(), level=1)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(f"{self.file.name}.{os.getpid()}.partial")
        partial.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        partial.replace(self.file)
        return True


@dataclass
class ClusterCrds:
    """The CRDs of one control plane: those of an earlier one with the same, or made and kept for the next.

    Args:
        etcd: of the control plane.
        folder: of the snapshots.
        server: path of the API server.
        files: of the CRDs that are to be there from the start.
        helm: what Helm is going to install besides; None where that is not known.
    """

    etcd: Etcd
    folder: Path
    server: Path
    files: Sequence[Path]
    helm: HelmCrds | None
    _loaded: CrdSnapshot | None = None

    def load(self, seconds: float) -> None:
        """Write what is known of earlier ones into etcd, once that answers, and before an API server reads it.

        Raises:
            ClusterError: etcd does not answer in time.
        """
        self.etcd.wait(seconds)
        for snapshot in filter(None, (self._installed, self._created)):
            if records := snapshot.read():
                self.etcd.put(records)
                self._loaded = snapshot
                return

    def create(self, api: Api) -> None:
        """Create the CRDs of the start, unless they were loaded; returns when they are served.

        Raises:
            ClusterError: one was refused, or is not served in time.
        """
        if not self._loaded:
            crds = read_crds(self.files)
            create_crds(api, crds)
            self._created.take(self.etcd, {crd["metadata"]["name"] for crd in crds})

    @property
    def installed(self) -> bool:
        """Whether those that Helm is going to install were loaded."""
        return self._loaded is not None and self._loaded == self._installed

    def take_installed(self) -> None:
        """Keep what Helm has installed, unless it was loaded."""
        snapshot = self._installed
        if self.helm and snapshot and not self.installed:
            snapshot.take(self.etcd, {crd["metadata"]["name"] for crd in read_crds((*self.files, *self.helm.files))})

    @property
    def _created(self) -> CrdSnapshot:
        return CrdSnapshot(self.folder / content_key(self._parts()))

    @property
    def _installed(self) -> CrdSnapshot | None:
        if self.helm is None:
            return None
        more = (file_identity(self.helm.program), *map(_content, self.helm.files))
        return CrdSnapshot(self.folder / content_key([*self._parts(), *more]))

    def _parts(self) -> list[object]:
        return [_FORM, file_identity(self.server), *map(_content, self.files)]


def _content(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _name(record: Record) -> str:
    return b64decode(record["key"]).decode().removeprefix(_PREFIX)


def _untouched(record: Record) -> bool:
    """Whether it is served, and nothing changed its specification since it was made."""
    try:
        crd: dict[str, Any] = json.loads(b64decode(record["value"]))
    except ValueError:  # an API server that stores another form
        return False
    metadata = crd["metadata"]
    return metadata["generation"] == 1 and "deletionTimestamp" not in metadata and is_true(crd, "Established")
