"""Wrong usage ends every verb with status 2, before any work."""

import pytest

from drydock.cli import VERBS
from tests.documentation.command_line import call

OF_AN_ENVIRONMENT = {
    "render": (),
    "validate": (),
    "rehearse": (),
    "deploy": ("--target", "rehearsal"),
    "diff": ("--against", "HEAD"),
    "account": (),
    "images": (),
    "models": (),
    "diagram": (),
    "bootstrap-argocd": ("--repository", "https://git.example.com/platform.git"),
    "plan": ("--rate", "1"),
    "loadtest": ("--model", "m", "--rate", "1"),
}
STACKED = sorted(OF_AN_ENVIRONMENT.keys() - {"account", "bootstrap-argocd", "loadtest"})
WRONG = (("-f", "nowhere.yaml"), ("-f", "."), ("--set", "vllm.models"), ("--set", "a[0"), ("--set", "=x"))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "test"])
def test_an_unknown_option(verb: str) -> None:
    status, printed = call([verb, "--no-such-option"])
    assert status == 2
    assert "--no-such-option" in printed


@pytest.mark.parametrize("verb", OF_AN_ENVIRONMENT)
def test_an_unknown_environment(verb: str) -> None:
    status, printed = call([verb, "nope", *OF_AN_ENVIRONMENT[verb]])
    assert status == 2
    assert "'nope'" in printed


@pytest.mark.parametrize("verb", STACKED)
@pytest.mark.parametrize("wrong", WRONG, ids=" ".join)
def test_values_that_cannot_be_read(verb: str, wrong: tuple[str, str]) -> None:
    status, printed = call([verb, "dev", *OF_AN_ENVIRONMENT[verb], *wrong])
    assert status == 2
    assert " ".join(wrong) in printed


@pytest.mark.parametrize(
    "command",
    [
        ("render", "dev", "-o", "/dev/null/result"),
        ("rehearse", "dev", "-o", "/dev/null/result"),
        ("deploy", "dev", "--target", "rehearsal", "-o", "/dev/null/result"),
        ("account", "dev", "-o", "/dev/null/result"),
        ("package", "-o", "/dev/null/result"),
        ("loadtest", "http://127.0.0.1:9", "--model", "m", "--rate", "1", "-o", "/dev/null/result"),
        ("images", "dev", "--resolve", "-o", "/dev/null/result"),
        ("plan", "llama-3.1-8b", "--html", "/dev/null/result"),
        ("calibrate", __file__, "--gpu", "h200", "--model", "llama-3-8b", "--engine", "0.26", "-o", "/dev/null/result"),
    ],
    ids=lambda command: command[0],
)
def test_a_place_for_results_that_cannot_be_written_to(command: tuple[str, ...]) -> None:
    status, printed = call(command)
    assert status == 2
    assert "/dev/null" in printed
