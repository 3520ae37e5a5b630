"""Environments: their files, and stacking on top of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from drydock.errors import UsageError
from drydock.project import Project
from drydock.suite.environments import environment_names, load_environment

MakeProject = Callable[[Mapping[str, str]], Project]
SMALL = "description: small\nstack: [empty.yaml]\n"


def test_an_environment_names_its_stack_in_order(small_project: MakeProject) -> None:
    project = small_project(
        {
            "values/environments/a.yaml": "description: A\nstack: [models/m.yaml, empty.yaml]\n",
            "values/models/m.yaml": "",
        }
    )
    environment = load_environment(project, "a")
    assert [file.name for file in environment.values_files] == ["m.yaml", "empty.yaml"]
    assert environment.namespace == "genai"


def test_files_and_set_values_go_on_top_of_the_stack(small_project: MakeProject, tmp_path: Path) -> None:
    project = small_project({"values/environments/a.yaml": SMALL})
    extra = tmp_path / "extra.yaml"
    extra.write_text("")
    arguments = load_environment(project, "a").stacked([extra], ["a.b=c"]).helm_arguments()
    assert arguments == ["-f", str(project.values_dir / "empty.yaml"), "-f", str(extra), "--set", "a.b=c"]


def test_a_file_in_another_encoding_is_named(small_project: MakeProject) -> None:
    project = small_project({"values/environments/a.yaml": SMALL})
    (project.values_dir / "environments/a.yaml").write_bytes("description: caf\xe9\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a.yaml: not text in UTF-8"):
        load_environment(project, "a")


def test_an_unknown_environment_names_the_known_ones(small_project: MakeProject) -> None:
    project = small_project({"values/environments/a.yaml": SMALL, "values/environments/b.yaml": SMALL})
    assert environment_names(project) == ("a", "b")
    with pytest.raises(UsageError, match=r"unknown environment 'c'\n  Known: a, b"):
        load_environment(project, "c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stack: [empty.yaml]\n", "'description' is a required property"),
        ("description: x\nstack: []\n", "stack"),
        (f"{SMALL}stacks: []\n", "'stacks' was unexpected"),
        ("description: x\nstack: [missing.yaml]\n", "no such file: .*missing.yaml"),
        ("description: [", "not YAML"),
        (f"{SMALL}objectives: {{ttft_p96_ms: 5}}\n", "objectives: ttft_p96_ms: unknown objective"),
        (f"{SMALL}account: {{capacityReservations: [{{id: cr-1}}]}}\n", "account.capacityReservations.0"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(small_project: MakeProject, text: str, said: str) -> None:
    project = small_project({"values/environments/a.yaml": text})
    for _ in range(2):  # a wrong file is not remembered as a right one
        with pytest.raises(UsageError, match=f"(?s)a.yaml.*{said}"):
            load_environment(project, "a")


def test_a_missing_values_file_is_refused_before_anything_starts(small_project: MakeProject) -> None:
    project = small_project({"values/environments/a.yaml": SMALL})
    with pytest.raises(UsageError, match=r"-f nowhere\.yaml: no such file"):
        load_environment(project, "a").stacked([Path("nowhere.yaml")], [])
