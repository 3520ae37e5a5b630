"""What is wrong with a load test's arguments or its baseline is told before anything is sent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drydock.cli import drydock as program
from drydock.errors import UsageError
from drydock.loadtest.secrets import Secret
from drydock.loadtest.statistics import compare
from tests.loadtest.servers import misbehaving_server

pytestmark = pytest.mark.programs


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with misbehaving_server() as url:
        yield url


def loadtest(url: str, *more: str) -> Result:
    return CliRunner().invoke(program, ["loadtest", url, "--model", "ok", *more])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rates", "1,0"), "rate must be above 0"),
        (("--rate", "1", "--rates", "1,2"), "--rate and --rates"),
        (("--rate", "1", "--fail-on-regression"), "--fail-on-regression without --baseline"),
        (("--rates", "1,2", "--baseline", "/nowhere"), "not a sweep"),
        (("--concurrency", "1", "--end-rate", "2"), "--end-rate without --rate"),
        (("--rate", "1", "--warm-up", "nan"), "warm-up"),
        (("--rate", "1", "--end-rate", "nan"), "ramp"),
        ((), "one of --rate, --concurrency and --trace"),
        (("--rates", "1,2", "--repetitions", "2"), "neither --repetitions nor --concurrency"),
        (("--trace", "/nowhere"), "cannot read --trace /nowhere"),
        (("--rate", "1", "--timeout", "0"), "timeout must be above 0, not 0"),
        (("--rate", "1", "--api-key-file", "/nowhere"), "cannot read the API key from /nowhere"),
        (("--rate", "1", "--objectives", "/nowhere"), "cannot read the objectives /nowhere"),
        (("--rate", "1", "--objective", "error_rate=2"), "error_rate is a share from 0 to 1, not 2"),
        (("--rate", "1", "--processes", "100000"), "are more than 1,000"),
        (("--rate", "1e9"), "are more than 10,000,000"),
        (("--rate", "1", "--end-rate", "1e300"), "are more than 10,000,000"),
        (("--rate", "1", "--duration", "1e300"), "are more than 10,000,000"),
        (("--concurrency", "100000000"), "than the 65,536 that a process can have"),
        (("--rate", "1", "-o", "/dev/null/x"), "-o /dev/null/x"),
        (("--rate", "1", "--gpu", "abacus"), "known are"),
        (("--rate", "1", "--gpu", "h100"), "ok"),
    ],
)
def test_wrong_arguments_send_nothing(arguments: tuple[str, ...], message: str) -> None:
    done = loadtest("http://127.0.0.1:1", *arguments)
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)
    assert done.exception.remedy


@pytest.mark.parametrize("arguments", [("--rate", "1", "--seed", "-1"), ("--find-limit", "--precision", "0")])
def test_numbers_that_no_load_can_have_are_refused(arguments: tuple[str, ...]) -> None:
    done = loadtest("http://127.0.0.1:1", *arguments)
    assert done.exit_code == 2
    assert arguments[-2] in done.stderr


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"two words", b"two\nlines"])
def test_a_secret_that_holds_no_key_is_told(content: bytes) -> None:
    with pytest.raises(UsageError, match="Secret keys") as caught:
        Secret.from_bytes(content, "Secret keys")
    assert caught.value.remedy
    assert Secret.from_bytes(b"sk-key\n", "Secret keys").reveal() == "sk-key"


RUN: dict[str, Any] = {"values": {"error_rate": 0, "tpot_p50_ms": None}}


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"version": 1},
        {"version": 1, "runs": []},
        {"version": 1, "runs": [{}]},
        {"version": 1, "runs": [{"values": {"speed": 1}}]},
        {"version": 1, "runs": [{"values": {"error_rate": "low"}}]},
        {"version": 1, "runs": [RUN], "sweep": {"highest_met": 3}},
    ],
)
def test_a_baseline_that_is_none_is_told(tmp_path: Path, told: object) -> None:
    (tmp_path / "loadtest.json").write_text(json.dumps(told))
    done = loadtest("http://127.0.0.1:1", "--rate", "3", "--baseline", str(tmp_path))
    assert isinstance(done.exception, UsageError)
    assert str(tmp_path) in str(done.exception)


def test_a_baseline_of_another_load_is_compared_and_told(url: str, tmp_path: Path) -> None:
    before = {"version": 1, "runs": [RUN], "model": "ok", "workload": "chat", "stage": {"duration_seconds": 5}}
    (tmp_path / "loadtest.json").write_text(json.dumps(before))
    done = loadtest(
        f"{url}/broken",
        "--rate",
        "10",
        "--arrival",
        "constant",
        "--duration",
        "0.5",
        "--json",
        "--baseline",
        str(tmp_path),
    )
    found = json.loads(done.stdout)
    assert [note for note in found["notes"] if "baseline" in note] == [
        "the baseline had another workload: chat, now 512 and 128 tokens",
        "the baseline had another stage",
    ]
    (difference,) = found["comparison"]
    assert (difference["name"], difference["after"], difference["change"]) == ("error_rate", 1, None)


def test_what_was_zero_before_has_no_relative_change() -> None:
    (failing,) = compare([{"error_rate": 0.0}] * 2, [{"error_rate": 0.2}, {"error_rate": 0.21}])
    assert failing.change is None
    assert failing.verdict == "worse"
