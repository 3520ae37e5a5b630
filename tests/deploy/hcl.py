"""Blocks of ci/eks as text, for assertions where Terraform's AWS provider is not at hand."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT

EKS = ROOT / "ci" / "eks"
_HEAD = re.compile(r'^(\w+)((?: "[^"]+")*) \{', re.MULTILINE)


def blocks(folder: Path = EKS) -> Mapping[str, str]:
    """Content of every block at the top level, by its address: `resource.aws_vpc.this`, `variable.zones`.

    Blocks without labels (locals) are numbered. Comments are left out.
    """
    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.tf")):
        text = re.sub(r"^\s*#.*$", "", file.read_text(), flags=re.MULTILINE)
        for head in _HEAD.finditer(text):
            labels = re.findall(r'"([^"]+)"', head[2])
            address = ".".join([head[1], *(labels or [f"{file.stem}{head.start()}"])])
            found[address] = text[head.end() : text.index("\n}", head.end())]
    return found


def of_kind(kind: str) -> Mapping[str, str]:
    """Resources of a type, by their address."""
    return {address: text for address, text in blocks().items() if address.startswith(f"resource.{kind}.")}
