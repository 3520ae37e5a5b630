"""Annotated values: the one source of a chart's schema and README."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from drydock.cli.docs import command
from drydock.errors import UsageError
from drydock.json_schemas import validator_for
from drydock.project import UMBRELLA, Project
from drydock.suite.annotations.generate import generated_files
from drydock.suite.annotations.readme import MARKER
from drydock.suite.annotations.source import Value, read_values

CHART = "apiVersion: v2\nname: {name}\nversion: 0.1.0\ndescription: A chart\nkubeVersion: '>=1.33.0-0'\n"
GLOBALS = """global: # @schema open
  # -- AWS Region.
  region: "" # @schema pattern: '^[a-z0-9-]*$'
own:
  # -- Install it.
  enabled: false
"""
TYPES = """types:
  quantity: {type: string, pattern: '^[0-9]+(Gi)?$', description: An amount.}
  toleration: {properties: {key: {type: string, description: A taint.}}}
"""

Suite = Callable[..., Project]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Makes a suite of the umbrella, the library and one chart `own` with these files."""

    def make(values: str, types: str = "", readme: str = f"# own\n\nText.\n\n{MARKER}\n") -> Project:
        files = {
            f"{UMBRELLA}/values.yaml": GLOBALS,
            "common/values.yaml": "",
            "common/values.types.yaml": TYPES,
            "own/values.yaml": values,
            "own/values.types.yaml": types,
            f"{UMBRELLA}/README.md": MARKER,
            "common/README.md": MARKER,
            "own/README.md": readme,
            **{f"{name}/Chart.yaml": CHART.format(name=name) for name in (UMBRELLA, "common", "own")},
        }
        for name, content in files.items():
            file = tmp_path / "charts" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (tmp_path / "values").mkdir(exist_ok=True)
        return Project(tmp_path, tmp_path / "cache")

    return make


def _generated(project: Project, name: str) -> str:
    return next(file.content for file in generated_files(project) if file.path.match(f"own/{name}"))


def _refused(schema: str, values: Mapping[str, Any]) -> set[str]:
    """Paths at which a schema refuses values."""
    loaded = json.loads(schema)
    return {".".join(map(str, error.absolute_path)) for error in validator_for(loaded)(loaded).iter_errors(values)}


def test_what_is_committed_is_what_the_annotations_say(drydock_project: Project) -> None:
    stale = [str(file.path) for file in generated_files(drydock_project) if not file.is_current]
    assert not stale, "run `drydock docs`"


def test_a_default_says_its_type_and_an_annotation_the_rest(suite: Suite) -> None:
    schema = _generated(
        suite(
            "# -- On.\nenabled: true\n# -- Pods.\nreplicas: 2 # @schema minimum: 1\n# -- Share.\nshare: 0.5\n"
            "# -- Level.\nlevel: info # @schema enum: [info, debug]\n"
            "# -- Length.\nmaxLength: null # @schema integer or null, minimum: 1\n"
            "# -- Memory, with a hash and a quote.\nmemory: \"4Gi # 'x'\" # @schema quantity or null\n"
            "# -- Name, whose pattern is long.\n# @schema pattern: '^(a|b){1,2}$'\nname: a\n"
        ),
        "values.schema.json",
    )
    accepted = {"enabled": False, "replicas": 1, "share": 1, "level": "debug", "maxLength": None, "name": "ab"}
    assert _refused(schema, accepted) == set()
    assert _refused(schema, {"maxLength": 5, "memory": "4Gi"}) == set()
    assert _refused(schema, {"memory": None}) == set()
    wrong = {"enabled": "no", "replicas": 0, "share": "x", "level": "loud", "maxLength": 0, "memory": "4", "name": "c"}
    assert _refused(schema, {**wrong, "memory": "four"}) == set(wrong)
    assert _refused(schema, {"unknown": 1}) == {""}


