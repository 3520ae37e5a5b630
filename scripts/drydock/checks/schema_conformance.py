"""kubeconform over many documents at once, its findings mapped back to objects."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drydock.errors import ToolError
from drydock.tools import process
from drydock.tools.schemas import write_crd_schemas

CHECK = "object-schema"
NO_API = "there is no API"
"""How the reason begins where neither Kubernetes nor a CRD defines the kind."""
_UNKNOWN = re.compile(r"additional propert(?:y|ies) (.+) not allowed")
_QUOTED = re.compile(r"'([^']+)'")
_DETAIL = re.compile(r"- at '([^']*)': (.+?)(?= - at '|$)")
"""Each error in kubeconform's message; its list of errors leaves out those two levels below their parent."""
_SUMMARY = "validation failed"
_FAILED = ("statusInvalid", "statusError")


def nonconforming(
    kubeconform: Path, schemas: Path, documents: Sequence[str], crds: Sequence[Mapping[str, Any]] = ()
) -> Mapping[int, tuple[tuple[str, str], ...]]:
    """What is wrong with each document: (path, reason) pairs by the document's position.

    Args:
        kubeconform: the program.
        schemas: folder of `KIND-GROUP-VERSION.json` files, as kubeconform names them; a kind without one is wrong.
        documents: one YAML document each.
        crds: CustomResourceDefinitions that are among the documents, whose kinds need no schema in `schemas`.

    Raises:
        ToolError: kubeconform itself failed.
    """
    if not documents:
        return {}
    with tempfile.TemporaryDirectory(prefix="drydock-") as folder:
        objects, own = Path(folder) / "objects", Path(folder) / "schemas"
        objects.mkdir()
        for position, document in enumerate(documents):
            (objects / f"{position}.yaml").write_text(document)
        write_crd_schemas(own, crds)
        command = [
            str(kubeconform),
            "-strict",
            "-output=json",
            f"-n={os.cpu_count() or 2}",
            *(
                f"-schema-location={directory}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
                for directory in (own, schemas)
            ),
            str(objects),
        ]
        completed = process.run(command, check=False)
    try:
        resources = json.loads(completed.stdout)["resources"]
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(
            f"kubeconform failed with status {completed.returncode}: {completed.stderr.strip()}",
            command=completed.command,
            returncode=completed.returncode,
            stderr=completed.stderr,
        ) from error
    found: dict[int, tuple[tuple[str, str], ...]] = {}
    for resource in resources or ():
        if resource["status"] in _FAILED:
            position = int(Path(resource["filename"]).stem)
            found[position] = found.get(position, ()) + tuple(_complaints(resource))
    return found


def _complaints(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    message = " ".join(str(resource.get("msg", "")).split())
    details = _DETAIL.findall(message)
    for pointer, reason in details:
        path = pointer.strip("/").replace("/", ".")
        unknown = _UNKNOWN.fullmatch(reason)
        if unknown:
            for name in _QUOTED.findall(unknown[1]):
                yield f"{path}.{name}".strip("."), "unknown field"
        elif reason != _SUMMARY:
            yield path, reason
    if not details:
        if "could not find schema" in message:
            message = f"{NO_API} {resource.get('version')} {resource.get('kind')} in the pinned Kubernetes, nor a CRD"
        yield "", message
