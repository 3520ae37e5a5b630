"""Facts of AWS that change with time: where they stand, how old they are, and bringing them up to date.

Each is a data file with its source and date. A refresh asks AWS, changes nothing there, and edits the files in place:
their comments stay.
"""

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.deploy.eks.caller import call, client
from drydock.documents import load_yaml
from drydock.errors import UsageError
from drydock.suite.aws_facts import supported_versions

DATA = Path(__file__).parents[1] / "data"
_PRICING_REGION = "us-east-1"
_READ = re.compile(r"^read: (\S+)$|[Rr]ead (2[0-9]{3}-[0-9]{2}(?:-[0-9]{2})?)", re.MULTILINE)
_RELEASE = re.compile(r"/amazon-eks-node-al2023-x86_64-standard-[0-9.]+-(v[0-9]{8})/image_id$")
_CONTROL_PLANE = {
    "standard": ("AmazonEKS", "AmazonEKS-Hours:perCluster"),
    "extended": ("AmazonEKS", "AmazonEKS-Hours:extendedSupport"),
}
_FIXED = {
    "aws_eks_cluster": _CONTROL_PLANE["standard"],
    "aws_nat_gateway": ("AmazonEC2", "NatGateway-Hours"),
    "aws_eip": ("AmazonVPC", "PublicIPv4:InUseAddress"),
}
"""Service and end of the usage type of what is priced by the hour, by key of eks-prices.yaml."""


@dataclass(frozen=True)
class Fact:
    """A data file.

    Attributes:
        file: its name in the package's data folder.
        title: what it says.
        edit: makes the new text of the old one, by what AWS answers in a Region; None where no API has it.
        by_hand: where it is read, where no API has it.
    """

    file: str
    title: str
    edit: Callable[[str, str], str] | None = None
    by_hand: str = ""

    @property
    def read(self) -> str:
        """Day or month on which it was read; empty where the file does not say."""
        return day_read((DATA / self.file).read_text())


@dataclass(frozen=True)
class Refreshed:
    """What a refresh made of a file.

    Attributes:
        file: its name.
        changes: lines that are new, without their indentation; none where only the day is.
    """

    file: str
    changes: tuple[str, ...]


def day_read(text: str) -> str:
    """The last day or month at which a data file says that it was read."""
    return max((match[1] or match[2] for match in _READ.finditer(text)), default="")


def refresh(region: str, folder: Path = DATA) -> Iterator[Refreshed]:
    """Bring every file up to date that an API has; what is not in the answers stays.

    Args:
        region: whose images and prices are asked for.
        folder: in which the files are written.

    Raises:
        AwsError: AWS refused, or does not answer.
        UsageError: a file cannot be written.
    """
    today = datetime.datetime.now(datetime.UTC).date()
    for fact in FACTS:
        if fact.edit is None:
            continue
        before = (DATA / fact.file).read_text()
        edited = fact.edit(before, region)
        changes = tuple(line.strip() for line in edited.splitlines() if line not in before.splitlines())
        text = re.sub(r"^read: \S+$", f"read: {today}", edited, count=1, flags=re.MULTILINE)
        load_yaml(text)
        try:
            (folder / fact.file).write_text(text)
        except OSError as error:
            raise UsageError(
                f"{folder / fact.file} cannot be written: {error.strerror}",
                remedy="Refresh in a checkout of Drydock, or name another folder with -o.",
            ) from error
        yield Refreshed(fact.file, changes)


def _versions(text: str, region: str) -> str:
    eks = client("eks", region)
    pages = call(lambda: list(eks.get_paginator("describe_cluster_versions").paginate(includeAll=True)))
    found = {
        version["clusterVersion"]: tuple(
            _day(version.get(end)) for end in ("endOfStandardSupportDate", "endOfExtendedSupportDate")
        )
        for page in pages
        for version in page["clusterVersions"]
    }
    for version, (standard, extended) in sorted(found.items(), key=lambda item: _number(item[0])):
        line = f'  "{version}": {{standard: {standard}, extended: {extended}}}'
        known = rf'^  "{re.escape(version)}": \{{[^}}]*\}}'
        if re.search(known, text, re.MULTILINE):
            text = re.sub(known, line, text, count=1, flags=re.MULTILINE)
        else:
            text = text.replace("versions:\n", f"versions:\n{line}\n", 1)
    for kind, place in _CONTROL_PLANE.items():
        price = _hourly(*place, region)
        text = re.sub(rf"({kind}: )[0-9.]+", rf"\g<1>{price:.2f}", text, count=1) if price else text
    return text


