"""A test that is not marked `cluster` cannot start a control plane, so that `drydock test --fast` starts none."""

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import Drydock


@pytest.mark.slow
def test_a_rehearsal_of_a_test_without_the_mark_fails_at_once(drydock: Drydock) -> None:
    done = drydock("rehearse", "dev")
    assert done.returncode != 0
    assert "needs pytest.mark.cluster" in done.stdout + done.stderr


def _popen(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=False, timeout=60)


@pytest.mark.parametrize(
    "start",
    [
        _popen("etcd", "--help"),
        _popen("/nowhere/kube-apiserver"),
        _popen("sh", "-c", "cd /tmp; exec etcd --help"),
        _popen("nice", "etcd", "--help"),
        lambda: os.system("etcd --help"),
        lambda: os.posix_spawn("/nowhere/etcd", ["etcd"], {}),
    ],
)
def test_a_test_starts_no_control_plane_in_its_own_process_either(start: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match=r"needs pytest\.mark\.cluster"):
        start()


def test_other_programs_may_be_about_one() -> None:
    assert subprocess.run(["echo", "etcd"], check=True, capture_output=True, text=True).stdout == "etcd\n"
