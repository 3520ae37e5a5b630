"""kubeconform's complaints, each with its own path."""

from collections.abc import Callable
from pathlib import Path

from drydock.checks.schema_conformance import nonconforming
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.tools.schemas import ensure_schemas

DOCUMENT = """\
apiVersion: v1
kind: Pod
metadata: {name: wrong}
spec:
  containers:
    - {name: 5, image: [], imagge: x}
"""


def test_every_error_below_one_parent_is_told(drydock_project: Project, drydock_tool: Callable[[str], Path]) -> None:
    schemas = ensure_schemas(drydock_project, SilentProgress())
    (complaints,) = nonconforming(drydock_tool("kubeconform"), schemas, [DOCUMENT]).values()
    told = dict(complaints)
    assert told["spec.containers.0.name"] == "got number, want string"
    assert told["spec.containers.0.imagge"] == "unknown field"
    assert "spec.containers.0.image" in told
    assert "validation failed" not in told.values()