def _releases(text: str, region: str) -> str:
    ssm = client("ssm", region)
    minors: dict[str, list[str]] = {}
    for minor in reversed(supported_versions(datetime.datetime.now(datetime.UTC).date())):
        path = f"/aws/service/eks/optimized-ami/{minor}/amazon-linux-2023/x86_64/standard"
        pages = _pages(ssm, "get_parameters_by_path", Path=path, Recursive=True)
        for name in (parameter["Name"] for page in pages for parameter in page["Parameters"]):
            if match := _RELEASE.search(name):
                minors.setdefault(match[1], []).append(minor)
    for release, having in sorted(minors.items()):
        line = f'  {release}: ["{having[0]}", "{having[-1]}"]'
        known = rf"^  {release}: .*$"
        recorded = re.search(known, text, re.MULTILINE)
        if recorded is None:
            text = _inserted(text, line)
        elif recorded[0].endswith("null"):  # its notes say more than what is offered today
            text = text.replace(recorded[0], line, 1)
    return text


def _inserted(text: str, line: str) -> str:
    """A release in its place, the newest first."""
    lines = text.splitlines()
    first = lines.index("al2023:") + 1
    place = next(
        (number for number in range(first, len(lines)) if not lines[number].startswith("  ") or lines[number] < line),
        len(lines),
    )
    return "\n".join([*lines[:place], line, *lines[place:]]) + "\n"


def _quotas(text: str, region: str) -> str:
    api = client("service-quotas", region)
    pages = _pages(api, "list_aws_default_service_quotas", ServiceCode="ec2")
    for quota in (quota for page in pages for quota in page["Quotas"]):
        code, value = quota["QuotaCode"], int(quota["Value"])
        text = re.sub(rf"(code: {code}, default: )[0-9]+", rf"\g<1>{value}", text)
    return text


def _prices(text: str, region: str) -> str:
    for key, place in _FIXED.items():
        price = _hourly(*place, region)
        text = re.sub(rf"^({key}: )[0-9.]+", rf"\g<1>{price:.3f}", text, flags=re.MULTILINE) if price else text
    return text


def _hourly(service: str, usage: str, region: str) -> float | None:
    """Dollars an hour of the usage type that ends so; None where the list has none or more than one."""
    pricing = client("pricing", _PRICING_REGION)
    filters = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    pages = _pages(pricing, "get_products", ServiceCode=service, Filters=filters)
    products = [json.loads(product) for page in pages for product in page["PriceList"]]
    found = {
        float(dimension["pricePerUnit"]["USD"])
        for product in products
        if str(product["product"]["attributes"].get("usagetype", "")).endswith(usage)
        for term in product["terms"].get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
    } - {0.0}
    return found.pop() if len(found) == 1 else None


def _pages(api: Any, verb: str, **query: Any) -> list[Mapping[str, Any]]:
    return call(lambda: list(api.get_paginator(verb).paginate(**query)))


def _day(moment: datetime.datetime | None) -> str:
    return str(moment.date()) if moment else "null"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


FACTS = (
    Fact("eks-versions.yaml", "Kubernetes versions of EKS, ends of support, price of the control plane", _versions),
    Fact("ami-releases.yaml", "Releases of the EKS optimized AMIs by Kubernetes version", _releases),
    Fact("ec2-quotas.yaml", "Default quotas of vCPUs by family of instances", _quotas),
    Fact("eks-prices.yaml", "Prices of what a cluster costs before its nodes", _prices),
    Fact("targets.yaml", "What each target has", by_hand="EKS User Guide; charts of Karpenter and the controllers"),
    Fact("auto-mode.yaml", "Instance types and labels of EKS Auto Mode", by_hand="EKS User Guide"),
    Fact("auto-mode-admission.yaml", "What EKS Auto Mode refuses", by_hand="EKS User Guide"),
    Fact("nvidia-drivers.yaml", "NVIDIA's drivers by image", by_hand="notes of the releases of the AMIs"),
)
"""Every data file with facts of AWS. Instance types and their prices come with Moto and Karpenter."""
