"""Assembling and packaging charts."""

import hashlib
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.package import package_charts

MakeProject = Callable[[Mapping[str, str]], Project]
FILES = {
    "charts/genai-platform/Chart.yaml": (
        "apiVersion: v2\nname: genai-platform\nversion: 1.2.3\n"
        "dependencies: [{name: part, version: 0.1.0, repository: 'file://../part'}]\n"
    ),
    "charts/part/Chart.yaml": (
        "apiVersion: v2\nname: part\nversion: 0.1.0\n"
        "dependencies: [{name: common, version: 0.1.0, repository: 'file://../common'}]\n"
    ),
    "charts/common/Chart.yaml": "apiVersion: v2\nname: common\nversion: 0.1.0\ntype: library\n",
    "charts/part/templates/part.yaml": "a: 1\n",
}


def test_dependencies_lie_inside_their_charts_at_every_depth(small_project: MakeProject) -> None:
    charts = assemble_charts(small_project(FILES))
    assert (charts.umbrella / "charts/part/templates/part.yaml").is_file()
    assert (charts.umbrella / "charts/part/charts/common/Chart.yaml").is_file()


def test_a_changed_byte_assembles_anew_and_the_same_content_does_not(small_project: MakeProject) -> None:
    first = assemble_charts(small_project(FILES))
    assert assemble_charts(small_project(FILES)) == first
    second = assemble_charts(small_project({**FILES, "charts/part/templates/part.yaml": "a: 2\n"}))
    assert second.digest != first.digest
    assert (second.chart("part") / "templates/part.yaml").read_text() == "a: 2\n"


def test_a_changed_byte_of_a_chart_behind_a_link_assembles_again(small_project: MakeProject, tmp_path: Path) -> None:
    project = small_project(FILES)
    (project.charts_dir / "part").rename(tmp_path / "part")
    (project.charts_dir / "part").symlink_to(tmp_path / "part")
    first = assemble_charts(project)
    (tmp_path / "part/templates/part.yaml").write_text("a: 2\n")
    second = assemble_charts(project)
    assert second.digest != first.digest
    assert (second.umbrella / "charts/part/templates/part.yaml").read_text() == "a: 2\n"


def test_packages_have_the_same_bytes_each_time_and_leave_library_charts_inside(
    small_project: MakeProject, tmp_path: Path
) -> None:
    charts = assemble_charts(small_project(FILES))
    first = package_charts(charts, tmp_path / "one")
    for file in charts.folder.rglob("*.yaml"):
        file.touch()
    second = package_charts(charts, tmp_path / "two")
    assert [each.sha256 for each in first] == [each.sha256 for each in second]
    assert [each.file.name for each in first] == ["genai-platform-1.2.3.tgz", "part-0.1.0.tgz"]
    with tarfile.open(first[0].file) as archive:
        assert "genai-platform/charts/part/charts/common/Chart.yaml" in archive.getnames()
    assert [each.sha256 for each in first] == [hashlib.sha256(each.file.read_bytes()).hexdigest() for each in first]


def test_what_helmignore_names_stays_out_of_every_chart_around(small_project: MakeProject) -> None:
    files = {"charts/part/.helmignore": "# Sources.\n.helmignore\nexamples/\nvalues.types.yaml\n"}
    files |= {"charts/part/values.types.yaml": "types: {}\n", "charts/part/examples/one.yaml": "a: 1\n"}
    charts = assemble_charts(small_project({**FILES, **files}))
    inside = {file.name for file in charts.umbrella.rglob("*") if file.is_file()}
    assert inside == {"Chart.yaml", "part.yaml"}
