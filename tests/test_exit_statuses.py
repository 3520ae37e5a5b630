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
    "images": (),
    "diagram": (),
    "bootstrap-argocd": ("--repository", "https://git.example.com/platform.git"),
    "plan": ("--rate", "1"),
    "loadtest": ("--model", "m", "--rate", "1"),
}
STACKED = sorted(OF_AN_ENVIRONMENT.keys() - {"bootstrap-argocd", "loadtest"})
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
