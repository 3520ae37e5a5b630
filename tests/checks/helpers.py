"""Checks on objects by hand, which need no chart and no Helm."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.registry import run_checks
from drydock.checks.subject import Subject
from drydock.documents import load_yaml_all
from drydock.scheduling.account import Account
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.instance_types.region import Catalogue, load_catalogue
from drydock.suite.environments import CapacityReservation, Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment

REGION = "us-west-2"
ZONES = ("us-west-2a", "us-west-2b")

NODE_CLASS = """
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec: {amiSelectorTerms: [{alias: al2023@latest}]}
"""


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """Instance types of one region."""
    with TemporaryDirectory() as folder:
        return load_catalogue(Path(folder), REGION)


def manifests_of(text: str) -> tuple[Manifest, ...]:
    """Objects of a YAML stream as if a chart had rendered them."""
    template = "genai-platform/charts/vllm/templates/objects.yaml"
    return tuple(Manifest(template, each, "") for each in load_yaml_all(text) if each)


def subject(
    text: str,
    *,
    zones: Sequence[str] = ZONES,
    reservations: Sequence[CapacityReservation] = (),
    secrets: Mapping[str, tuple[str, ...]] | None = None,
    values: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Subject:
    """The objects of a YAML stream, and an EC2NodeClass `default`, as an environment `test`."""
    own = replace(
        Environment(
            "test", Path("test.yaml"), "", (), capacity_reservations=tuple(reservations), secrets=secrets or {}
        ),
        **(environment or {}),
    )
    rendered = RenderedEnvironment(own, manifests_of(f"{NODE_CLASS}---\n{text}"))
    account = Account(REGION, tuple(zones), own.capacity_reservations, own.quotas)
    return Subject(rendered, account, catalogue(), values or {})


def judge(
    text: str, zones: Sequence[str] = ZONES, reservations: Sequence[CapacityReservation] = ()
) -> tuple[PodVerdict, ...]:
    """Verdicts on every pod of a YAML stream."""
    return subject(text, zones=zones, reservations=reservations).scheduling.verdicts()


def findings(text: str, check: str = "", **options: Any) -> list[Finding]:
    """What the checks (or the one with this id) find in the objects of a YAML stream, with options of `subject`."""
    found = run_checks(subject(text, **options))
    return [each for each in found if check in ("", each.check) and not each.accepted]
