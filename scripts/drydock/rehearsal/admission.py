"""An admission webhook that corrects what Karpenter's KWOK build makes, before anyone sees it."""

import base64
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drydock.rehearsal.api import Api, collection
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.fleet import CAPACITY_TYPE, RESERVATION
from drydock.rehearsal.watching import in_background

_NAME = "rehearsal.drydock.dev"
_WEBHOOKS = collection("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
_RESERVATION_TYPE = "karpenter.k8s.aws/capacity-reservation-type"
_RESERVED_LABELS = (CAPACITY_TYPE, RESERVATION, _RESERVATION_TYPE)
_TOO_EARLY = 429

Content = Mapping[str, Any]
Patch = Sequence[Mapping[str, Any]]


class TooEarlyError(Exception):
    """Something made before it can be made right; whoever made it tries again."""


def serve_admission(
    api: Api, credentials: Credentials, new_claim: Callable[[Content], Patch], new_node: Callable[[Content], Patch]
) -> None:
    """Serve the webhook on a loopback port and tell the API server of it.

    Args:
        api: of the cluster.
        credentials: the API server's certificate serves here too.
        new_claim: gives the JSON patch for a NodeClaim that is being created; TooEarlyError refuses it.
        new_node: gives the JSON patch for a Node that is being created.
    """
    from werkzeug.serving import make_server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server_certificate, credentials.server_key)
    context.load_verify_locations(credentials.authority)
    context.verify_mode = ssl.CERT_REQUIRED  # the API server's own; another program of this machine has none
    application = _application({"NodeClaim": new_claim, "Node": new_node})
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)
    in_background(server.serve_forever)
    api.create(_WEBHOOKS, _configuration(f"https://127.0.0.1:{server.server_port}/", credentials))


def _configuration(url: str, credentials: Credentials) -> dict[str, Any]:
    operations = {"apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    was_reserved = (
        f"has(oldObject.metadata.labels) && '{CAPACITY_TYPE}' in oldObject.metadata.labels"
        f" && oldObject.metadata.labels['{CAPACITY_TYPE}'] == 'reserved'"
    )
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [
            {
                "name": _NAME,
                "clientConfig": {
                    "url": url,
                    "caBundle": base64.b64encode(credentials.authority.read_bytes()).decode(),
                },
                "rules": [
                    {**operations, "apiGroups": ["karpenter.sh"], "resources": ["nodeclaims"]},
                    {**operations, "apiGroups": [""], "resources": ["nodes"]},
                ],
                "matchConditions": [
                    {"name": "new-or-reserved", "expression": f"request.operation == 'CREATE' || ({was_reserved})"}
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
            }
        ],
    }


def _application(creators: Mapping[str, Callable[[Content], Patch]]) -> Any:
    from werkzeug.wrappers import Request, Response

    @Request.application
    def application(request: Request) -> Response:
        asked = json.loads(request.get_data())["request"]
        answer = {"uid": asked["uid"], **_answer(asked, creators)}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        return Response(json.dumps(body), mimetype="application/json")

    return application


def _answer(asked: Content, creators: Mapping[str, Callable[[Content], Patch]]) -> dict[str, Any]:
    try:
        if asked["operation"] == "CREATE":
            patch = creators[asked["kind"]["kind"]](asked["object"])
        else:
            patch = keep_reserved(asked["oldObject"], asked["object"])
    except TooEarlyError as error:
        return {"allowed": False, "status": {"code": _TOO_EARLY, "message": str(error)}}
    if not patch:
        return {"allowed": True}
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def keep_reserved(old: Content, new: Content) -> Patch:
    """The patch that keeps reserved capacity reserved.

    Karpenter asks EC2 every minute whether an instance still runs in its reservation. Its KWOK build answers without
    reservations, so that Karpenter would take each for over, and buy the reserved node anew.
    """
    before, after = old["metadata"].get("labels", {}), new["metadata"].get("labels", {})
    if after.get(CAPACITY_TYPE) == before.get(CAPACITY_TYPE):
        return ()
    kept = {label: before[label] for label in _RESERVED_LABELS if label in before}
    return ({"op": "replace", "path": "/metadata/labels", "value": {**after, **kept}},)
