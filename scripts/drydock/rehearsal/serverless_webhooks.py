"""Admission webhooks of others, whose servers do not run in a rehearsal: called, they would refuse every write."""

from collections.abc import Sequence

from drydock.clusters.api import Api, collection
from drydock.suite.manifests import Manifest

_PLURALS = {
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
}
_NEVER = [{"name": "drydock.dev-bypassed", "expression": "false"}]


def find_webhooks(manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Configurations of webhooks that are not the suite's."""
    return tuple(manifest for manifest in manifests if manifest.source and manifest.kind in _PLURALS)


def bypass_webhooks(api: Api, configurations: Sequence[Manifest]) -> None:
    """Have the API server call none of them, by a match condition that is never met; absent ones are passed over."""
    for configuration in configurations:
        path = f"{collection(configuration.api_version, _PLURALS[configuration.kind])}/{configuration.name}"
        found = api.find(path)
        if found:
            webhooks = [{**webhook, "matchConditions": _NEVER} for webhook in found.get("webhooks") or ()]
            api.merge(path, {"webhooks": webhooks})


def bypassed(configurations: Sequence[Manifest]) -> tuple[str, ...]:
    """For the report: what was not asked."""
    return tuple(
        f"{configuration.kind} {configuration.name} of {configuration.source} was bypassed: its server does not run "
        "here, so what it refuses or changes is not shown"
        for configuration in configurations
    )
