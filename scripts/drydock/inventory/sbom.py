"""What is inside a package of the suite: a CycloneDX software bill of materials of charts, CRDs and images."""

import datetime
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from drydock.documents import load_yaml_file
from drydock.engines.image_facts import parse_reference
from drydock.project import UMBRELLA
from drydock.suite.package import Archive
from drydock.tools.pins import Toolchain

FILE = "sbom.cdx.json"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "drydock.dev")


def write_sbom(
    folder: Path, charts: Path, archives: Sequence[Archive], toolchain: Toolchain, images: Iterable[str]
) -> Path:
    """Write `sbom.cdx.json` (CycloneDX 1.6) beside the archives; the same content gives the same bytes.

    The date in it is $SOURCE_DATE_EPOCH, or 1970 (reproducible-builds.org).

    Args:
        folder: of the archives.
        charts: folder of the charts with their dependencies inside.
        archives: what `package_charts` wrote.
        toolchain: names the Go modules that the CRDs come from.
        images: references with their registries, of every environment.
    """
    packaged = {archive.file.name: archive for archive in archives}
    components = {name: _chart(charts / name, packaged) for name in sorted(path.name for path in charts.iterdir())}
    root = components[UMBRELLA]
    bom = Bom(components=[part for part in components.values() if part is not root])
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.datetime.fromtimestamp(
        int(os.environ.get("SOURCE_DATE_EPOCH", "0")), tz=datetime.UTC
    )
    for name, component in components.items():
        bom.register_dependency(component, [components[dependency] for dependency in _dependencies(charts / name)])
    modules = [_module(toolchain, owner) for owner in sorted(toolchain.crds)]
    containers = [_image(image) for image in sorted(set(images))]
    for module in (*modules, *containers):
        bom.components.add(module)
    bom.register_dependency(components["crds"], modules)
    bom.register_dependency(
        root, [*(components[dependency] for dependency in _dependencies(charts / UMBRELLA)), *containers]
    )
    content = "".join(f"{part.bom_ref}\n{list(map(str, part.hashes))}\n" for part in sorted(bom.components))
    bom.serial_number = uuid.uuid5(_NAMESPACE, content)
    file = folder / FILE
    file.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    return file


def _chart(folder: Path, packaged: Mapping[str, Archive]) -> Component:
    metadata = load_yaml_file(folder / "Chart.yaml")
    name, version = metadata["name"], str(metadata["version"])
    archive = packaged.get(f"{name}-{version}.tgz")
    return Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        description=str(metadata["description"]).strip(),
        purl=PackageURL("helm", name=name, version=version),
        bom_ref=f"pkg:helm/{name}@{version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=archive.sha256)] if archive else (),
    )


def _dependencies(chart: Path) -> list[str]:
    dependencies = load_yaml_file(chart / "Chart.yaml").get("dependencies", [])
    return [
        dependency["name"] for dependency in dependencies if str(dependency.get("repository", "")).startswith("file://")
    ]


def _module(toolchain: Toolchain, owner: str) -> Component:
    source = toolchain.crds[owner]
    namespace, _, name = source.go_module.rpartition("/")
    purl = PackageURL("golang", namespace=namespace, name=name, version=source.version, subpath=source.path)
    return Component(
        name=source.go_module,
        version=source.version,
        type=ComponentType.LIBRARY,
        description=f"Custom resource definitions of {owner}",
        purl=purl,
        bom_ref=purl.to_string(),
        properties=[Property(name="drydock:go.sum", value=source.checksum)],
    )


def _image(image: str) -> Component:
    reference = parse_reference(image)
    name = reference.name.rpartition("/")[2]
    qualifiers = {"repository_url": reference.name} | ({"tag": reference.tag} if reference.tag else {})
    return Component(
        name=reference.name,
        version=reference.digest or reference.tag,
        type=ComponentType.CONTAINER,
        purl=PackageURL("oci", name=name, version=reference.digest or None, qualifiers=qualifiers),
        bom_ref=image,
    )
