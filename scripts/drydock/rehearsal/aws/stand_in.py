"""Serves the account on a loopback port: Moto for every AWS API, and the one Pricing call that Karpenter makes.

All is there before Karpenter starts, prices included: it never decides by what it does not know yet.

Requests are taken only with the access key of this one stand-in, which its clients alone know.
"""

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from drydock.outcome.fleet import Offers
from drydock.rehearsal.aws.actions import Market, add_actions
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.aws.seed import seed

_PRICING_TARGET = "AWSPriceListService.GetProducts"
_METAL = "Compute Instance (bare metal)"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_FIRST_CALLS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "ec2": ("/", _FORM, "Action=DescribeRegions&Version=2016-11-15"),
    "iam": ("/", _FORM, "Action=ListRoles&Version=2010-05-08"),
    "ssm": (
        "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.GetParameters"},
        '{"Names": ["none"]}',
    ),
    "eks": ("/clusters", {}, ""),
}
"""Path, headers and body of one call without effect, by service."""


class AwsStandIn:
    """The account and its server; importing Moto takes a second or two, so make it while other things start."""

    def __init__(self, market: Market) -> None:
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.market = market
        add_actions(market)
        self._key = secrets.token_hex(16)
        priced = _with_pricing(DomainDispatcherApplication(create_backend_app), self._on_demand)
        application = _guarded(priced, self._key)
        self._server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def warm(self) -> dict[str, int]:
        """Call each service that Karpenter calls, since loading them on the first calls takes Moto a second in all.

        Returns:
            HTTP status by service.
        """
        import urllib3

        statuses = {}
        with urllib3.PoolManager(retries=False) as pool:
            for service, (path, more, body) in _FIRST_CALLS.items():
                signature = f"AWS4-HMAC-SHA256 Credential={self._key}/20260101/us-east-1/{service}/aws4_request"
                method = "POST" if body else "GET"
                headers = {"Authorization": signature, **more}
                statuses[service] = pool.request(method, f"{self.url}{path}", body=body, headers=headers).status
        return statuses

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, account: Account, kubernetes_version: str) -> Account:
        """Add an account's content to what is there; returns all that is there now.

        Raises:
            ClusterError: the region or a zone does not exist.
        """
        merged = self.market.account.with_also(account) if self.market.account else account
        seed(merged, kubernetes_version)
        self.market.account = merged
        self.market.vcpus.limits = merged.quotas
        self.market.addresses.free = merged.addresses
        return merged

    def offers(self) -> Offers:
        """What EC2 has in the account's region."""
        account = self.market.account
        return Offers(
            zones=_offering_zones(account) if account else {},
            on_demand=self._on_demand(),
            reservations=account.capacity_reservations if account else (),
            refuses=self.market.refuses,
        )

    def _on_demand(self) -> Mapping[str, float]:
        account = self.market.account
        return self.market.prices_in(account.region).on_demand if account else {}

    def client_settings(self, region: str) -> dict[str, str]:
        """Variables that make an AWS SDK call this and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": region,
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_SESSION_TOKEN": "",
            "AWS_PROFILE": "",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _offering_zones(account: Account) -> Mapping[str, frozenset[str]]:
    """Zones that offer an instance type, by type: as they were read of the account, else as Moto has them."""
    usual, read = _zones_by_type(account.region), account.offerings
    if not read:
        return usual
    zones = {name: set(places.difference(read)) for name, places in usual.items()}
    for zone, types in read.items():
        for name in types:
            zones.setdefault(name, set()).add(zone)
    return {name: frozenset(places) for name, places in zones.items()}


@cache
def _zones_by_type(region: str) -> Mapping[str, frozenset[str]]:
    from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

    zones: dict[str, set[str]] = {}
    for offering in INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, []):
        zones.setdefault(offering["InstanceType"], set()).add(offering["Location"])
    return {name: frozenset(offered) for name, offered in zones.items()}


Start = Callable[..., Any]
Application = Callable[[Any, Start], Iterable[bytes]]


def _guarded(application: Application, key: str) -> Application:
    """Answers only requests that are signed with this access key: other users of this machine reach loopback too."""
    signed = f"Credential={key}/"

    def guarded(environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        if signed in environ.get("HTTP_AUTHORIZATION", ""):
            return application(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain"), ("Connection", "close")])
        return [b"Only the rehearsal that started this may ask it.\n"]

    return guarded


def _with_pricing(moto: Any, on_demand: Callable[[], Mapping[str, float]]) -> Application:
    def application(environ: Mapping[str, Any], start: Start) -> Iterable[bytes]:
        if environ.get("HTTP_X_AMZ_TARGET") != _PRICING_TARGET:
            return moto(environ, start)  # type: ignore[no-any-return]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        answer = json.dumps(_products(json.loads(environ["wsgi.input"].read(length)), on_demand())).encode()
        start("200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(answer)))])
        return [answer]

    return application


def _products(request: Mapping[str, Any], on_demand: Mapping[str, float]) -> dict[str, Any]:
    """The whole list in one page: Karpenter's own for the region may be another's, and ours is returned."""
    metal = any(criterion["Value"] == _METAL for criterion in request.get("Filters", []))
    products = [_product(name, price) for name, price in on_demand.items() if (".metal" in name) == metal]
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products]}


def _product(instance_type: str, price: float) -> dict[str, Any]:
    dimensions = {"rate": {"unit": "Hrs", "pricePerUnit": dict.fromkeys(("USD", "CNY"), str(price))}}
    return {
        "product": {"attributes": {"instanceType": instance_type}},
        "terms": {"OnDemand": {"term": {"priceDimensions": dimensions}}},
    }
