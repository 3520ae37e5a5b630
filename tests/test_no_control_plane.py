"""A test that is not marked `cluster` cannot start a control plane, so that `drydock test --fast` starts none."""

import pytest

from tests.conftest import Drydock


@pytest.mark.slow
def test_a_rehearsal_of_a_test_without_the_mark_fails_at_once(drydock: Drydock) -> None:
    done = drydock("rehearse", "dev")
    assert done.returncode != 0
    assert "needs pytest.mark.cluster" in done.stdout + done.stderr
