"""Fixtures that tests of several charts share."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.tools.crd_files import ensure_crds


@pytest.fixture(scope="session")
def crd_folders(drydock_project: Project) -> Mapping[str, Path]:
    """CRDs by owner, also put into charts/crds."""
    return ensure_crds(drydock_project, PlainProgress())
