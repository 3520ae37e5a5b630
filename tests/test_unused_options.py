"""An option that nothing would use is wrong usage, so that no one believes that it did something."""

import pytest

from tests.documentation.command_line import call


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "deploy dev --target rehearsal --account-id 123456789012 --owner me",
            "--account-id, --owner: is for --target eks",
        ),
        ("deploy dev --target rehearsal --node-image mine", "--node-image: is for --target kind"),
        ("deploy dev --kubeconfig /dev/null --ttl 2h", "--ttl: is for a new cluster"),
        ("deploy --list --target kind --yes", "--target, --yes: --list only lists"),
        ("destroy dev-kind --region eu-central-1", "--region: is for the clusters of an account"),
        ("destroy --expired --backend-bucket states", "--backend-bucket: is for the clusters of an account"),
        ("diff dev --against HEAD --kubeconfig /dev/null", "--kubeconfig: is for --live"),
        ("doctor --unused-days 3", "--unused-days: nothing is removed without --prune"),
        ("images dev --resolve --format json", "--format: --resolve prints values"),
        ("render dev --show-command --chart vllm -o out", "--show-command renders nothing"),
        ("render dev -o out --format json", "--format: -o writes YAML files"),
        ("plan dev --objective ttft_p95_ms=500", "--objective: nothing uses it without a rate"),
    ],
)
def test_an_option_that_nothing_would_use_is_refused(line: str, words: str) -> None:
    status, printed = call(line.split())
    assert status == 2, printed
    assert words in printed
