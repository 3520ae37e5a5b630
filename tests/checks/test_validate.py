"""The whole of `validate` on a small suite, with the real Helms and kubeconform."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from drydock.checks.findings import Finding
from drydock.checks.formats import as_json, github, sarif, text
from drydock.checks.validate import TOOLS, validate
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import load_environments

MakeProject = Callable[[Mapping[str, str]], Project]
Tool = Callable[[str], Path]

PROPERTIES: dict[str, Any] = {
    "global": {"type": "object"},
    "enabled": {"type": "boolean"},
    "models": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"replicas": {"type": "integer"}, "dtype": {"enum": ["auto", "bfloat16"]}},
        },
    },
    "random": {"type": "boolean"},
    "refuse": {"type": "string"},
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": PROPERTIES,
}
TEMPLATE = """{{- if .Values.refuse }}{{ fail .Values.refuse }}{{ end }}
{{- range $name, $model := .Values.models }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
data:
  replicas: {{ $model.replicas | toJson }}
  {{- if $.Values.random }}
  token: {{ randAlphaNum 16 }}
  {{- end }}
{{- end }}
"""
CONFIG_MAP = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "data": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
FILES = {
    "charts/genai-platform/Chart.yaml": (
        "apiVersion: v2\nname: genai-platform\nversion: 0.0.1\nicon: https://example.com/i.svg\n"
        "dependencies: [{name: vllm, version: 0.0.1, repository: file://../vllm, condition: vllm.enabled}]\n"
    ),
    "charts/genai-platform/templates/NOTES.txt": "Installed.\n",
    "charts/genai-platform/values.yaml": "vllm:\n  enabled: true\n",
    "charts/vllm/Chart.yaml": "apiVersion: v2\nname: vllm\nversion: 0.0.1\nicon: https://example.com/i.svg\n",
    "charts/vllm/values.yaml": "enabled: true\nmodels: {}\n",
    "charts/vllm/values.schema.json": json.dumps(SCHEMA),
    "charts/vllm/templates/models.yaml": TEMPLATE,
    "values/base.yaml": "vllm:\n  models:\n    small:\n      replicas: 1\n",
    "values/environments/dev.yaml": "description: dev\nstack: [base.yaml, dev.yaml]\n",
    "values/dev.yaml": "{}\n",
}
TYPED = FILES["charts/vllm/templates/models.yaml"].replace("toJson }}", "toJson | quote }}")
GOOD = {**FILES, "charts/vllm/templates/models.yaml": TYPED}


@pytest.fixture
def check(small_project: MakeProject, drydock_tool: Tool, tmp_path: Path) -> Callable[..., tuple[Finding, ...]]:
    """Validates a suite that consists of the given files on top of GOOD."""

    def run(
        files: Mapping[str, str] | None = None, *, cache: bool = True, set_values: tuple[str, ...] = ()
    ) -> tuple[Finding, ...]:
        project = small_project({**GOOD, **(files or {})})
        schemas = tmp_path / "schemas"
        schemas.mkdir(exist_ok=True)
        (schemas / "configmap-v1.json").write_text(json.dumps(CONFIG_MAP))
        environments = [each.stacked((), set_values) for each in load_environments(project, ())]
        return validate(
            project,
            {name: drydock_tool(name) for name in TOOLS},
            environments,
            assemble_charts(project),
            progress=SilentProgress(),
            schemas=schemas,
            cache=cache,
        )

    return run


Check = Callable[..., tuple[Finding, ...]]


def test_a_good_suite_has_no_findings(check: Check) -> None:
    assert check() == ()


def test_an_unknown_key_is_told_with_file_line_and_the_nearest_known_one(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "vllm:\n  models:\n    small:\n      replica: 2\n"})
    assert (found.check, found.path) == ("values-schema", "vllm.models.small.replica")
    assert (found.file, found.line, found.chart) == ("values/dev.yaml", 4, "vllm")
    assert "unknown key" in found.reason
    assert found.remedy == "Did you mean replicas? Known: dtype, replicas."


def test_a_wrong_type_is_told_at_the_last_file_that_sets_it(check: Check) -> None:
    base = "vllm:\n  models:\n    small: {replicas: 1, dtype: bf16}\n"
    first, second = check({"values/base.yaml": base, "values/dev.yaml": "vllm:\n  models: {small: {replicas: two}}\n"})
    assert (first.path, first.file, first.line) == ("vllm.models.small.dtype", "values/base.yaml", 3)
    assert 'bf16" is not allowed' in first.reason
    assert "Did you mean bfloat16?" in first.remedy
    assert (second.path, second.file, second.line) == ("vllm.models.small.replicas", "values/dev.yaml", 2)
    assert second.reason == 'vllm.models.small.replicas: "two" is a string.'
    assert second.remedy == "Give it an integer."


def test_a_wrong_value_of_set_is_told_as_such(check: Check) -> None:
    (found,) = check(set_values=("vllm.models.small.replicas=two",))
    assert found.reason.endswith("(set by --set vllm.models.small.replicas=two).")


def test_a_wrong_global_is_told_once(check: Check) -> None:
    schema = {**SCHEMA, "properties": {**PROPERTIES, "global": {"properties": {"region": {"pattern": "^[a-z]+-"}}}}}
    umbrella = {"properties": {"global": schema["properties"]["global"]}}
    (found,) = check(
        {
            "charts/vllm/values.schema.json": json.dumps(schema),
            "charts/genai-platform/values.schema.json": json.dumps(umbrella),
            "values/dev.yaml": "# where\nglobal:\n  region: Oregon\n",
        }
    )
    assert (found.path, found.file, found.line) == ("global.region", "values/dev.yaml", 3)


def test_a_name_that_is_not_allowed_is_told_where_it_stands(check: Check) -> None:
    models = {**PROPERTIES["models"], "propertyNames": {"pattern": "^[a-z]+$"}}
    schema = {**SCHEMA, "properties": {**PROPERTIES, "models": models}}
    (found,) = check(
        {"charts/vllm/values.schema.json": json.dumps(schema), "values/dev.yaml": "vllm:\n  models:\n    BIG: {}\n"}
    )
    assert (found.path, found.line) == ("vllm.models.BIG", 3)
    assert "the name BIG does not match" in found.reason


def test_a_wrong_default_is_told_in_the_charts_own_file(check: Check) -> None:
    (found,) = check({"charts/vllm/values.yaml": "enabled: true\nmodels: []\n", "values/base.yaml": "{}\n"})
    assert (found.file, found.line) == ("charts/vllm/values.yaml", 2)


def test_values_of_a_chart_that_is_off_are_not_held_against_its_schema(check: Check) -> None:
    found = check({"values/dev.yaml": "vllm: {enabled: false, modles: 1}\n"})
    assert [each.check for each in found] == ["values-unused"]


def test_a_key_given_twice_is_told(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "vllm:\n  enabled: true\nvllm:\n  enabled: true\n"})
    assert (found.check, found.file, found.line) == ("values-duplicate-key", "values/dev.yaml", 3)


def test_what_a_chart_refuses_points_to_its_template(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "vllm: {refuse: the model needs a GPU}\n"})
    assert (found.check, found.reason) == ("render", "the model needs a GPU")
    assert (found.file, found.line, found.chart) == ("charts/vllm/templates/models.yaml", 1, "vllm")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ('{{ include "nope" . }}\n', 'no template "nope"'),
        ("a: b: c\n", "renders what is not YAML"),
    ],
)
def test_a_template_that_fails_is_named(check: Check, template: str, said: str) -> None:
    found = [each for each in check({"charts/vllm/templates/wrong.yaml": template}) if each.check == "render"]
    assert [each.file for each in found] == ["charts/vllm/templates/wrong.yaml"]
    assert said in found[0].reason


def test_a_values_file_that_is_not_yaml_is_named_with_its_line(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "a: [\nb: 2\n"})
    assert (found.file, found.line) == ("values/dev.yaml", 2)
    assert "not YAML" in found.reason


def test_an_object_that_its_api_does_not_define_is_told_with_its_path(check: Check) -> None:
    untyped = FILES["charts/vllm/templates/models.yaml"].replace("\ndata:", "\ndate: {}\ndata:")
    first, second = check({"charts/vllm/templates/models.yaml": untyped})
    assert (first.check, first.object, first.path) == ("object-schema", "ConfigMap/small", "data.replicas")
    assert (second.path, second.reason) == ("date", "unknown field")
    assert second.file == "charts/vllm/templates/models.yaml"


def test_an_object_that_is_not_what_its_api_defines_breaks_no_check(check: Check) -> None:
    broken = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: [b], env: {c: d}}]}\n"
    )
    assert {each.check for each in check({"charts/vllm/templates/x.yaml": broken})} == {"object-schema"}


def test_an_unknown_region_is_told(check: Check) -> None:
    found = check({"values/dev.yaml": "global: {region: eu-nowhere-1}\n"})
    assert [(each.check, each.reason) for each in found] == [("region", "AWS has no region eu-nowhere-1.")]


def test_an_unknown_kind_is_told(check: Check) -> None:
    (found,) = check({"charts/vllm/templates/x.yaml": "apiVersion: example.com/v1\nkind: Nope\nmetadata: {name: x}\n"})
    assert found.reason == "there is no API example.com/v1 Nope in the pinned Kubernetes, nor a CRD"


def test_a_render_that_is_not_the_same_twice_is_told(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "vllm: {random: true}\n"})
    assert (found.check, found.path, found.pain) == ("render-differs", "data.token", 8)


def test_helm_lint_is_told_by_chart(check: Check) -> None:
    found = check({"charts/vllm/templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}\n"})
    (linted,) = [each for each in found if each.check == "helm-lint" and each.chart == "vllm"]
    assert linted.environment == ""
    assert linted.file == "charts/vllm/templates/x.yaml"
    assert "A_B" in linted.reason


def test_an_unchanged_environment_starts_no_program_and_a_changed_one_does(
    check: Check, drydock_tool: Tool, tmp_path: Path
) -> None:
    wrong = {"values/dev.yaml": "vllm: {refuse: no}\n"}
    first = check(wrong)
    moved = tmp_path / "suite" / "charts" / "vllm"
    assert check(wrong) == first
    findings = list((tmp_path / "cache" / "findings").glob("*.json"))
    assert len(findings) == 2
    for file in findings:
        file.write_text("[]")
    assert check(wrong) == ()
    assert check(wrong, cache=False) == first
    assert moved.is_dir()


def test_old_results_are_forgotten(check: Check, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "findings"
    folder.mkdir(parents=True)
    for number in range(250):
        (folder / f"{number}.json").write_text("[]")
    assert check() == ()
    assert len(list(folder.glob("*.json"))) == 200
    assert check() == ()


def test_the_unchanged_path_imports_nothing_heavy() -> None:
    code = (
        "import sys, drydock.checks.validate, drydock.suite.environments, drydock.suite.charts\n"
        "heavy = {'jsonschema', 'kubernetes', 'rich', 'moto', 'jinja2', 'drydock.checks.registry'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_schemas_do_not_build_the_grammar_of_iris() -> None:
    code = (
        "import sys, drydock.json_schemas\n"
        "assert not {'lark', 'rfc3987_syntax'} & set(sys.modules)\n"
        "import rfc3987_syntax  # others may still have it\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SAMPLE = (
    Finding("dev", "values-schema", "a: unknown key.", "Did you mean b?", path="a", file="values/dev.yaml", line=3),
    Finding(
        "dev",
        "pod-feasibility",
        "No pool, 100%.",
        "Add one.",
        object="Deployment/m",
        file="charts/vllm/templates/x.yaml",
        pain=1,
    ),
)


def test_the_text_says_what_where_why_and_the_way_out() -> None:
    shown = text(SAMPLE)
    assert shown.splitlines()[:4] == [
        "dev",
        "  ✗ values-schema  a · values/dev.yaml:3",
        "      a: unknown key.",
        "      → Did you mean b?",
    ]
    assert shown.endswith("2 errors")
    assert text(()) == "Nothing found."


def test_github_gets_one_escaped_command_a_finding() -> None:
    first, second = github(SAMPLE).splitlines()
    assert first == "::error file=values/dev.yaml,line=3,title=values-schema::dev a: a: unknown key. Did you mean b?"
    assert second.endswith("::dev Deployment/m: No pool, 100%25. Add one.")


def test_sarif_names_the_rules_and_the_places() -> None:
    log = json.loads(sarif(SAMPLE))
    (run,) = log["runs"]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {"values-schema", "pod-feasibility"}
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "values/dev.yaml"}, "region": {"startLine": 3}}
    assert json.loads(as_json(SAMPLE))[1]["pain"] == 1


def test_values_of_a_chart_that_is_off_and_slips_among_globals_are_findings(check: Check) -> None:
    values = "global:\n  clusterNmae: dev\n  own: 1\nvllm:\n  enabled: false\n"
    slip, unused = check(
        {
            "charts/genai-platform/values.yaml": "global:\n  clusterName: ''\nvllm:\n  enabled: true\n",
            "values/dev.yaml": values,
        }
    )
    assert (slip.path, slip.file, slip.line) == ("global.clusterNmae", "values/dev.yaml", 2)
    assert slip.remedy.startswith("Did you mean clusterName?")
    assert (unused.path, unused.file, unused.line) == ("vllm.models", "values/base.yaml", 2)
    assert unused.remedy == "Set vllm.enabled=true, or remove the values of vllm."


def test_every_finding_of_helm_has_a_remedy(check: Check) -> None:
    wrong = [
        ({"values/dev.yaml": "[1]\n"}, ()),
        ({"values/dev.yaml": "a: [\n"}, ()),
        ({"values/dev.yaml": "vllm: {refuse: 'models.small.replicas: too few'}\n"}, ()),
        ({"values/dev.yaml": "vllm: {models: {small: {dtype: int3}}}\n"}, ()),
        ({}, ("vllm.models=3",)),
        ({"charts/vllm/templates/broken.yaml": "{{ .Values.models.none.at.all }}"}, ()),
        ({"charts/vllm/templates/broken.yaml": "a: [\n"}, ()),
    ]
    for files, set_values in wrong:
        assert all(each.remedy for each in check(files, set_values=set_values)), files


def test_a_refusal_of_a_chart_points_at_the_value(check: Check) -> None:
    (found,) = check({"values/dev.yaml": "vllm: {refuse: 'models.small.replicas: too few'}\n"})
    assert (found.path, found.file, found.line) == ("vllm.models.small.replicas", "values/base.yaml", 4)
