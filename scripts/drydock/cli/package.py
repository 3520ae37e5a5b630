"""drydock package."""

from pathlib import Path

import click


@click.command("package")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True
)
def command(output: Path) -> None:
    """Write every chart as a .tgz with its dependencies and CRDs inside, and SHA256SUMS.

    The same content gives the same bytes, on any machine and at any time.
    """
    from rich.console import Console
    from rich.table import Table

    from drydock.charts import assemble_charts
    from drydock.package import package_charts
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.toolchain import ensure_crds

    project = Project.discover()
    with terminal_progress() as progress:
        ensure_crds(project, progress)
        with progress.step("Package the charts"):
            archives = package_charts(assemble_charts(project), output)
    table = Table("archive", "KiB", "sha256")
    for each in archives:
        table.add_row(str(each.file), f"{each.size / 1024:.0f}", each.sha256[:16] + "…")
    Console().print(table)
