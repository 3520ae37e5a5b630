"""Makes EC2 Fleet's choice: of all offerings that Karpenter asks for, the cheapest.

Karpenter hands EC2 a claim's whole list of instance types, in one launch template for each number of pods a node can
have, and EC2 takes the cheapest (on-demand) or weighs price and capacity (spot). Karpenter's KWOK build takes the
cheapest of one launch template, and which one is left to chance. So an admission webhook of the rehearsal narrows each
claim, as it is created, to the offering that EC2 would take: the same one in every rehearsal.
"""

import base64
import json
import math
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.environments import CapacityReservation
from drydock.rehearsal.api import Api, collection
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.watching import in_background

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ZONE = "topology.kubernetes.io/zone"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
RESERVATION = "karpenter.k8s.aws/capacity-reservation-id"
_NAME = "fleet.drydock.dev"
_WEBHOOKS = collection("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")

Requirements = Sequence[Mapping[str, Any]]


class TooEarlyError(Exception):
    """A claim made before Karpenter knows all pools: another pool may be the better one, as chance will have it."""


@dataclass(frozen=True)
class Offers:
    """What EC2 has.

    Attributes:
        zones: zones that offer an instance type, by type.
        on_demand: dollars an hour by instance type.
        reservations: capacity reservations of the account.
    """

    zones: Mapping[str, frozenset[str]]
    on_demand: Mapping[str, float]
    reservations: Sequence[CapacityReservation]


def narrow(requirements: Requirements, node_zones: Iterable[str], offers: Offers) -> list[Mapping[str, Any]] | None:
    """A claim's requirements with the one instance type and zone that EC2 takes; None to leave the claim alone.

    Args:
        requirements: `spec.requirements` of the claim.
        node_zones: zones of the subnets that its node class selects.
        offers: what EC2 has.
    """
    types = next((each["values"] for each in requirements if _is_list(each, INSTANCE_TYPE)), None)
    if types is None:
        return None
    if any(_is_list(each, RESERVATION) for each in requirements):
        candidates = [
            (each.instance_type, each.zone)
            for each in sorted(offers.reservations, key=lambda each: each.id)
            if each.instance_type in types and _allows(requirements, RESERVATION, each.id)
        ]
    else:
        candidates = [(name, zone) for name in types for zone in sorted(offers.zones.get(name, ()))]
    allowed = [
        (offers.on_demand.get(name, math.inf), name, zone)
        for name, zone in candidates
        if zone in node_zones and _allows(requirements, ZONE, zone)
    ]
    if not allowed:
        return None
    _, name, zone = min(allowed)
    kept = [_without_minimum(each) for each in requirements if each["key"] not in (INSTANCE_TYPE, ZONE)]
    return [*kept, _only(INSTANCE_TYPE, name), _only(ZONE, zone)]


def _is_list(requirement: Mapping[str, Any], key: str) -> bool:
    return bool(requirement["key"] == key and requirement["operator"] == "In")


def _only(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def _without_minimum(requirement: Mapping[str, Any]) -> dict[str, Any]:
    """Karpenter has seen to `minValues` before it made the claim."""
    return {key: value for key, value in requirement.items() if key != "minValues"}


def _allows(requirements: Requirements, key: str, value: str) -> bool:
    return all(_met(each["operator"], each.get("values", []), value) for each in requirements if each["key"] == key)


def _met(operator: str, values: Sequence[str], value: str) -> bool:
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return operator == "Exists"


def serve(api: Api, credentials: Credentials, choose: Callable[[Mapping[str, Any]], Requirements | None]) -> None:
    """Serve the webhook on a loopback port and tell the API server of it.

    Args:
        api: of the cluster.
        credentials: the API server's certificate serves here too.
        choose: gives a claim's new requirements, or None; TooEarlyError refuses it, and Karpenter tries again.
    """
    from werkzeug.serving import make_server

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server_certificate, credentials.server_key)
    server = make_server("127.0.0.1", 0, _application(choose), threaded=True, ssl_context=context)
    in_background(server.serve_forever)
    api.create(_WEBHOOKS, _configuration(f"https://127.0.0.1:{server.server_port}/", credentials))


def _configuration(url: str, credentials: Credentials) -> dict[str, Any]:
    authority = base64.b64encode(credentials.authority.read_bytes()).decode()
    claims = {"apiGroups": ["karpenter.sh"], "apiVersions": ["v1"], "resources": ["nodeclaims"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [
            {
                "name": _NAME,
                "clientConfig": {"url": url, "caBundle": authority},
                "rules": [{**claims, "operations": ["CREATE"]}],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail",
            }
        ],
    }


def _application(choose: Callable[[Mapping[str, Any]], Requirements | None]) -> Any:
    from werkzeug.wrappers import Request, Response

    @Request.application
    def application(request: Request) -> Response:
        review = json.loads(request.get_data())
        answer = {"uid": review["request"]["uid"], **_answer(choose, review["request"]["object"])}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
        return Response(json.dumps(body), mimetype="application/json")

    return application


def _answer(choose: Callable[[Mapping[str, Any]], Requirements | None], claim: Mapping[str, Any]) -> dict[str, Any]:
    try:
        requirements = choose(claim)
    except TooEarlyError:
        return {
            "allowed": False,
            "status": {"code": 429, "message": "not every node pool is known to be usable or not"},
        }
    if requirements is None:
        return {"allowed": True}
    patch = [{"op": "replace", "path": "/spec/requirements", "value": requirements}]
    return {
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
    }
