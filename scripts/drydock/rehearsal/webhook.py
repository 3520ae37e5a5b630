"""An admission webhook that corrects what Karpenter's KWOK build makes, before anyone sees it."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drydock.clusters.api import Api, ApiError, collection
from drydock.clusters.watching import in_background
from drydock.errors import ClusterError
from drydock.outcome.fleet import CAPACITY_TYPE, RESERVATION
from drydock.rehearsal.credentials import Credentials

_NAME = "rehearsal.drydock.dev"
_WEBHOOKS = collection("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
_RESERVATION_TYPE = "karpenter.k8s.aws/capacity-reservation-type"
_RESERVED_LABELS = (CAPACITY_TYPE, RESERVATION, _RESERVATION_TYPE)
_TOO_EARLY = 429
_FAILED = 500
_NODES = collection("v1", "nodes")
_ANSWER_SECONDS = 30  # the most that Kubernetes allows
_CONNECTIONS = 4096
_SERVING_SECONDS = 120
_PAUSE_SECONDS = 0.02

Content = Mapping[str, Any]
Patch = Sequence[Mapping[str, Any]]


class TooEarlyError(Exception):
    """Something made before it can be made right; its maker tries again."""


def serve_admission(
    api: Api,
    credentials: Credentials,
    new_claim: Callable[[Content], Patch],
    new_node: Callable[[Content], Patch],
    on_failure: Callable[[Exception], None],
) -> None:
    """Serve the webhook on a loopback port; returns when the API server asks it about every new object.

    Args:
        api: of the cluster.
        credentials: the API server's certificate serves here too.
        new_claim: gives the JSON patch for a NodeClaim that is being created; TooEarlyError refuses it.
        new_node: gives the JSON patch for a Node that is being created.
        on_failure: called with any other error that these raise: the maker of the object would retry indefinitely.

    Raises:
        ClusterError: the API server does not ask.
    """
    from werkzeug.serving import make_server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server_certificate, credentials.server_key)
    context.load_verify_locations(credentials.authority)
    context.verify_mode = ssl.CERT_REQUIRED  # the API server's own; another program of this machine has none
    asked = threading.Event()
    application = _application({"NodeClaim": new_claim, "Node": new_node}, asked, on_failure)
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)
    server.socket.listen(_CONNECTIONS)  # hundreds of nodes appear at once
    server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]  # in each connection's own thread
    in_background(server.serve_forever)
    api.create(_WEBHOOKS, _configuration(f"https://127.0.0.1:{server.server_port}/", credentials))
    _await_asked(api, asked)


def _await_asked(api: Api, asked: threading.Event) -> None:
    """The API server learns of webhooks a moment after they are made, and until then lets objects pass unseen."""
    probe = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": _NAME}}
    deadline = time.monotonic() + _SERVING_SECONDS
    while True:
        try:
            api.create(_NODES, probe, dry_run=True)
        except ApiError as error:
            if not asked.is_set() and error.status == 0:
                raise
        if asked.is_set():
            return
        if time.monotonic() > deadline:
            raise ClusterError(f"the API server does not ask its webhook after {_SERVING_SECONDS} s")
        time.sleep(_PAUSE_SECONDS)


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
                "timeoutSeconds": _ANSWER_SECONDS,
                "failurePolicy": "Fail",
            }
        ],
    }


def _application(
    creators: Mapping[str, Callable[[Content], Patch]],
    probed: threading.Event,
    on_failure: Callable[[Exception], None],
) -> Any:
    from werkzeug.wrappers import Request, Response

    @Request.application
    def application(request: Request) -> Response:
        asked = json.loads(request.get_data())["request"]
        if asked.get("dryRun") and asked["name"] == _NAME:
            probed.set()
            answer = {"uid": asked["uid"], "allowed": True}
        else:
            answer = {"uid": asked["uid"], **answer_review(asked, creators, on_failure)}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        return Response(json.dumps(body), mimetype="application/json")

    return application


def answer_review(
    asked: Content, creators: Mapping[str, Callable[[Content], Patch]], on_failure: Callable[[Exception], None]
) -> dict[str, Any]:
    """The `response` to an admission review's `request`, without its uid.

    Args:
        asked: the request.
        creators: give the patch for a new object, by its kind.
        on_failure: called with what they raise, other than TooEarlyError.
    """
    try:
        if asked["operation"] == "CREATE":
            patch = creators[asked["kind"]["kind"]](asked["object"])
        else:
            patch = keep_reserved(asked["oldObject"], asked["object"])
    except TooEarlyError as error:
        return {"allowed": False, "status": {"code": _TOO_EARLY, "message": str(error)}}
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not be retried indefinitely in silence
        on_failure(error)
        return {"allowed": False, "status": {"code": _FAILED, "message": str(error)}}
    if not patch:
        return {"allowed": True}
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def keep_reserved(old: Content, new: Content) -> Patch:
    """The patch that keeps reserved capacity reserved.

    Karpenter asks EC2 every minute whether an instance still runs in its reservation. Its KWOK build answers without
    reservations, so that Karpenter would take each for over, and buy the reserved node again.
    """
    before, after = old["metadata"].get("labels", {}), new["metadata"].get("labels", {})
    if after.get(CAPACITY_TYPE) == before.get(CAPACITY_TYPE):
        return ()
    kept = {label: before[label] for label in _RESERVED_LABELS if label in before}
    return ({"op": "replace", "path": "/metadata/labels", "value": {**after, **kept}},)
