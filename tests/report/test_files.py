"""report.json and report.html on disk."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from drydock.errors import DrydockError
from drydock.json_schemas import Draft202012Validator
from drydock.report.files import write_report
from drydock.report.html import render_html
from drydock.report.model import (
    ColdStartReport,
    FaultReport,
    ModelReport,
    NodeReport,
    PodReport,
    RehearsalReport,
    StepReport,
    WarningReport,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    text = resources.files("drydock").joinpath("data/report.schema.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(loaded)
    return loaded


def test_both_files_are_written_and_named(report: RehearsalReport, tmp_path: Path) -> None:
    files = write_report(report, tmp_path / "new" / "folder")
    assert files.json == tmp_path / "new" / "folder" / "report.json"
    assert files.html.read_text() == render_html(report)
    assert sorted(each.name for each in files.json.parent.iterdir()) == ["report.html", "report.json"]


def test_the_json_follows_its_schema_and_reads_back(
    report: RehearsalReport, schema: dict[str, Any], tmp_path: Path
) -> None:
    data = json.loads(write_report(report, tmp_path).json.read_text())
    Draft202012Validator(schema).validate(data)
    assert RehearsalReport.from_dict(data) == report


def test_a_report_of_nothing_follows_the_schema(empty: RehearsalReport, schema: dict[str, Any], tmp_path: Path) -> None:
    Draft202012Validator(schema).validate(json.loads(write_report(empty, tmp_path).json.read_text()))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("version",), 2),
        (("pods", 0, "phase"), "Running"),
        (("pods", 0, "ready_seconds"), "63 s"),
        (("nodes", 0, "cpu"), [1.0]),
        (("nodes", 0, "accelerators"), {"nvidia.com/gpu": [1, 1, 1]}),
        (("dollars_per_month",), None),
    ],
)
def test_the_schema_refuses_what_is_no_report(
    several_pools: RehearsalReport, schema: dict[str, Any], where: tuple[str | int, ...], value: object
) -> None:
    data = json.loads(json.dumps(several_pools.to_dict()))
    parent = data
    for key in where[:-1]:
        parent = parent[key]
    parent[where[-1]] = value
    assert list(Draft202012Validator(schema).iter_errors(data))


def test_the_schema_names_exactly_the_fields(schema: dict[str, Any]) -> None:
    properties = schema["properties"]
    assert set(properties) == {each.name for each in fields(RehearsalReport)} | {"dollars_per_month"}
    parts = {
        "steps": StepReport,
        "pods": PodReport,
        "nodes": NodeReport,
        "warnings": WarningReport,
        "cold_starts": ColdStartReport,
        "faults": FaultReport,
        "models": ModelReport,
    }
    for name, part in parts.items():
        items = properties[name]["items"]
        assert set(items["properties"]) == set(items["required"]) == {each.name for each in fields(part)}
    assert set(schema["required"]) == set(properties)


def _rows(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, each in properties.items():
        kind = each.get("type", "string" if "enum" in each else "integer")
        shown = " or ".join(kind) if isinstance(kind, list) else kind
        yield f"| `{prefix}{name}` | {shown} | {each['description']} |"
        if "properties" in (each.get("items") or {}):
            yield from _rows(each["items"]["properties"], f"{prefix}{name}[].")


def test_the_documentation_explains_every_field_as_the_schema_does(schema: dict[str, Any]) -> None:
    lines = [line for line in (ROOT / "docs" / "report.md").read_text().splitlines() if line.startswith("| `")]
    assert lines == list(_rows(schema["properties"]))


def test_an_older_report_is_replaced_whole(
    several_pools: RehearsalReport, one_gpu: RehearsalReport, tmp_path: Path
) -> None:
    write_report(several_pools, tmp_path)
    files = write_report(one_gpu, tmp_path)
    assert json.loads(files.json.read_text())["environment"] == "dev"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_older_report_and_no_rest(several_pools: RehearsalReport, tmp_path: Path) -> None:
    files = write_report(several_pools, tmp_path)
    before = files.json.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_report(replace(several_pools, environment="\ud800"), tmp_path)
    assert files.json.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_to_is_named(one_gpu: RehearsalReport, tmp_path: Path) -> None:
    file = tmp_path / "taken"
    file.write_text("")
    with pytest.raises(DrydockError, match="taken") as caught:
        write_report(one_gpu, file)
    assert "-o" in caught.value.remedy


def test_a_report_of_another_version_is_refused(one_gpu: RehearsalReport) -> None:
    with pytest.raises(DrydockError, match="version 2"):
        RehearsalReport.from_dict({**one_gpu.to_dict(), "version": 2})
