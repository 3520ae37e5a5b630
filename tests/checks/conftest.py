"""Objects by hand, for checks that need no chart."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from drydock.checks.scheduling.account import Account
from drydock.checks.scheduling.feasibility import PodVerdict, Scheduling
from drydock.checks.scheduling.pools import find_pools
from drydock.documents import load_yaml_all
from drydock.environments import CapacityReservation
from drydock.instance_types.catalogue import Catalogue, load_catalogue
from drydock.manifests import Manifest

REGION = "us-west-2"
ZONES = ("us-west-2a", "us-west-2b")

NODE_CLASS = """
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec: {amiSelectorTerms: [{alias: al2023@latest}]}
"""

Judge = Callable[..., tuple[PodVerdict, ...]]


def manifests_of(text: str) -> tuple[Manifest, ...]:
    """Objects of a YAML stream as if a chart had rendered them."""
    return tuple(Manifest("genai-platform/templates/objects.yaml", each, "") for each in load_yaml_all(text) if each)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Instance types of one region."""
    return load_catalogue(Path(tmp_path_factory.mktemp("catalogue")), REGION)


@pytest.fixture
def judge(catalogue: Catalogue) -> Judge:
    """Verdicts on every pod of a YAML stream, an EC2NodeClass `default` included."""

    def verdicts(
        text: str, zones: Sequence[str] = ZONES, reservations: Sequence[CapacityReservation] = ()
    ) -> tuple[PodVerdict, ...]:
        manifests = manifests_of(f"{NODE_CLASS}---\n{text}")
        account = Account(REGION, tuple(zones), tuple(reservations))
        return Scheduling.of(manifests, find_pools(manifests, account, catalogue)).verdicts()

    return verdicts