def test_entries_have_the_shape_of_another_key_or_of_a_type(suite: Suite) -> None:
    project = suite(
        "poolDefaults:\n  # -- Weight.\n  weight: 1 # @schema minimum: 0\n  limits: {} # @schema entries: quantity\n"
        "pools: # @schema entries: .poolDefaults or null, names: {pattern: '^[a-z]+$'}\n  gpu:\n    weight: 2\n"
        "tolerations: {} # @schema entries: toleration or null\n"
        "zones: [] # @schema items: string, uniqueItems: true\n"
        "free: {} # @schema object\n",
        "unset:\n  poolDefaults:\n    replicas: {type: integer, minimum: 0, description: Nodes.}\n",
    )
    schema = _generated(project, "values.schema.json")
    accepted = {
        "pools": {"a": {"weight": 0, "limits": {"cpu": "4"}, "replicas": 1}, "b": None},
        "tolerations": {"team": {"key": "team"}, "other": None},
        "zones": ["a"],
        "free": {"any": [1]},
    }
    assert _refused(schema, accepted) == set()
    wrong = {
        "pools": {"a": {"weight": -1, "replicas": -1, "sizes": 1}, "B": {}, "c": 3},
        "tolerations": {"team": {"Key": "team"}},
        "zones": ["a", "a"],
    }
    assert _refused(schema, wrong) == {
        "pools",
        "pools.a",
        "pools.a.weight",
        "pools.a.replicas",
        "pools.c",
        "tolerations.team",
        "zones",
    }
    page = _generated(project, "README.md")
    assert "| poolDefaults.replicas | int |  | Nodes. |" in page
    assert "pools.NAME" not in page


def test_each_chart_takes_the_globals_that_the_umbrella_documents(suite: Suite) -> None:
    schema = _generated(suite("# -- Globals.\nglobal: {}\n"), "values.schema.json")
    assert _refused(schema, {"global": {"region": "Not One", "of-another-chart": 1}}) == {"global.region"}


def test_a_page_shows_the_default_that_the_umbrella_gives(suite: Suite) -> None:
    readme = f"# old\n\nOld description.\n\nBy hand: a | b.\n\n{MARKER}\n\nOld table.\n"
    page = _generated(
        suite("# -- Install\n# it: `a|b`.\nenabled: true\n# -- Text.\n# @default -- long\ntext: abc\n", "", readme),
        "README.md",
    )
    assert page.startswith("# own\n\nA chart.\n\nBy hand: a | b.\n\n")
    assert "Old" not in page
    assert "| enabled | bool | `true` (`false` in genai-platform) | Install it: `a&#124;b`. |" in page
    assert "| text | string | long | Text. |" in page


@pytest.mark.parametrize(
    ("values", "types", "reason"),
    [
        ("a: null\n", "", r"own/values.yaml:1: the default of a does not say its type"),
        ("b: 1\na: {}\n", "", r"own/values.yaml:2: the default of a does not say its type"),
        ("a: 1 # @schema quantities\n", "", "no type is named quantities"),
        ("a: {} # @schema entries: .b.c\n", "", r"nothing stands at b\.c"),
        ("a: 1 # @schema minimun: 1\n", "", "minimun is not a keyword"),
        ("a: 1 # @schema integer, string\n", "", "string is not a keyword"),
        ("a: 1 # @schema {minimum\n", "", r"own/values.yaml:1: `@schema \{minimum` is not a flow mapping"),
        ("a: [\n", "", "own/values.yaml: not YAML"),
        ("a: 1\n", "kinds: {}\n", "values.types.yaml: unknown key kinds"),
    ],
)
def test_a_wrong_annotation_is_refused_with_its_place(suite: Suite, values: str, types: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as error:
        list(generated_files(suite(values, types)))
    assert error.value.remedy


def test_a_page_without_a_place_for_the_table_is_refused(suite: Suite) -> None:
    with pytest.raises(UsageError, match=r"own/README.md has no line"):
        list(generated_files(suite("a: 1\n", "", "# own\n")))


def test_docs_check_names_what_is_stale_and_docs_mends_it(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    project = suite("# -- A number.\na: 1\n")
    (project.root / "charts" / UMBRELLA / "Chart.yaml").touch()
    monkeypatch.setenv("DRYDOCK_PROJECT", str(project.root))
    stale = CliRunner().invoke(command, ["--check"])
    assert stale.exit_code == 1
    assert "charts/own/values.schema.json is not what its chart's values.yaml says: run `drydock docs`" in stale.stderr
    assert not (project.root / "charts/own/values.schema.json").exists()
    assert CliRunner().invoke(command, []).exit_code == 0
    clean = CliRunner().invoke(command, ["--check"])
    assert (clean.exit_code, clean.output) == (0, "")


def test_every_value_of_every_chart_is_described(drydock_project: Project) -> None:
    def bare(value: Value) -> list[str]:
        if value.is_documented:
            return []
        if not value.children:
            return [".".join(value.path)]
        return [path for child in value.children for path in bare(child)]

    for file in sorted(drydock_project.charts_dir.glob("*/values.yaml")):
        root = read_values(file)
        assert [path for child in root.children for path in bare(child)] == [], file
