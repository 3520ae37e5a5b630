"""drydock package."""

import json
from pathlib import Path

import click

from drydock.cli.options import check_writable
from drydock.cli.output import columns, format_option


@click.command("package")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True
)
@format_option()
def command(output: Path, form: str) -> None:
    """Write every chart as a .tgz with its dependencies and CRDs inside, SHA256SUMS, and a bill of materials.

    sbom.cdx.json (CycloneDX) lists charts, the modules that CRDs come from, and the images of every environment. The
    same content gives the same bytes, on any machine and at any time.
    """
    from drydock.inventory.images import used_images
    from drydock.inventory.sbom import write_sbom
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.suite.charts import assemble_charts
    from drydock.suite.environments import load_environments
    from drydock.suite.package import package_charts, write_checksums
    from drydock.tools.build import ensure
    from drydock.tools.crd_files import ensure_crds
    from drydock.tools.pins import Toolchain

    check_writable("-o", output)
    project = Project.discover()
    with terminal_progress() as progress:
        ensure_crds(project, progress)
        helm = ensure(project, ["helm4"], progress)["helm4"]
        charts = assemble_charts(project)
        with progress.step("Package the charts"):
            archives = package_charts(charts, output)
        with progress.step("List what is inside"):
            used = (used_images(project, helm, charts, environment) for environment in load_environments(project, ()))
            images = {image.upstream for used_image in used for image in used_image}
            bill = write_sbom(output, charts.folder, archives, Toolchain.load(project), images)
            write_checksums(output, [*(archive.file for archive in archives), bill])
    if form == "json":
        rows = [{"file": str(archive.file), "size": archive.size, "sha256": archive.sha256} for archive in archives]
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [(str(archive.file), f"{archive.size / 1024:.0f}", archive.sha256) for archive in archives]
    click.echo(columns(("archive", "KiB", "sha256"), cells))
