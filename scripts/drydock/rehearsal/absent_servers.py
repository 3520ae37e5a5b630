"""Servers of others that the API server would call and that do not run in a rehearsal: it is kept from calling them.

An admission webhook would refuse every write, a conversion webhook every object of another version than the stored one,
and an aggregated API its own kinds and the discovery of all others.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.errors import ClusterError
from drydock.suite.manifests import CRD, Manifest

_PLURALS = {
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "APIService": "apiservices",
    CRD: "customresourcedefinitions",
}
_MANAGER = "drydock-bypass"
_NEVER = [{"name": "drydock.dev-bypassed", "expression": "false"}]
_NO_CONVERSION = {"strategy": "None", "webhook": None}
_WHAT = {
    "APIService": "was removed: its server does not run here, so its API is not there",
    CRD: "converts nothing: its webhook does not run here, so objects keep the fields that they were written with",
}
_ADMISSION = "was bypassed: its server does not run here, so what it refuses or changes is not shown"
_PAUSE_SECONDS = 0.3
_CALLED = re.compile(r"failed calling webhook|conversion webhook for")


def find_callers(manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
    """Objects of others by which the API server would call a server."""
    return tuple(caller for caller in manifests if caller.source and _calls(caller))


def sentences(callers: Sequence[Manifest]) -> tuple[str, ...]:
    """For the report: which servers were not called."""
    return tuple(
        f"{caller.kind} {caller.name} of {caller.source} {_WHAT.get(caller.kind, _ADMISSION)}" for caller in callers
    )


def was_called(error: ClusterError) -> bool:
    """Whether a write failed because the API server called a server that is absent, before it was kept from it."""
    return bool(_CALLED.search(str(error)))


def bypass(api: Api, callers: Sequence[Manifest]) -> None:
    """Keep the API server from calling what these objects name; those that are not there are passed over."""
    for caller in callers:
        path = f"{collection(caller.api_version, _PLURALS[caller.kind])}/{caller.name}"
        found = api.find(path)
        if not found:
            continue
        if caller.kind == "APIService":
            api.delete(path)
        elif caller.kind == CRD:
            if (found["spec"].get("conversion") or {}).get("strategy") == "Webhook":
                _change(api, path, {"spec": {"conversion": _NO_CONVERSION}})
        elif any(webhook.get("matchConditions") != _NEVER for webhook in found.get("webhooks") or ()):
            webhooks = [{**webhook, "matchConditions": _NEVER} for webhook in found["webhooks"]]
            _change(api, path, {"webhooks": webhooks})


@contextmanager
def bypassing(api: Api, callers: Sequence[Manifest]) -> Iterator[None]:
    """Do so within the block, as soon as the objects appear: Helm may wait for pods that a webhook keeps from being."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_PAUSE_SECONDS):
            try:
                bypass(api, callers)
            except ClusterError:  # another write was first; the next round sees it
                continue

    thread = threading.Thread(target=follow, daemon=True)
    if callers:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if callers:
            thread.join()
    bypass(api, callers)


def _change(api: Api, path: str, change: Mapping[str, Any]) -> None:
    """Change an object without owning what was changed, so that the next apply meets no conflict."""
    api.merge(f"{path}?fieldManager={_MANAGER}", change)
    owners = (api.find(path) or {"metadata": {}})["metadata"].get("managedFields") or ()
    others = [caller for caller in owners if caller.get("manager") != _MANAGER]
    if len(others) < len(owners):
        api.merge(path, {"metadata": {"managedFields": others}})


def _calls(manifest: Manifest) -> bool:
    spec = manifest.content.get("spec") or {}
    if manifest.kind == "APIService":
        return bool(spec.get("service"))
    if manifest.kind == CRD:
        return (spec.get("conversion") or {}).get("strategy") == "Webhook"
    return manifest.kind in _PLURALS
