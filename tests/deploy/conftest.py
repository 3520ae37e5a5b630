"""Fixtures of the deployment tests: an AWS account, and Terraform where it is there."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ROOT

ACCOUNT = "123456789012"
REGION = "us-west-2"
Fail = Callable[[Sequence[Mapping[str, Any]]], None]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """URL of an account that only this module's tests use."""
    command = [sys.executable, "-m", "tests.deploy.aws_account"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.terminate()


@pytest.fixture
def credentials(aws: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials of the account, and none of the user's own."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    values = {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def fail(aws: str) -> Iterator[Fail]:
    """Makes calls fail: a list of rules, see aws_account."""

    def set_rules(rules: Sequence[Mapping[str, Any]]) -> None:
        requests.put(f"{aws}/drydock/failures", json=list(rules), timeout=10).raise_for_status()

    yield set_rules
    set_rules([])
