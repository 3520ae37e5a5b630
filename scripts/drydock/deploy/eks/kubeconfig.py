"""A kubeconfig for an EKS cluster that holds no credential: each call asks the AWS CLI for a token."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from drydock.errors import ToolchainError

_AWS = "aws"


def find_aws_cli() -> Path:
    """The AWS CLI, which gives the tokens.

    Raises:
        ToolchainError: it is not on PATH.
    """
    found = shutil.which(_AWS)
    if not found:
        raise ToolchainError(
            f"{_AWS} is not on PATH, and every call of the cluster asks it for a token",
            remedy="Install the AWS CLI (version 2).",
        )
    return Path(found)


def write_kubeconfig(file: Path, outputs: Mapping[str, Any]) -> None:
    """Write it with mode 0600, whatever was there.

    Args:
        file: to be written.
        outputs: of ci/eks.
    """
    name = outputs["cluster_name"]
    cluster = {
        "server": outputs["cluster_endpoint"],
        "certificate-authority-data": outputs["cluster_certificate_authority"],
    }
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": _AWS,
        "args": ["eks", "get-token", "--cluster-name", name, "--region", outputs["region"], "--output", "json"],
        "interactiveMode": "Never",
        # As `aws eks update-kubeconfig` has it: another shell may have another profile, or none.
        **({"env": [{"name": "AWS_PROFILE", "value": profile}]} if (profile := os.environ.get("AWS_PROFILE")) else {}),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"exec": command}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        yaml.safe_dump(content, opened)
